//! Takes the value of a CloudEvents extension attribute, gives it as the type that is wanted.

use std::borrow::Cow;

/// The value of an extension attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// From an event that came as JSON.
    Boolean(bool),
    /// From an event that came as JSON.
    Integer(i32),
    /// All the rest: text, and whatever NATS or HTTP carried in a header.
    Text(String),
}

impl Attribute {
    /// The text form of the CloudEvents type system: `true`, `42`, `text`.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Boolean(true) => "true".into(),
            Self::Boolean(false) => "false".into(),
            Self::Integer(value) => value.to_string().into(),
            Self::Text(text) => text.into(),
        }
    }

    /// A whole number, also one that a header carried as text; `None` for anything else.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Boolean(_) => None,
            Self::Integer(value) => Some((*value).into()),
            Self::Text(text) => text.parse().ok(),
        }
    }

    /// A boolean, also one that a header carried as text; `None` for anything else.
    pub fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            Self::Integer(_) => None,
            Self::Text(text) => text.parse().ok(),
        }
    }
}

impl From<bool> for Attribute {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i32> for Attribute {
    fn from(value: i32) -> Self {
        Self::Integer(value)
    }
}

impl From<String> for Attribute {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Attribute {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_header_reads_as_the_type_it_was() {
        assert_eq!(Attribute::from("3").integer(), Some(3));
        assert_eq!(Attribute::from(3).integer(), Some(3));
        assert_eq!(Attribute::from("x").integer(), None);
        assert_eq!(Attribute::from("true").boolean(), Some(true));
        assert_eq!(Attribute::from(false).boolean(), Some(false));
        assert_eq!(Attribute::from(1).boolean(), None);
        assert_eq!(Attribute::from(true).integer(), None);
        assert_eq!(Attribute::from(true).text(), "true");
    }
}
