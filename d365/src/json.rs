//! Takes the bytes of a body, gives its JSON, nested no deeper than it may be.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::{Error, Json, Members, Number};

/// The name under which `serde_json` hands over a number whose digits it keeps.
const NUMBER: &str = "$serde_json::private::Number";

/// Reads one JSON document; a byte-order mark before it is skipped.
///
/// Use this and not `serde_json::from_slice::<serde_json::Value>` for bytes from outside. When
/// the feature `raw_value` is on anywhere in a build, that takes an object with the member
/// `$serde_json::private::RawValue` for a text with JSON in it and reads the text too, with
/// its limit on nesting begun anew: a body of 7 KB gets 1,320 levels deep, and what walks it
/// can overflow the stack, which ends the process. Here that member is a member, and 127
/// levels are the most that there can be.
///
/// # Errors
/// [`Error::Json`].
pub fn json(body: &[u8]) -> Result<Json, Error> {
    let Plain(json) = serde_json::from_slice(without_mark(body))?;
    Ok(json)
}

/// The bytes after the byte-order mark, if there is one.
pub(crate) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

/// JSON that was read member by member, none of them having a meaning of its own.
pub(crate) struct Plain(pub(crate) Json);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder).map(Plain)
    }
}

struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(Plain(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        let mut members = Members::new();
        while let Some((name, Plain(value))) = object.next_entry::<String, Plain>()? {
            members.insert(name, value);
        }
        Ok(number(&members).map_or(Json::Object(members), Json::Number))
    }
}

/// The number, if this is how one is handed over.
fn number(members: &Members) -> Option<Number> {
    let text = members.get(NUMBER)?.as_str()?;
    (members.len() == 1)
        .then(|| Number::from_str(text).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_serde_json_reads() {
        let text = r#" {"a":[1,-0,2.500,1e400,12345678901234567890123,"\u0041",true,null,{}],"b":{"c":""},"a":[0.10]} "#;
        let expected: Json = serde_json::from_str(text).unwrap();
        let found = json(text.as_bytes()).unwrap();
        assert_eq!(found, expected);
        assert_eq!(found.to_string(), r#"{"a":[0.10],"b":{"c":""}}"#);
    }

    #[test]
    fn a_document_inside_a_text_stays_a_text() {
        let text = r#"{"$serde_json::private::RawValue":"[[[7]]]"}"#;
        assert_eq!(json(text.as_bytes()).unwrap().to_string(), text);
        let text = r#"{"$serde_json::private::Number":"seven"}"#;
        assert_eq!(json(text.as_bytes()).unwrap().to_string(), text);
    }
}
