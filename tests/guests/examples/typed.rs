//! Reads an account's columns by type; rejects one that is on hold, with all that it has read.

use serde::Deserialize;
use sluicegate_guest::d365::{Date, Decimal, EntityReference};
use sluicegate_guest::*;

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "read by Debug")]
pub(crate) struct Account {
    name: Option<String>,
    creditlimit: Option<Decimal>,
    creditonhold: Option<bool>,
    paymenttermscode: Option<i64>,
    primarycontactid: Option<EntityReference>,
    modifiedon: Option<Date>,
    telephone1: Option<String>,
}

#[consumer]
pub(crate) fn handle(account: Record<Account>, mut held: State<u64>) -> Outcome {
    let before = account.before::<Account>("before")?;
    if account.row.creditonhold == Some(true) {
        return Err(reject(format_args!("{before:?} -> {:?}", account.row)));
    }
    if account.changed("creditonhold") && before.is_some_and(|row| row.creditonhold == Some(true)) {
        *held += 1;
    }
    Ok(())
}
