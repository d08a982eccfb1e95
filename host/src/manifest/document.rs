//! Takes the text of a TOML file, gives raw structs whose values know their line.
//!
//! Shared by the manifest and the daemon's file, so that both complain in one voice:
//! file, line, key, what was found, what is allowed.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong in a TOML file. `file` is the name that the reader was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not TOML.
    #[error("{file}:{line}: not valid TOML: {reason}")]
    Syntax {
        /// Name of the file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A key that means nothing here.
    #[error("{file}:{line}: unknown key \"{key}\" {place}; allowed: {allowed}")]
    UnknownKey {
        /// Name of the file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// `in [table]` or `at the top level`.
        place: String,
        /// The key.
        key: String,
        /// The keys that are known here.
        allowed: String,
    },
    /// A value that the key cannot have.
    #[error("{file}:{line}: {key}: found {found}, expected {expected}")]
    Value {
        /// Name of the file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// `[table] key`.
        key: String,
        /// The value as the file has it (never one from the environment).
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A key without a default is absent.
    #[error("{file}: {key} is missing; expected {expected}")]
    Missing {
        /// Name of the file.
        file: String,
        /// `[table] key`.
        key: String,
        /// What is allowed.
        expected: String,
    },
    /// `${NAME}` of a variable that is not set, or something that only looks like it.
    #[error("{file}:{line}: {key}: {reason}")]
    Variable {
        /// Name of the file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// `[table] key`.
        key: String,
        /// What is wrong, with the variable's name.
        reason: String,
    },
    /// Values that are allowed one by one but not together.
    #[error("{file}:{line}: {key}: {reason}")]
    Rule {
        /// Name of the file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// `[table] key`.
        key: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// Where the value of `${NAME}` comes from; `None` when it is not set.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A file's text: what errors point into.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) file: String,
    text: String,
    /// Whether `${NAME}` is replaced.
    has_environment: bool,
}

impl Document {
    /// Reads a file without an environment.
    pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<(Self, T), Error> {
        Self::new(file, text, false).deserialize(|_, _| Ok(()))
    }

    /// Reads a file after replacing each `${NAME}` in its strings.
    pub(crate) fn read_with<T: DeserializeOwned>(
        file: &str,
        text: &str,
        lookup: Lookup<'_>,
    ) -> Result<(Self, T), Error> {
        Self::new(file, text, true).deserialize(|document, table| {
            super::environment::expand_table(document, table, lookup)
        })
    }

    fn new(file: &str, text: &str, has_environment: bool) -> Self {
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            has_environment,
        }
    }

    fn deserialize<T: DeserializeOwned>(
        self,
        prepare: impl FnOnce(&Self, &mut DeTable<'_>) -> Result<(), Error>,
    ) -> Result<(Self, T), Error> {
        let raw = {
            let mut table = DeTable::parse(&self.text).map_err(|error| self.syntax(&error))?;
            prepare(&self, table.get_mut())?;
            T::deserialize(toml::Deserializer::from(table)).map_err(|error| self.explain(&error))?
        };
        Ok((self, raw))
    }

    /// Whether a string may stand for a number: only where it may come from `${NAME}`.
    pub(crate) fn has_environment(&self) -> bool {
        self.has_environment
    }

    /// Whether the file itself holds a value, nothing of it from the environment.
    pub(crate) fn is_written_out<T>(&self, at: &Spanned<T>) -> bool {
        let source = self.text.get(at.span()).unwrap_or_default();
        !source.replace("$${", "").contains("${")
    }

    /// Line of a byte position, from 1.
    pub(crate) fn line(&self, position: usize) -> usize {
        let before = self.text.as_bytes().iter().take(position);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    /// The text of a value as the file has it, one line of at most 80 characters. What
    /// stands between `://` and `@` may be a password and is left out.
    pub(crate) fn source(&self, span: Range<usize>) -> String {
        let text = self.text.get(span).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let line = match (line.find("://"), line.rfind('@')) {
            (Some(start), Some(end)) if start < end => {
                let (start, end) = (line.get(..start + 3), line.get(end..));
                format!(
                    "{}***{}",
                    start.unwrap_or_default(),
                    end.unwrap_or_default()
                )
            }
            _ => line.to_owned(),
        };
        line.chars().take(80).collect()
    }

    fn syntax(&self, error: &toml::de::Error) -> Error {
        Error::Syntax {
            file: self.file.clone(),
            line: self.line(error.span().map_or(0, |span| span.start)),
            reason: error.message().lines().collect::<Vec<_>>().join(", "),
        }
    }

    /// serde tells what is wrong in words; the place is found again by its span.
    fn explain(&self, error: &toml::de::Error) -> Error {
        let message = error.message();
        let span = error.span().unwrap_or(0..0);
        let file = self.file.clone();
        let line = self.line(span.start);
        let (table, key) = self.place(span.start);
        if message.starts_with("unknown field ") {
            let mut words = message.split('`').skip(1).step_by(2);
            let key = words.next().unwrap_or_default().escape_debug().to_string();
            let allowed = words.collect::<Vec<_>>().join(", ");
            let place = if table.is_empty() {
                "at the top level".to_owned()
            } else {
                format!("in {table}")
            };
            return Error::UnknownKey {
                file,
                line,
                place,
                key,
                allowed,
            };
        }
        match message.rsplit_once(", expected ") {
            Some((_, expected)) if message.starts_with("invalid type: ") => Error::Value {
                file,
                line,
                key: format!("{table} {key}").trim().to_owned(),
                found: self.source(span),
                expected: match expected {
                    "a sequence" => "a list of strings".to_owned(),
                    "a map" => "a table".to_owned(),
                    other if other.starts_with("struct ") => "a table".to_owned(),
                    other => other.to_owned(),
                },
            },
            _ => self.syntax(error),
        }
    }

    /// The innermost table and key whose key or value covers a position.
    pub(crate) fn place(&self, position: usize) -> (String, String) {
        DeTable::parse(&self.text)
            .ok()
            .and_then(|table| place_in(table.get_ref(), &Path::default(), position))
            .unwrap_or_default()
    }
}

/// Names of the tables from the top, and whether the last is one of an array.
#[derive(Default)]
struct Path {
    names: Vec<String>,
    is_element: bool,
}

impl Path {
    fn then(&self, name: &str, is_element: bool) -> Self {
        let mut names = self.names.clone();
        names.push(name.to_owned());
        Self { names, is_element }
    }

    fn display(&self) -> String {
        match (self.names.is_empty(), self.is_element) {
            (true, _) => String::new(),
            (false, false) => format!("[{}]", self.names.join(".")),
            (false, true) => format!("[[{}]]", self.names.join(".")),
        }
    }
}

fn place_in(table: &DeTable<'_>, path: &Path, position: usize) -> Option<(String, String)> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        let inner = match value.get_ref() {
            DeValue::Table(table) => place_in(table, &path.then(name, false), position),
            DeValue::Array(array) => array.iter().find_map(|element| {
                let table = element.get_ref().as_table()?;
                place_in(table, &path.then(name, true), position)
            }),
            _ => None,
        };
        let covers = |span: Range<usize>| span.contains(&position);
        inner.or_else(|| {
            (covers(key.span()) || covers(value.span())).then(|| (path.display(), name.to_string()))
        })
    })
}

/// A value whose type is checked when it is resolved, where the error can say more.
pub(crate) type Leaf = Option<Spanned<toml::Value>>;

/// A list of such values, each with its own line.
pub(crate) type List = Option<Spanned<Vec<Spanned<toml::Value>>>>;
