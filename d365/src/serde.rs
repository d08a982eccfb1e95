//! Takes a lookup, a date or an amount from a field of one's own type, gives its JSON back.

use ::serde::de::Error as _;
use ::serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::describe;
use crate::json::Plain;
use crate::members::Reader;
use crate::{Date, EntityReference, Json, Members, Money, Number};

impl<'de> Deserialize<'de> for EntityReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Plain::deserialize(deserializer)?.0 {
            Json::Object(members) => {
                EntityReference::from_members(Reader(members)).map_err(D::Error::custom)
            }
            other => Err(D::Error::custom(format_args!(
                "{}, expected a lookup",
                describe(&other)
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Date::parse(&text).map_err(D::Error::custom)
    }
}

/// As RFC 3339 in UTC.
impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

/// From a JSON number, every digit of it.
impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = Number::deserialize(deserializer)?;
        Ok(Money::new(amount, Members::new()))
    }
}

/// As a JSON number, digits as they came.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.number().serialize(serializer)
    }
}
