//! The rows of a projection: for a function under [`projection`](macro@crate::projection), whose
//! manifest has a table `[projection]`.
//!
//! A write is staged until the call returns `Ok(())`; a read sees it before that. Then all of it
//! is kept, together with the event's place in the store: after a crash no event counts twice, and
//! none is left out.
//!
//! A row is a JSON object of at most 900 KiB, a key is 1 to 512 bytes of UTF-8, and a table is one
//! that the manifest names under `tables`. One call reads at most 1,000 rows and writes at most
//! 200. More than that, or something else than that, ends the call, and the event is refused with
//! the reason `limit`.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use sluicegate_guest::*;
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Customer {
//!     name: Option<String>,
//!     changes: u64,
//! }
//!
//! #[projection]
//! fn apply(account: Record<Account>) -> Outcome {
//!     let Some(id) = account.record_id() else { return Ok(()) };
//!     if account.message() == "Delete" {
//!         rows::delete("customers", id);
//!         return Ok(());
//!     }
//!     let mut customer: Customer = rows::get_json("customers", id)?.unwrap_or_default();
//!     if account.changed("name") {
//!         customer.name = account.row.name.clone();
//!     }
//!     customer.changes += 1;
//!     rows::put_json("customers", id, &customer)?;
//!     Ok(())
//! }
//!
//! #[derive(Deserialize)]
//! struct Account {
//!     name: Option<String>,
//! }
//!
//! let mut host = testing::Host::new();
//! let event = testing::record("account").id("7").create().set("name", "Contoso");
//! host.call(apply, event.clone()).outcome.unwrap();
//! host.call(apply, event.update()).outcome.unwrap();
//! let customer: Customer = host.row_json("customers", "7").unwrap().unwrap();
//! assert_eq!((customer.name.as_deref(), customer.changes), (Some("Contoso"), 2));
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host;

/// Why a row could not be read or written as JSON.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The row does not fit the type that was asked for.
    #[error("the row {key:?} of {table} is not what the projection reads")]
    Read {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// What the JSON reader found.
        source: serde_json::Error,
    },
    /// The value cannot be written as JSON.
    #[error("the row {key:?} of {table} cannot be written as JSON")]
    Write {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// What the JSON writer found.
        source: serde_json::Error,
    },
}

/// The row, with what this call staged over it; `None` when there is none.
pub fn get(table: &str, key: &str) -> Option<Vec<u8>> {
    host::rows_get(table, key)
}

/// Stages the row: the text of a JSON object.
pub fn put(table: &str, key: &str, row: impl AsRef<[u8]>) {
    host::rows_put(table, key, row.as_ref());
}

/// Stages that there is no such row. One that is not there already is fine.
pub fn delete(table: &str, key: &str) {
    host::rows_delete(table, key);
}

/// Like [`get`], as a type of the projection's own.
///
/// # Errors
/// When the row does not fit `T`.
pub fn get_json<T: DeserializeOwned>(table: &str, key: &str) -> Result<Option<T>, Error> {
    let Some(row) = get(table, key) else {
        return Ok(None);
    };
    serde_json::from_slice(&row)
        .map(Some)
        .map_err(|source| Error::Read {
            table: table.to_owned(),
            key: key.to_owned(),
            source,
        })
}

/// Like [`put`], of a value that is written as a JSON object.
///
/// # Errors
/// When JSON has no form for the value.
pub fn put_json<T: Serialize + ?Sized>(table: &str, key: &str, row: &T) -> Result<(), Error> {
    let row = serde_json::to_vec(row).map_err(|source| Error::Write {
        table: table.to_owned(),
        key: key.to_owned(),
        source,
    })?;
    put(table, key, row);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Outcome, reject, testing};

    fn event() -> Event {
        testing::record("account").event()
    }

    #[test]
    fn a_call_sees_what_it_staged_and_a_failed_one_leaves_nothing() {
        fn apply(event: Event) -> Outcome {
            assert_eq!(get("t", "a"), Some(br#"{"n":1}"#.to_vec()));
            put_json("t", "b", &serde_json::json!({ "n": 2 }))?;
            assert!(get("t", "b").is_some());
            delete("t", "a");
            assert!(get("t", "a").is_none());
            match event.event_type() {
                "d365.dataverse.account.delete" => Err(reject("no")),
                _ => Ok(()),
            }
        }
        let mut host = testing::Host::new().with_row("t", "a", r#"{"n":1}"#);
        let failing = testing::record("account").delete().event();
        assert!(host.call(apply, failing).outcome.is_err());
        assert_eq!(host.rows("t").count(), 1);
        let called = host.call(apply, event());
        assert_eq!(called.rows[&("t".to_owned(), "a".to_owned())], None);
        assert_eq!(host.row("t", "b"), Some(&br#"{"n":2}"#[..]));
        assert_eq!(host.row("t", "a"), None);
    }

    #[test]
    fn a_row_of_another_shape_says_which_it_is() {
        fn apply(_: Event) -> Outcome {
            get_json::<Vec<u8>>("t", "a")?;
            Ok(())
        }
        let mut host = testing::Host::new().with_row("t", "a", "{}");
        let failure = host.call(apply, event()).outcome.unwrap_err().to_string();
        assert!(failure.contains(r#"the row "a" of t"#), "{failure}");
    }
}
