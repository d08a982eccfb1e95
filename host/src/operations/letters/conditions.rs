//! Takes conditions such as `reason=trap` or `error~deadlock`, gives whether a dead letter meets them.

use std::fmt;
use std::str::FromStr;

use super::Summary;

/// What can be asked of a letter.
const FIELDS: [(&str, Field); 15] = [
    ("plugin", Field::Plugin),
    ("version", Field::Version),
    ("digest", Field::Digest),
    ("reason", Field::Reason),
    ("error", Field::Error),
    ("group", Field::Group),
    ("attempts", Field::Attempts),
    ("subject", Field::Subject),
    ("id", Field::EventId),
    ("type", Field::Type),
    ("key", Field::Key),
    ("correlation", Field::Correlation),
    ("time", Field::Time),
    ("number", Field::Number),
    ("trace", Field::Trace),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Plugin,
    Version,
    Digest,
    Reason,
    Error,
    Group,
    Attempts,
    Subject,
    EventId,
    Type,
    Key,
    Correlation,
    Time,
    Number,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Is,
    IsNot,
    Has,
    AtLeast,
    AtMost,
    Above,
    Below,
}

/// In the order in which they are looked for: the longer ones first.
const TESTS: [(&str, Test); 7] = [
    ("!=", Test::IsNot),
    (">=", Test::AtLeast),
    ("<=", Test::AtMost),
    ("=", Test::Is),
    ("~", Test::Has),
    (">", Test::Above),
    ("<", Test::Below),
];

/// Why a text is no condition.
#[derive(Debug, thiserror::Error)]
#[error(
    "{text:?} is no condition; write a field, one of = != ~ < <= > >=, and a value, such as \
     \"reason=trap\", \"error~deadlock\" or \"time>=2026-11-01T00:00:00Z\"; fields: {}",
    FIELDS.map(|(name, _)| name).join(", ")
)]
pub struct NoCondition {
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    text: String,
    field: Field,
    test: Test,
    value: String,
}

/// Conditions that all have to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// All of these.
    ///
    /// # Errors
    /// The first that is none.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, NoCondition> {
        texts
            .into_iter()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// One more that has to hold: the field is exactly this.
    #[must_use]
    pub fn and(mut self, field: &str, value: &str) -> Self {
        self.0.extend(format!("{field}={value}").parse());
        self
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As they were written.
    pub fn texts(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|condition| condition.text.clone())
            .collect()
    }

    /// The narrowest subject of the stream that has every letter which meets them.
    pub(super) fn subject(&self) -> String {
        let token = |field: Field| {
            let exact = self
                .0
                .iter()
                .find(|one| one.field == field && one.test == Test::Is);
            let value = exact.map_or("*", |one| one.value.as_str());
            let is_token = !value.is_empty() && !value.contains(['.', ' ', '>']);
            if is_token { value } else { "*" }
        };
        format!("dead.{}.{}", token(Field::Plugin), token(Field::Reason))
    }

    /// Whether the letter meets all of them.
    pub fn hold(&self, letter: &Summary) -> bool {
        self.0.iter().all(|condition| condition.holds(letter))
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(" and "))
    }
}

impl FromStr for Condition {
    type Err = NoCondition;

    fn from_str(text: &str) -> Result<Self, NoCondition> {
        let none = || NoCondition {
            text: text.to_owned(),
        };
        let end = text
            .find(|c: char| !c.is_ascii_alphabetic())
            .ok_or_else(none)?;
        let (name, rest) = text.split_at(end);
        let field = FIELDS.iter().find(|(known, _)| *known == name);
        let rest = rest.trim_start();
        let test = TESTS.iter().find(|(sign, _)| rest.starts_with(sign));
        let ((_, field), (sign, test)) = field.zip(test).ok_or_else(none)?;
        let value = rest.strip_prefix(sign).unwrap_or_default().trim();
        let is_number = matches!(field, Field::Attempts | Field::Number);
        if is_number && value.parse::<u64>().is_err() {
            return Err(none());
        }
        Ok(Self {
            text: text.to_owned(),
            field: *field,
            test: *test,
            value: value.to_owned(),
        })
    }
}

impl Condition {
    fn holds(&self, letter: &Summary) -> bool {
        let text: &str = match self.field {
            Field::Attempts => return self.compares(u64::from(letter.attempts)),
            Field::Number => return self.compares(letter.id),
            Field::Plugin => &letter.plugin,
            Field::Version => &letter.version,
            Field::Digest => &letter.digest,
            Field::Reason => &letter.reason,
            Field::Error => &letter.error,
            Field::Group => &letter.group,
            Field::Subject => &letter.subject,
            Field::EventId => &letter.event_id,
            Field::Type => &letter.event_type,
            Field::Key => &letter.partition_key,
            Field::Correlation => &letter.correlation_id,
            // RFC 3339 in UTC with the same digits: the order of the texts is that of the times.
            Field::Time => &letter.last_time,
            Field::Trace => &letter.trace_id,
        };
        let value = self.value.as_str();
        match self.test {
            Test::Is => text == value,
            Test::IsNot => text != value,
            Test::Has => text.to_lowercase().contains(&value.to_lowercase()),
            Test::AtLeast => value <= text,
            Test::AtMost => text <= value,
            Test::Above => value < text,
            Test::Below => text < value,
        }
    }

    fn compares(&self, number: u64) -> bool {
        let value = self.value.parse().unwrap_or(0);
        match self.test {
            Test::Is => number == value,
            Test::IsNot => number != value,
            Test::Has => number.to_string().contains(&self.value),
            Test::AtLeast => value <= number,
            Test::AtMost => number <= value,
            Test::Above => value < number,
            Test::Below => number < value,
        }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;

    use super::super::summary::Words;
    use super::*;

    fn letter() -> Summary {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("Sluice-Plugin", "credit-hold"),
            ("Sluice-Reason", "trap"),
            ("Sluice-Error", "Deadlock on row 5"),
            ("Sluice-Attempts", "12"),
            ("Sluice-Last-Time", "2026-11-20T10:00:00.000Z"),
            ("ce-type", "d365.dataverse.account.update"),
        ] {
            headers.insert(name, value);
        }
        Words::default().summary(7, &headers)
    }

    #[test]
    fn each_test_does_what_it_says() {
        for (text, expected) in [
            ("plugin=credit-hold", true),
            ("plugin = credit-hold", true),
            ("plugin!=credit-hold", false),
            ("error~deadlock", true),
            ("error=deadlock", false),
            ("attempts>=12", true),
            ("attempts<12", false),
            ("attempts>9", true),
            ("number<=7", true),
            ("time>=2026-11-20", true),
            ("time<2026-11-20T10:00:00.000Z", false),
            ("type~account", true),
        ] {
            let conditions = Conditions::parse([text]).expect(text);
            assert_eq!(conditions.hold(&letter()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_by_name() {
        for text in [
            "",
            "plugin",
            "colour=red",
            "=x",
            "attempts=many",
            "plugin credit",
        ] {
            let error = Conditions::parse([text]).expect_err(text).to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn exact_plug_in_and_reason_narrow_what_is_read() {
        let subject = |texts: &[&str]| {
            Conditions::parse(texts.iter().copied())
                .expect("conditions")
                .subject()
        };
        assert_eq!(subject(&[]), "dead.*.*");
        assert_eq!(subject(&["plugin=a", "reason!=trap"]), "dead.a.*");
        assert_eq!(subject(&["reason=trap", "plugin=a.b"]), "dead.*.trap");
    }
}
