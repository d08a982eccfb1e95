//! Takes what a projection asks of its rows, gives it: staged like state, under keys that begin with
//! the table.

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::bindings::sluicegate::plugin::rows;
use super::imports::limit;
use super::store::{Abort, MAX_KEY, MAX_VALUE, StoreData, patience};

/// Where a row stands among the staged ones. No table has a slash in its name.
pub fn place(table: &str, key: &str) -> String {
    format!("{table}/{key}")
}

/// The table and the key.
pub fn of_place(place: &str) -> (&str, &str) {
    place.split_once('/').unwrap_or((place, ""))
}

impl rows::Host for StoreData {
    fn get(&mut self, table: String, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let place = self.row_place(&table, &key)?;
        if let Some(written) = self.staged.writes.get(&place) {
            return Ok(written.as_deref().map(<[u8]>::to_vec));
        }
        let state = &self.call()?.state;
        let read = state.get(&place, patience(self.deadline));
        let (row, version) = read.map_err(Abort::from)?;
        self.read(place, version, row.as_ref().map_or(0, Bytes::len))?;
        Ok(row.as_deref().map(<[u8]>::to_vec))
    }

    fn put(&mut self, table: String, key: String, row: Vec<u8>) -> wasmtime::Result<()> {
        let place = self.row_place(&table, &key)?;
        self.call()?;
        check(&table, &key, &row)?;
        Ok(self.write(place, Some(Bytes::from(row)))?)
    }

    fn delete(&mut self, table: String, key: String) -> wasmtime::Result<()> {
        let place = self.row_place(&table, &key)?;
        self.call()?;
        Ok(self.write(place, None)?)
    }
}

impl StoreData {
    fn row_place(&self, table: &str, key: &str) -> wasmtime::Result<String> {
        if !self.tables.iter().any(|own| own == table) {
            return Err(limit(format!(
                "the projection has no table {table:?}: its manifest names {:?}",
                self.tables
            )));
        }
        if key.is_empty() || MAX_KEY < key.len() {
            let length = key.len();
            return Err(limit(format!(
                "the key of a row of {table} has {length} bytes; 1 to {MAX_KEY} are allowed"
            )));
        }
        if key.contains('\0') {
            return Err(limit(format!(
                "the key {key:?} of a row of {table} has a byte of zero in it"
            )));
        }
        Ok(place(table, key))
    }
}

/// Whether this is a row.
fn check(table: &str, key: &str, row: &[u8]) -> wasmtime::Result<()> {
    if MAX_VALUE < row.len() {
        let size = row.len();
        return Err(limit(format!(
            "the row {key:?} of {table} has {size} bytes; {MAX_VALUE} are allowed"
        )));
    }
    let found = match std::str::from_utf8(row) {
        Err(error) => format!("it is not UTF-8: {error}"),
        Ok(text) => match serde_json::from_str::<IgnoredAny>(text) {
            Err(error) => format!("it is not JSON: {error}"),
            Ok(_) if !text.trim_start().starts_with('{') => "it is another JSON value".to_owned(),
            Ok(_) => return Ok(()),
        },
    };
    Err(limit(format!(
        "the row {key:?} of {table} is to be a JSON object; {found}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_json_object() {
        assert!(check("t", "k", br#" {"a": [1, {"b": null}]}"#).is_ok());
        for (row, word) in [
            (&b"[1]"[..], "another JSON value"),
            (b"{\"a\":", "not JSON"),
            (b"{} {}", "not JSON"),
            (b"{\"a\": \"\xff\"}", "not UTF-8"),
            (b"", "not JSON"),
        ] {
            let error = check("t", "k", row).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_VALUE));
        assert!(check("t", "k", long.as_bytes()).is_err());
    }

    #[test]
    fn a_place_is_a_table_and_a_key_whatever_that_has_in_it() {
        assert_eq!(of_place(&place("t", "a/b")), ("t", "a/b"));
    }
}
