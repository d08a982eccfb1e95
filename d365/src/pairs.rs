//! Takes a list of `{"key", "value"}`, gives values by key.

use crate::members::{Reader, Writer};
use crate::{Error, Json, Members, Value};

/// What is said when something else stands in the place of a list of pairs.
pub(crate) const ACCEPTED_LIST: &str = "a list of objects with the members key and value, or null";
const ACCEPTED_ITEM: &str = "an object with the members key (a text) and value";

/// One key and its value, as .NET writes an item of a dictionary. An item without a value is
/// read, and written, as one whose value is null.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pair {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Other members, such as the `__type` of a `KeyValuePairOfstringstring`.
    pub extra: Members,
}

/// Values by key, in the order of the wire. Of a key that stands there twice the first counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs(pub Vec<Pair>);

impl Pairs {
    /// The value of a key. A cleared column is there, with [`Value::Null`].
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|pair| pair.key == key)
            .map(|pair| &pair.value)
    }

    /// Whether a key is there, whatever its value.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Every key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|pair| (pair.key.as_str(), &pair.value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the list of this name out of an object.
    pub(crate) fn take(members: &mut Reader, name: &str) -> Result<Self, Error> {
        members
            .list(name, ACCEPTED_LIST, Pair::from_json)
            .map(Pairs)
    }

    /// Puts the list into an object.
    pub(crate) fn put(&self, members: &mut Writer, name: &str) {
        members.list(name, &self.0, Pair::to_json);
    }
}

impl FromIterator<(String, Value)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(pairs: I) -> Self {
        let pair = |(key, value)| Pair {
            key,
            value,
            extra: Members::new(),
        };
        Pairs(pairs.into_iter().map(pair).collect())
    }
}

/// The parts of one item, before its value is read.
pub(crate) fn split(json: Json) -> Result<(String, Json, Members), Error> {
    let Json::Object(members) = json else {
        return Err(Error::shape("", &json, ACCEPTED_ITEM));
    };
    let mut members = Reader(members);
    let Some(key) = members.text("key") else {
        let found = members.0.get("key").unwrap_or(&Json::Null);
        return Err(Error::shape("key", found, "a text"));
    };
    let value = members.take("value", |_| true).unwrap_or_default();
    Ok((key, value, members.0))
}

/// One item again.
pub(crate) fn join(key: &str, value: Json, extra: &Members) -> Json {
    let mut members = Writer(extra.clone());
    members.put("key", Some(key));
    members.put("value", Some(value));
    Json::Object(members.0)
}

impl Pair {
    pub(crate) fn from_json(json: Json) -> Result<Self, Error> {
        let (key, value, extra) = split(json)?;
        let value = Value::from_json(value).map_err(|error| error.within("value"))?;
        Ok(Pair { key, value, extra })
    }

    pub(crate) fn to_json(&self) -> Json {
        join(&self.key, self.value.to_json(), &self.extra)
    }
}
