//! Takes the bytes of a body, gives a number that is the same for bodies of the same structure.
//!
//! Reads the text once and keeps nothing, so that bodies which look as those before cost little:
//! names and kinds go into the number, values do not, but for the names and classes of Dataverse
//! (`key`, `__type`). The order of members and pairs says nothing. Two numbers that differ may
//! stand for bodies that no shape tells apart; the same number twice hides a difference with a
//! chance of one in 2⁶⁴.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::shape::{KEY, TAG, is_data};

/// How serde_json gives a number whose digits it keeps.
const NUMBER: &str = "$serde_json::private::Number";
/// Its names and its insides say nothing, as in `Shape::of`.
const HIDDEN: [&str; 2] = ["FormattedValues", "ParentContext"];

/// The number of a body.
///
/// # Errors
/// When it is not JSON.
pub fn structure(body: &[u8]) -> Result<u64, serde_json::Error> {
    let mut reading = serde_json::Deserializer::from_slice(body);
    let number = Reading { is_name: false }.deserialize(&mut reading)?;
    reading.end()?;
    Ok(number)
}

fn mixed(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

#[derive(Clone, Copy)]
struct Reading {
    /// A string here is a name.
    is_name: bool,
}

impl<'de> DeserializeSeed<'de> for Reading {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<u64, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading {
    type Value = u64;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<u64, E> {
        Ok(1)
    }

    fn visit_bool<E>(self, _: bool) -> Result<u64, E> {
        Ok(2)
    }

    fn visit_u64<E>(self, _: u64) -> Result<u64, E> {
        Ok(3)
    }

    fn visit_i64<E>(self, _: i64) -> Result<u64, E> {
        Ok(3)
    }

    fn visit_f64<E>(self, _: f64) -> Result<u64, E> {
        Ok(3)
    }

    fn visit_str<E>(self, text: &str) -> Result<u64, E> {
        match self.is_name && !is_data(text) {
            true => Ok(mixed((4, text))),
            false => Ok(4),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<u64, A::Error> {
        let (mut sum, mut last) = (5_u64, None);
        while let Some(number) = elements.next_element_seed(Self { is_name: false })? {
            if last != Some(number) {
                sum = sum.wrapping_add(mixed((5, number)));
            }
            last = Some(number);
        }
        Ok(mixed((5, sum)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<u64, A::Error> {
        let mut sum = 6_u64;
        while let Some(Name(name, kind)) = members.next_key_seed(NameSeed)? {
            let number = match kind {
                NameKind::Number => {
                    members.next_value::<IgnoredAny>()?;
                    return Ok(3);
                }
                NameKind::Hidden => members.next_value_seed(Outside)?,
                NameKind::Naming => members.next_value_seed(Self { is_name: true })?,
                NameKind::Other => members.next_value_seed(Self { is_name: false })?,
            };
            sum = sum.wrapping_add(mixed((name, number)));
        }
        Ok(mixed((6, sum)))
    }
}

enum NameKind {
    Number,
    Hidden,
    Naming,
    Other,
}

struct Name(u64, NameKind);

struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Name, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Name;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        let kind = match name {
            NUMBER => NameKind::Number,
            KEY | TAG => NameKind::Naming,
            name if HIDDEN.contains(&name) => NameKind::Hidden,
            _ => NameKind::Other,
        };
        let number = if is_data(name) { 7 } else { mixed(name) };
        Ok(Name(number, kind))
    }
}

/// The kind of a value, and nothing of what is in it.
struct Outside;

impl<'de> DeserializeSeed<'de> for Outside {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<u64, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Outside {
    type Value = u64;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<u64, E> {
        Ok(1)
    }

    fn visit_bool<E>(self, _: bool) -> Result<u64, E> {
        Ok(2)
    }

    fn visit_u64<E>(self, _: u64) -> Result<u64, E> {
        Ok(3)
    }

    fn visit_i64<E>(self, _: i64) -> Result<u64, E> {
        Ok(3)
    }

    fn visit_f64<E>(self, _: f64) -> Result<u64, E> {
        Ok(3)
    }

    fn visit_str<E>(self, _: &str) -> Result<u64, E> {
        Ok(4)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<u64, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(5)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<u64, A::Error> {
        let mut kind = 6;
        while let Some(Name(_, name)) = members.next_key_seed(NameSeed)? {
            members.next_value::<IgnoredAny>()?;
            if matches!(name, NameKind::Number) {
                kind = 3;
            }
        }
        Ok(kind)
    }
}
