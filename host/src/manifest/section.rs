//! Takes a raw value, gives it in its own type, or an error that names its place.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use toml::{Spanned, Value};

use super::document::{Document, Error, Leaf, List};

/// One table of a file. Readers give `None` for an absent key.
#[derive(Clone, Copy)]
pub(crate) struct Section<'a> {
    pub(crate) document: &'a Document,
    /// As errors show it: `[delivery]`, `[[gateway.source]]`.
    pub(crate) name: &'a str,
}

impl Section<'_> {
    /// A string that `parse` takes.
    pub(crate) fn parsed<T>(
        &self,
        key: &str,
        leaf: &Leaf,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.with(key, leaf, expected, |value| value.as_str().and_then(parse))
    }

    /// Any string but the empty one.
    pub(crate) fn text(
        &self,
        key: &str,
        leaf: &Leaf,
        expected: &str,
    ) -> Result<Option<String>, Error> {
        self.parsed(key, leaf, expected, |text| {
            (!text.is_empty()).then(|| text.to_owned())
        })
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(
        &self,
        key: &str,
        leaf: &Leaf,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Error> {
        let quoted: Vec<_> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        self.parsed(key, leaf, &quoted.join(" or "), |text| {
            words
                .iter()
                .find_map(|(word, choice)| (*word == text).then_some(*choice))
        })
    }

    /// `true` or `false`.
    pub(crate) fn switch(&self, key: &str, leaf: &Leaf) -> Result<Option<bool>, Error> {
        self.with(key, leaf, "true or false", |value| match value {
            Value::Boolean(switch) => Some(*switch),
            Value::String(text) if self.document.has_environment() => text.parse().ok(),
            _ => None,
        })
    }

    /// A whole number.
    pub(crate) fn whole<T>(
        &self,
        key: &str,
        leaf: &Leaf,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, Error>
    where
        T: TryFrom<i64> + PartialOrd + Display + Copy,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.with(key, leaf, &expected, |value| {
            let number = match value {
                Value::Integer(number) => Some(*number),
                Value::String(text) if self.document.has_environment() => text.parse().ok(),
                _ => None,
            };
            T::try_from(number?)
                .ok()
                .filter(|number| range.contains(number))
        })
    }

    /// A number, whole or not.
    pub(crate) fn number(
        &self,
        key: &str,
        leaf: &Leaf,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, Error> {
        let expected = format!("a number from {:?} to {:?}", range.start(), range.end());
        self.with(key, leaf, &expected, |value| {
            let number = match value {
                Value::Float(number) => Some(*number),
                Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
                Value::String(text) if self.document.has_environment() => text.parse().ok(),
                _ => None,
            };
            number.filter(|number| range.contains(number))
        })
    }

    /// A duration such as `5s` or `1h 30m`.
    pub(crate) fn duration(
        &self,
        key: &str,
        leaf: &Leaf,
        example: &str,
        range: RangeInclusive<Duration>,
    ) -> Result<Option<Duration>, Error> {
        self.parsed(key, leaf, &expected_duration(example, &range), |text| {
            parse_duration(text, &range)
        })
    }

    /// A duration, or the word `none`: `Some(None)`.
    pub(crate) fn duration_or_none(
        &self,
        key: &str,
        leaf: &Leaf,
        example: &str,
        range: RangeInclusive<Duration>,
    ) -> Result<Option<Option<Duration>>, Error> {
        let expected = format!("{}, or \"none\"", expected_duration(example, &range));
        self.parsed(key, leaf, &expected, |text| match text {
            "none" => Some(None),
            text => parse_duration(text, &range).map(Some),
        })
    }

    /// A number of bytes such as `32MiB`.
    pub(crate) fn size(
        &self,
        key: &str,
        leaf: &Leaf,
        example: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Error> {
        let (least, most) = (ByteSize(*range.start()), ByteSize(*range.end()));
        let expected = format!("a size such as \"{example}\", from {least} to {most}");
        self.parsed(key, leaf, &expected, |text| {
            let size: ByteSize = text.parse().ok()?;
            range.contains(&size.as_u64()).then_some(size.as_u64())
        })
    }

    /// A list of strings that `parse` takes. The same string twice is an error.
    pub(crate) fn list<T: PartialEq>(
        &self,
        key: &str,
        list: &List,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        let Some(list) = list else { return Ok(None) };
        let mut items = Vec::with_capacity(list.get_ref().len());
        for element in list.get_ref() {
            let item = element
                .get_ref()
                .as_str()
                .and_then(&parse)
                .ok_or_else(|| self.value(key, element, expected))?;
            if items.contains(&item) {
                return Err(self.value(key, element, "each entry once"));
            }
            items.push(item);
        }
        Ok(Some(items))
    }

    /// The error for a value that is not what was expected.
    pub(crate) fn value<T>(&self, key: &str, at: &Spanned<T>, expected: &str) -> Error {
        Error::Value {
            file: self.document.file.clone(),
            line: self.line(at),
            key: self.key(key),
            found: self.document.source(at.span()),
            expected: expected.to_owned(),
        }
    }

    /// The error for a key that has no default and is not there.
    pub(crate) fn missing(&self, key: &str, expected: &str) -> Error {
        Error::Missing {
            file: self.document.file.clone(),
            key: self.key(key),
            expected: expected.to_owned(),
        }
    }

    /// The same for one of several tables of a name: it says which.
    pub(crate) fn missing_in<T>(&self, table: &Spanned<T>, key: &str, expected: &str) -> Error {
        Error::Missing {
            file: format!("{}:{}", self.document.file, self.line(table)),
            key: self.key(key),
            expected: expected.to_owned(),
        }
    }

    /// The error for a value that does not go with others.
    pub(crate) fn rule<T>(&self, key: &str, at: Option<&Spanned<T>>, reason: &str) -> Error {
        Error::Rule {
            file: self.document.file.clone(),
            line: at.map_or(1, |at| self.line(at)),
            key: self.key(key),
            reason: reason.to_owned(),
        }
    }

    pub(crate) fn line<T>(&self, at: &Spanned<T>) -> usize {
        self.document.line(at.span().start)
    }

    fn key(&self, key: &str) -> String {
        format!("{} {key}", self.name).trim().to_owned()
    }

    fn with<T>(
        &self,
        key: &str,
        leaf: &Leaf,
        expected: &str,
        take: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        leaf.as_ref()
            .map(|at| take(at.get_ref()).ok_or_else(|| self.value(key, at, expected)))
            .transpose()
    }
}

fn parse_duration(text: &str, range: &RangeInclusive<Duration>) -> Option<Duration> {
    humantime::parse_duration(text)
        .ok()
        .filter(|duration| range.contains(duration))
}

fn expected_duration(example: &str, range: &RangeInclusive<Duration>) -> String {
    let least = humantime::format_duration(*range.start());
    let most = humantime::format_duration(*range.end());
    format!("a duration such as \"{example}\", from {least} to {most}")
}
