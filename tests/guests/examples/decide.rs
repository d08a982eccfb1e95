//! Rejects an account whose credit limit is above its config's `limit`; with every other it is
//! done. What a small consumer does: parse the body, decide.

use serde::Deserialize;
use sluicegate_guest::*;

#[derive(Deserialize)]
struct Account<'a> {
    accountnumber: &'a str,
    creditlimit: u64,
}

#[consumer]
fn handle(event: Event) -> Outcome {
    let account: Account<'_> = event.json()?;
    let limit: u64 = config::parse("limit")?;
    if limit < account.creditlimit {
        return Err(reject(format!(
            "{} is over its limit",
            account.accountnumber
        )));
    }
    Ok(())
}
