//! Takes the JSON of one attribute or parameter, gives its kind.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::Plain;
use crate::members::Reader;
use crate::pairs::Pair;
use crate::{
    Date, Decimal, Entity, EntityCollection, EntityReference, Error, Json, Members, Money, Number,
    Pairs, Relationship, exact,
};

/// What the `__type` of a Dataverse type ends with, after its name and a colon.
pub(crate) const CONTRACTS: &str = "http://schemas.microsoft.com/xrm/2011/Contracts";
/// What the `__type` of a boxed .NET primitive ends with, after its name and a colon.
const SYSTEM: &str = "#System";

/// The value of an attribute or a parameter.
///
/// The wire does not tell a GUID from any other text, nor a decimal from a floating-point
/// column; both have an accessor for each reading.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing; in the Target of an update, a column that was cleared.
    #[default]
    Null,
    /// A two-option column.
    Bool(bool),
    /// A whole number, decimal or floating-point column, digits as they came.
    Number(Number),
    /// A text or a GUID.
    Text(String),
    /// `/Date(…)/`. A date in ISO 8601 is a [`Value::Text`]; [`Value::when`] reads both.
    Date(Date),
    /// `Money`.
    Money(Money),
    /// `OptionSetValue`: a choice column.
    Choice(Choice),
    /// A multi-select choice column: a bare list of `OptionSetValue`, not empty.
    Choices(Vec<Choice>),
    /// `EntityReference`: a lookup.
    Reference(Box<EntityReference>),
    /// `Entity`: a record.
    Entity(Box<Entity>),
    /// `EntityCollection`: activity parties, Targets of a bulk message.
    Entities(Box<EntityCollection>),
    /// `Relationship`, of Associate and Disassociate.
    Relationship(Box<Relationship>),
    /// A list of `KeyValuePairOf…`, such as the shared variable `ChangedEntityTypes`.
    Dictionary(Pairs),
    /// Any other list.
    List(Vec<Value>),
    /// A .NET primitive that says its type, `{"__type":"Guid:#System","__value":…}`. The
    /// accessors see through it.
    Boxed {
        /// `Guid`, `DateTime`, `Int32`, `Double`, …
        type_name: String,
        /// What it holds.
        value: Box<Value>,
    },
    /// An object of a type not known here (`QueryExpression`, `ColumnSet`, …), as it came.
    Other(Json),
}

/// The value of a choice column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The number of the option; its label is only in `FormattedValues`, in the user's language.
    pub value: i64,
    /// Members beside `Value`; none are known.
    pub extra: Members,
}

impl Value {
    /// Reads a value.
    ///
    /// # Errors
    /// [`Error::Shape`] when a list of keys and values inside is something else. An unknown
    /// type, or a known one without its value, is [`Value::Other`].
    pub fn from_json(json: Json) -> Result<Self, Error> {
        Ok(match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(flag),
            Json::Number(number) => Value::Number(number),
            Json::String(text) if Date::is_wire_spelling(&text) => match Date::parse(&text) {
                Ok(date) => Value::Date(date),
                Err(_) => Value::Text(text),
            },
            Json::String(text) => Value::Text(text),
            Json::Array(items) => list(items)?,
            Json::Object(members) => object(members)?,
        })
    }

    /// The JSON that [`Value::from_json`] reads this value from.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::Bool(*flag),
            Value::Number(number) => Json::Number(number.clone()),
            Value::Text(text) => Json::String(text.clone()),
            Value::Date(date) => Json::String(date.raw().to_owned()),
            Value::Money(money) => typed("Money", money_members(money)),
            Value::Choice(choice) => choice.to_json(),
            Value::Choices(choices) => Json::Array(choices.iter().map(Choice::to_json).collect()),
            Value::Reference(reference) => typed("EntityReference", reference.to_members()),
            Value::Entity(entity) => typed("Entity", entity.to_members()),
            Value::Entities(entities) => typed("EntityCollection", entities.to_members()),
            Value::Relationship(relationship) => typed("Relationship", relationship.to_members()),
            Value::Dictionary(pairs) => Json::Array(pairs.0.iter().map(Pair::to_json).collect()),
            Value::List(items) => Json::Array(items.iter().map(Value::to_json).collect()),
            Value::Boxed { type_name, value } => Json::Object(Members::from_iter([
                ("__type".to_owned(), format!("{type_name}:{SYSTEM}").into()),
                ("__value".to_owned(), value.to_json()),
            ])),
            Value::Other(json) => json.clone(),
        }
    }

    /// Whether there is nothing: a cleared column.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.unboxed(), Value::Null)
    }

    /// A text, a GUID, or the spelling of a date.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self.unboxed() {
            Value::Text(text) => Some(text),
            Value::Date(date) => Some(date.raw()),
            _ => None,
        }
    }

    /// A two-option column.
    #[must_use]
    pub fn flag(&self) -> Option<bool> {
        match self.unboxed() {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// A whole number.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self.unboxed() {
            Value::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// The exact value of a decimal or whole-number column, or of money.
    #[must_use]
    pub fn decimal(&self) -> Option<Decimal> {
        match self.unboxed() {
            Value::Number(number) => exact(number),
            Value::Money(money) => money.decimal(),
            _ => None,
        }
    }

    /// Money.
    #[must_use]
    pub fn money(&self) -> Option<&Money> {
        match self {
            Value::Money(money) => Some(money),
            _ => None,
        }
    }

    /// The number of a choice.
    #[must_use]
    pub fn choice(&self) -> Option<i64> {
        match self {
            Value::Choice(choice) => Some(choice.value),
            _ => None,
        }
    }

    /// The numbers of a multi-select choice; none for an empty list.
    #[must_use]
    pub fn choices(&self) -> Option<Vec<i64>> {
        match self {
            Value::Choices(choices) => Some(choices.iter().map(|choice| choice.value).collect()),
            Value::List(items) if items.is_empty() => Some(Vec::new()),
            _ => None,
        }
    }

    /// A lookup.
    #[must_use]
    pub fn lookup(&self) -> Option<&EntityReference> {
        match self {
            Value::Reference(reference) => Some(reference),
            _ => None,
        }
    }

    /// A record.
    #[must_use]
    pub fn entity(&self) -> Option<&Entity> {
        match self {
            Value::Entity(entity) => Some(entity),
            _ => None,
        }
    }

    /// The records of a collection.
    #[must_use]
    pub fn entities(&self) -> Option<&[Entity]> {
        match self {
            Value::Entities(collection) => Some(&collection.entities),
            _ => None,
        }
    }

    /// A date, `/Date(…)/` or ISO 8601.
    #[must_use]
    pub fn when(&self) -> Option<Date> {
        match self.unboxed() {
            Value::Date(date) => Some(date.clone()),
            Value::Text(text) => Date::parse(text).ok(),
            _ => None,
        }
    }

    fn unboxed(&self) -> &Value {
        match self {
            Value::Boxed { value, .. } => value.unboxed(),
            plain => plain,
        }
    }
}

impl Choice {
    /// The option of this number.
    #[must_use]
    pub fn new(value: i64) -> Self {
        Choice {
            value,
            extra: Members::new(),
        }
    }

    fn to_json(&self) -> Json {
        let mut members = self.extra.clone();
        members.insert("Value".to_owned(), self.value.into());
        typed("OptionSetValue", members)
    }
}

fn money_members(money: &Money) -> Members {
    let mut members = money.extra.clone();
    members.insert("Value".to_owned(), Json::Number(money.number().clone()));
    members
}

fn typed(name: &str, mut members: Members) -> Json {
    members.insert("__type".to_owned(), format!("{name}:{CONTRACTS}").into());
    Json::Object(members)
}

/// An object: its `__type` says what it is.
fn object(mut members: Members) -> Result<Value, Error> {
    let tag = match members.get("__type") {
        Some(Json::String(tag)) => tag.clone(),
        _ => return Ok(Value::Other(Json::Object(members))),
    };
    let (name, namespace) = tag.split_once(':').unwrap_or((&tag, ""));
    if namespace == SYSTEM && members.len() == 2 && members.contains_key("__value") {
        let value = Value::from_json(members.remove("__value").unwrap_or_default())?;
        return Ok(Value::Boxed {
            type_name: name.to_owned(),
            value: Box::new(value),
        });
    }
    if namespace != CONTRACTS {
        return Ok(Value::Other(Json::Object(members)));
    }
    members.remove("__type");
    let mut members = Reader(members);
    Ok(match name {
        "Entity" => Value::Entity(Box::new(Entity::from_members(members)?)),
        "EntityReference" => Value::Reference(Box::new(EntityReference::from_members(members)?)),
        "EntityCollection" => Value::Entities(Box::new(EntityCollection::from_members(members)?)),
        "Relationship" => Value::Relationship(Box::new(Relationship::from_members(members))),
        "OptionSetValue" => match members.integer("Value") {
            Some(value) => Value::Choice(Choice {
                value,
                extra: members.0,
            }),
            None => other(tag, members),
        },
        "Money" => match members.take("Value", Json::is_number) {
            Some(Json::Number(amount)) => Value::Money(Money::new(amount, members.0)),
            _ => other(tag, members),
        },
        _ => other(tag, members),
    })
}

/// The object as it came, its `__type` put back.
fn other(tag: String, mut members: Reader) -> Value {
    members.0.insert("__type".to_owned(), Json::String(tag));
    Value::Other(Json::Object(members.0))
}

/// A list: its items say what it is.
fn list(items: Vec<Json>) -> Result<Value, Error> {
    if !items.is_empty() && items.iter().all(is_key_value_pair) {
        let pairs = indexed(items, Pair::from_json)?;
        return Ok(Value::Dictionary(Pairs(pairs)));
    }
    let values = indexed(items, Value::from_json)?;
    let choices: Option<Vec<&Choice>> = values
        .iter()
        .map(|value| match value {
            Value::Choice(choice) => Some(choice),
            _ => None,
        })
        .collect();
    Ok(match choices {
        Some(choices) if !choices.is_empty() => {
            Value::Choices(choices.into_iter().cloned().collect())
        }
        _ => Value::List(values),
    })
}

fn indexed<T>(items: Vec<Json>, read: fn(Json) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| read(item).map_err(|error| error.within(&format!("[{index}]"))))
        .collect()
}

/// One item of a dictionary of texts; dictionaries with other keys stay lists.
fn is_key_value_pair(json: &Json) -> bool {
    let text = |name| json.get(name).and_then(Json::as_str);
    text("__type").is_some_and(|tag| tag.starts_with("KeyValuePairOf")) && text("key").is_some()
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

// By way of JSON: with numbers of arbitrary precision, serde's own buffering for untagged and
// flattened types loses numbers.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::from_json(Plain::deserialize(deserializer)?.0).map_err(serde::de::Error::custom)
    }
}
