//! Takes JSON values, gives which kinds of values they are.

use std::fmt;

use serde_json::Value;

/// A set of kinds of JSON values. Whole numbers are no kind of their own: Dataverse does not tell
/// them from others, and an amount of 100 is followed by one of 99.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds(u8);

const NAMES: [(Kinds, &str); 6] = [
    (Kinds::NULL, "null"),
    (Kinds::BOOLEAN, "boolean"),
    (Kinds::NUMBER, "number"),
    (Kinds::STRING, "string"),
    (Kinds::ARRAY, "array"),
    (Kinds::OBJECT, "object"),
];

impl Kinds {
    /// `null`.
    pub const NULL: Self = Self(1);
    /// `true` and `false`.
    pub const BOOLEAN: Self = Self(2);
    /// Any number.
    pub const NUMBER: Self = Self(4);
    /// Any string.
    pub const STRING: Self = Self(8);
    /// A list.
    pub const ARRAY: Self = Self(16);
    /// An object.
    pub const OBJECT: Self = Self(32);
    /// All of them: nothing is known.
    pub const ANY: Self = Self(63);

    /// The kind of a value.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(_) => Self::NUMBER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    /// The kind that JSON Schema calls so.
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "integer" { "number" } else { name };
        NAMES
            .iter()
            .find_map(|(kind, known)| (*known == name).then_some(*kind))
    }

    /// Those of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among them.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those that `other` has and this one has not.
    #[must_use]
    pub fn missing_of(self, other: Self) -> Self {
        Self(other.0 & !self.0)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names in JSON Schema.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES
            .iter()
            .filter(move |(kind, _)| self.has(*kind))
            .map(|(_, name)| *name)
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            return out.write_str("anything");
        }
        for (index, name) in self.names().enumerate() {
            let between = if index == 0 { "" } else { " or " };
            write!(out, "{between}{name}")?;
        }
        Ok(())
    }
}
