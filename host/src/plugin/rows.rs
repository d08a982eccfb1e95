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
            Ok(_) => match keepable(text) {
                Ok(()) => return Ok(()),
                Err(found) => found.to_owned(),
            },
        },
    };
    Err(limit(format!(
        "the row {key:?} of {table} is to be a JSON object; {found}"
    )))
}

/// Whether every store keeps this JSON as it is: PostgreSQL has no byte of zero in a text and no half
/// of a character, and ends of numbers and of nesting.
fn keepable(text: &str) -> Result<(), &'static str> {
    const NUMBER: usize = 400;
    const EXPONENT: usize = 4;
    const DEPTH: usize = 100;
    let (mut in_text, mut depth, mut after_pair) = (false, 0_usize, false);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        match (in_text, first) {
            (_, '"') => in_text = !in_text,
            (true, '\\') => {
                let escaped = rest.get(2..6).filter(|_| rest.starts_with("\\u"));
                let code = escaped.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                length = if code.is_some() { 6 } else { 2 };
                match code {
                    Some(0) => return Err("it has a byte of zero in a text"),
                    Some(0xd800..0xdc00) if rest.get(6..8) == Some("\\u") => after_pair = true,
                    Some(0xdc00..0xe000) if after_pair => after_pair = false,
                    Some(0xd800..0xe000) => return Err("it has half a character in a text"),
                    Some(_) | None if after_pair => {
                        return Err("it has half a character in a text");
                    }
                    Some(_) | None => {}
                }
            }
            (false, '{' | '[') => depth += 1,
            (false, '}' | ']') => depth = depth.saturating_sub(1),
            (false, '-' | '0'..='9') => {
                let is_more = |one: char| one.is_ascii_digit() || "+-.eE".contains(one);
                length = rest.find(|one| !is_more(one)).unwrap_or(rest.len());
                let number = rest.get(..length).unwrap_or_default();
                let exponent = number.split(['e', 'E']).nth(1).unwrap_or_default();
                let exponent = exponent.trim_start_matches(['+', '-', '0']);
                if NUMBER < length || EXPONENT < exponent.len() {
                    return Err("it has a number of more digits than are kept");
                }
            }
            _ => {}
        }
        if DEPTH < depth {
            return Err("it is nested more deeply than is kept");
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
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
    fn a_row_is_what_every_store_keeps() {
        for row in [
            r#"{"a":"\\u0000 \ud83d\ude00 \"","b":-1.5e-300,"c":[1e9999]}"#,
            r#"{"a":"\u0001"}"#,
        ] {
            assert!(check("t", "k", row.as_bytes()).is_ok(), "{row}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        let long = format!("{{\"a\":{}}}", "1".repeat(500));
        for (row, word) in [
            (r#"{"a":"\u0000"}"#, "zero"),
            (r#"{"a":"\ud83d"}"#, "half"),
            (r#"{"a":"\ude00"}"#, "half"),
            (r#"{"a":"\ud83d\u0041"}"#, "half"),
            (r#"{"a":1e10000}"#, "digits"),
            (&long, "digits"),
            (&deep, "nested"),
        ] {
            let error = check("t", "k", row.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{row}: {error}");
        }
    }

    #[test]
    fn a_place_is_a_table_and_a_key_whatever_that_has_in_it() {
        assert_eq!(of_place(&place("t", "a/b")), ("t", "a/b"));
    }
}
