//! Takes the words of a question, gives what they ask of a table: conditions, an order, a page.
//!
//! A word is `member=value` or `member.operator=value`; a member is a path into the row, with dots.
//! What a value is taken for, its own form says: see [`Value`].

use std::fmt::Display;
use std::time::Duration;

use super::store::Moment;
use crate::clock;
use crate::manifest::projection::is_member;

pub mod page;
#[cfg(test)]
mod tests;
pub(in crate::projections) mod value;

pub use self::page::{Answer, Page, Row};
pub use self::value::Value;

/// Rows of an answer when nothing is said,
const LIMIT: usize = 100;
/// and at most.
pub const MOST: usize = 1_000;
/// Bytes of its rows.
const MOST_BYTES: usize = 8 << 20;
/// Conditions and members of an order.
const MOST_WORDS: usize = 32;
/// How long an answer waits for its place when nothing is said, and at most.
pub const WAIT: Duration = Duration::from_secs(5);
const MOST_WAIT: Duration = Duration::from_secs(30);

/// The key of a row, among the members.
pub(super) const KEY: &str = "@key";

const OPERATORS: &str = "gt, gte, lt, lte, ne, in, prefix, eq";
const WORDS: &str = "order, limit, cursor, after, wait, as-of";
/// Words that somebody takes for operators, and not for members of a member.
const NO_OPERATORS: [&str; 14] = [
    "above", "after", "before", "below", "between", "contains", "ge", "is", "le", "like", "max",
    "min", "neq", "not",
];

/// Why a question cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(pub String);

fn wrong<T>(text: impl Display) -> Result<T, Wrong> {
    Err(Wrong(text.to_string()))
}

/// How a member is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    In,
    Prefix,
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) member: String,
    pub(super) operator: Operator,
    pub(super) values: Vec<Value>,
}

/// One member of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct By {
    pub(super) member: String,
    pub(super) descending: bool,
}

/// What is asked of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub(super) conditions: Vec<Condition>,
    pub(super) order: Vec<By>,
    /// Rows of an answer.
    pub limit: usize,
    pub(super) cursor: Option<String>,
    /// Not before this event was taken in,
    pub after: Option<u64>,
    /// which is waited for so long.
    pub wait: Duration,
    /// As it was then.
    pub as_of: Option<Moment>,
    /// Bytes of rows of an answer; one row is given however big it is.
    pub bytes: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            conditions: Vec::new(),
            order: Vec::new(),
            limit: LIMIT,
            cursor: None,
            after: None,
            wait: WAIT,
            as_of: None,
            bytes: MOST_BYTES,
        }
    }
}

impl Query {
    /// Reads the words of an address, decoded.
    ///
    /// # Errors
    /// The first word that cannot be understood, and what is allowed.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(
        words: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Wrong> {
        let mut query = Self::default();
        for (name, value) in words {
            query.take(name.as_ref(), value.as_ref())?;
        }
        if MOST_WORDS < query.conditions.len() || MOST_WORDS < query.order.len() {
            return wrong(format!(
                "at most {MOST_WORDS} conditions and members of an order"
            ));
        }
        Ok(query)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Wrong> {
        match name {
            "order" => self.order = order(value)?,
            "limit" => self.limit = number(name, value, 1..=MOST as u64)? as usize,
            "cursor" => self.cursor = Some(value.to_owned()),
            "after" => self.after = Some(number(name, value, 0..=i64::MAX as u64)?),
            "wait" => self.wait = wait(value)?,
            "as-of" => self.as_of = Some(moment(value)?),
            _ => self.conditions.push(condition(name, value)?),
        }
        Ok(())
    }

    /// What of the question makes a cursor's place: another question has other places.
    fn fingerprint(&self, table: &str) -> String {
        let Self {
            conditions,
            order,
            as_of,
            ..
        } = self;
        format!("{table} {conditions:?} {order:?} {as_of:?}")
    }
}

fn number(name: &str, value: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, Wrong> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        Wrong(format!(
            "{name}={value}: expected a whole number from {} to {}",
            range.start(),
            range.end()
        ))
    })
}

fn wait(value: &str) -> Result<Duration, Wrong> {
    let wait = humantime::parse_duration(value).ok();
    let wait = wait.filter(|wait| *wait <= MOST_WAIT);
    wait.ok_or_else(|| {
        Wrong(format!(
            "wait={value}: expected a time up to {MOST_WAIT:?}, such as 2s"
        ))
    })
}

/// A sequence, or a time of RFC 3339.
///
/// # Errors
/// When it is neither.
pub fn moment(value: &str) -> Result<Moment, Wrong> {
    if let Ok(sequence) = value.parse() {
        return Ok(Moment::Sequence(sequence));
    }
    match clock::parse_rfc3339(value) {
        Some(at) => Ok(Moment::Time(at)),
        None => wrong(format!(
            "as-of={value}: expected a sequence of the event store, or a time such as \
             2026-11-30T09:00:00Z"
        )),
    }
}

fn order(value: &str) -> Result<Vec<By>, Wrong> {
    let members = value.split(',').map(|word| {
        let (member, descending) = match word.strip_prefix('-') {
            Some(member) => (member, true),
            None => (word, false),
        };
        match is_known(member) {
            true => Ok(By {
                member: member.to_owned(),
                descending,
            }),
            false => wrong(format!(
                "order={value}: {word:?} is no member; expected members such as country or \
                 -address.city, with commas between them, a - before those that descend, and {KEY} \
                 for the key"
            )),
        }
    });
    members.collect()
}

fn is_known(member: &str) -> bool {
    member == KEY || is_member(member)
}

fn condition(name: &str, value: &str) -> Result<Condition, Wrong> {
    let (member, operator) = match name.rsplit_once('.') {
        Some((member, word)) => match operator(word) {
            Some(operator) => (member, operator),
            None if NO_OPERATORS.contains(&word) => {
                return wrong(format!(
                    "{name}: {word:?} is no operator; allowed are {OPERATORS}, and a member alone \
                     is compared for equality"
                ));
            }
            None => (name, Operator::Equal),
        },
        None => (name, Operator::Equal),
    };
    if !is_known(member) {
        return wrong(format!(
            "{name}: neither one of {WORDS}, nor a member (letters, digits, _ and - in words with \
             dots between them, or {KEY}), with or without one of the operators {OPERATORS}"
        ));
    }
    let values = match operator {
        Operator::In => value::list(value).map_err(|error| Wrong(format!("{name}: {error}")))?,
        Operator::Prefix => vec![value::text(value)],
        _ => vec![Value::parse(value)],
    };
    Ok(Condition {
        member: member.to_owned(),
        operator,
        values,
    })
}

fn operator(word: &str) -> Option<Operator> {
    Some(match word {
        "eq" => Operator::Equal,
        "ne" => Operator::NotEqual,
        "gt" => Operator::Greater,
        "gte" => Operator::GreaterOrEqual,
        "lt" => Operator::Less,
        "lte" => Operator::LessOrEqual,
        "in" => Operator::In,
        "prefix" => Operator::Prefix,
        _ => return None,
    })
}
