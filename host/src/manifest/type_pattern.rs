//! Takes an entry of `types`, gives whether an event of a type is wanted.

use std::fmt;

/// One entry of `types`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypePattern {
    /// This type.
    Exact(String),
    /// Every type that starts with this; written with a `*` at its end.
    Prefix(String),
}

impl TypePattern {
    /// Whether an event of this type is wanted.
    pub fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::Exact(exact) => event_type == exact,
            Self::Prefix(prefix) => event_type.starts_with(prefix),
        }
    }

    /// As a manifest has it.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        let is_clean = !name.contains(|c: char| c == '*' || c.is_whitespace() || c.is_control());
        match (is_prefix, is_clean) {
            (true, true) => Some(Self::Prefix(name.to_owned())),
            (false, true) if !name.is_empty() => Some(Self::Exact(name.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => out.write_str(exact),
            Self::Prefix(prefix) => write!(out, "{prefix}*"),
        }
    }
}
