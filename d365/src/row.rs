//! Takes the columns of a record, gives a type of the reader's own.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use crate::{Entity, EntityReference, Pairs, Value};

/// Why the columns of a record are not what the reader's type asks for.
///
/// The message names the column, and what would fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    column: Option<String>,
    reason: String,
}

impl Entity {
    /// The columns as a type of one's own, a field for each column that is wanted.
    ///
    /// | column | field |
    /// |---|---|
    /// | text, GUID | `String` |
    /// | two options | `bool` |
    /// | whole number, choice | any integer |
    /// | decimal, money | [`Decimal`](crate::Decimal), [`Money`](crate::Money), or `f64`, which loses digits |
    /// | choices | `Vec` of integers |
    /// | lookup | [`EntityReference`], or `String`: the record's id |
    /// | date | [`Date`], or `String`: RFC 3339 in UTC |
    ///
    /// A column that was cleared is `None`, and so is one that the message does not carry: the
    /// Target of an update has the submitted columns only, so that a field that is not an
    /// `Option` (or `#[serde(default)]`) makes it an error.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use sluicegate_d365::{Decimal, Entity, Value};
    ///
    /// #[derive(Deserialize)]
    /// struct Account {
    ///     name: String,
    ///     creditlimit: Option<Decimal>,
    /// }
    ///
    /// let mut account = Entity::default();
    /// account.attributes = [("name".to_owned(), Value::Text("Contoso".to_owned()))].into_iter().collect();
    /// let row: Account = account.row()?;
    /// assert_eq!(row.name, "Contoso");
    /// assert_eq!(row.creditlimit, None);
    /// # Ok::<(), sluicegate_d365::RowError>(())
    /// ```
    ///
    /// # Errors
    /// A column that is missing or has another type.
    pub fn row<T: DeserializeOwned>(&self) -> Result<T, RowError> {
        T::deserialize(Row(&self.attributes))
    }
}

impl Pairs {
    /// The values by key as a type of one's own, as [`Entity::row`] gives the columns: the
    /// parameters of a custom API.
    ///
    /// # Errors
    /// A value that is missing or has another type.
    pub fn row<T: DeserializeOwned>(&self) -> Result<T, RowError> {
        T::deserialize(Row(self))
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column {column}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for RowError {}

impl serde::de::Error for RowError {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        RowError {
            column: None,
            reason: reason.to_string(),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        RowError {
            column: Some(field.to_owned()),
            reason: "the message does not carry it; an update carries the columns that were \
                     submitted, so make the field an Option"
                .to_owned(),
        }
    }
}

impl RowError {
    /// The error as one of this column, or of a part of it.
    fn within(self, column: &str) -> Self {
        let column = match self.column {
            Some(inner) => format!("{column}.{inner}"),
            None => column.to_owned(),
        };
        RowError {
            column: Some(column),
            reason: self.reason,
        }
    }
}

struct Row<'a>(&'a Pairs);

impl<'de> Deserializer<'de> for Row<'_> {
    type Error = RowError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_map(Columns {
            rest: self.0.0.iter(),
            next: None,
        })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

struct Columns<'a> {
    rest: std::slice::Iter<'a, crate::Pair>,
    next: Option<&'a crate::Pair>,
}

impl<'de> MapAccess<'de> for Columns<'_> {
    type Error = RowError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, RowError> {
        self.next = self.rest.next();
        let Some(pair) = self.next else {
            return Ok(None);
        };
        seed.deserialize(pair.key.as_str().into_deserializer())
            .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, RowError> {
        let Some(pair) = self.next.take() else {
            return Err(RowError::custom("a value was asked for before its column"));
        };
        seed.deserialize(Column(&pair.value))
            .map_err(|error| error.within(&pair.key))
    }
}

struct Column<'a>(&'a Value);

impl<'de> IntoDeserializer<'de, RowError> for Column<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Column<'_> {
    type Error = RowError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => json(number.deserialize_any(visitor)),
            Value::Money(money) => json(money.number().deserialize_any(visitor)),
            Value::Text(text) => visitor.visit_str(text),
            Value::Date(date) => visitor.visit_str(&date.rfc3339()),
            Value::Choice(choice) => visitor.visit_i64(choice.value),
            Value::Choices(choices) => {
                let numbers = choices.iter().map(|choice| choice.value);
                visitor.visit_seq(SeqDeserializer::new(numbers))
            }
            Value::Reference(reference) => reference_map(reference, visitor),
            Value::Entity(entity) => Row(&entity.attributes).deserialize_any(visitor),
            Value::Entities(collection) => {
                let rows = collection.entities.iter();
                visitor.visit_seq(SeqDeserializer::new(
                    rows.map(|row| Nested(&row.attributes)),
                ))
            }
            Value::Relationship(relationship) => match &relationship.schema_name {
                Some(name) => visitor.visit_str(name),
                None => visitor.visit_unit(),
            },
            Value::Dictionary(pairs) => Row(pairs).deserialize_any(visitor),
            Value::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Column))),
            Value::Boxed { value, .. } => Column(value).deserialize_any(visitor),
            Value::Other(other) => json(other.clone().deserialize_any(visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        match self.0 {
            Value::Reference(reference) => match reference.known_id() {
                Some(id) => visitor.visit_str(id),
                None => Err(RowError::custom("the lookup has no id")),
            },
            Value::Boxed { value, .. } => Column(value).deserialize_string(visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        visitor.visit_newtype_struct(self)
    }

    /// A choice as one of an enum's variants is more than a number can say.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        match self.0 {
            Value::Text(text) => {
                StringDeserializer::new(text.clone()).deserialize_enum(name, variants, visitor)
            }
            Value::Choice(choice) => Err(RowError::custom(format_args!(
                "choice {}: read it as an integer, or give {name} #[serde(from = \"i64\")]",
                choice.value
            ))),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The columns of a record in a list.
struct Nested<'a>(&'a Pairs);

impl<'a, 'de> IntoDeserializer<'de, RowError> for Nested<'a> {
    type Deserializer = Row<'a>;

    fn into_deserializer(self) -> Row<'a> {
        Row(self.0)
    }
}

/// A lookup, by the names of the wire's members.
fn reference_map<'de, V: Visitor<'de>>(
    reference: &EntityReference,
    visitor: V,
) -> Result<V::Value, RowError> {
    let members = reference.to_members().into_iter();
    json(visitor.visit_map(MapDeserializer::new(members)))
}

fn json<T>(read: Result<T, serde_json::Error>) -> Result<T, RowError> {
    read.map_err(RowError::custom)
}

#[cfg(test)]
mod tests;
