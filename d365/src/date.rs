//! Takes a date in any of the spellings that Dynamics 365 uses, gives an instant in UTC.

use std::fmt;

use time::format_description::well_known::Rfc3339;
use time::{Date as Day, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use crate::Error;
use crate::error::excerpt;

/// The instant that Finance and Operations writes for "no date": 1900-01-01T00:00:00Z.
const NULL_DATE_MS: i128 = -2_208_988_800_000;
/// `Mode` of a context that the asynchronous service sent.
const ASYNCHRONOUS: i64 = 1;

/// An instant, together with the text that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Date {
    raw: String,
    utc: OffsetDateTime,
}

impl Date {
    /// Reads the date of an attribute: `/Date(ms)/` and `/Date(ms+hhmm)/`, where `ms` is
    /// milliseconds since 1970 in UTC whatever the offset says, or ISO 8601 with `Z`, an
    /// offset, or neither (then it is UTC).
    ///
    /// # Errors
    /// [`Error::Date`] for any other text, and for an instant outside the years 0000 to 9999.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let utc = match wire(text) {
            Some((ms, _)) => instant(ms),
            None => iso(text),
        };
        Date::new(text, utc)
    }

    /// Reads `OperationCreatedOn`, given the `Mode` of the same context.
    ///
    /// In a context from the asynchronous service (`Mode` 1) an offset other than zero means
    /// that `ms` counts from the local clock: the instant is `ms + offset`. Measured on real
    /// bodies against `modifiedon`; the rule of the .NET serializer (ignore the offset) is
    /// wrong there by exactly the offset. A synchronous context has no offset.
    ///
    /// # Errors
    /// As for [`Date::parse`].
    pub fn of_operation(text: &str, mode: Option<i64>) -> Result<Self, Error> {
        match wire(text) {
            Some((ms, offset_minutes)) if mode == Some(ASYNCHRONOUS) => Date::new(
                text,
                ms.checked_add(offset_minutes * 60_000).and_then(instant),
            ),
            _ => Date::parse(text),
        }
    }

    /// Reads RFC 3339 and nothing else.
    pub(crate) fn rfc3339_only(text: &str) -> Option<Self> {
        let with_offset = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Date::new(text, with_offset.checked_to_offset(UtcOffset::UTC)).ok()
    }

    fn new(text: &str, utc: Option<OffsetDateTime>) -> Result<Self, Error> {
        // RFC 3339 has four digits for the year.
        let utc = utc.filter(|utc| (0..=9999).contains(&utc.year()));
        utc.map(|utc| Date {
            raw: text.to_owned(),
            utc,
        })
        .ok_or_else(|| Error::Date {
            found: excerpt(text),
        })
    }

    /// The text as it came.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, rounded down.
    #[must_use]
    pub fn unix_ms(&self) -> i64 {
        // The years 0000 to 9999 need 48 bits.
        i64::try_from(self.utc.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or_default()
    }

    /// RFC 3339 in UTC, with as many digits of the second as the date has:
    /// `2026-11-24T09:30:00.25Z`.
    #[must_use]
    pub fn rfc3339(&self) -> String {
        // Cannot fail for a four-digit year in UTC, which `new` has made sure of.
        self.utc.format(&Rfc3339).unwrap_or_default()
    }

    /// Whether this is the instant that Finance and Operations writes for "no date",
    /// 1900-01-01T00:00:00Z.
    #[must_use]
    pub fn is_null_date(&self) -> bool {
        self.utc.unix_timestamp_nanos() == NULL_DATE_MS * 1_000_000
    }

    /// Whether a text is spelled the way that only dates are: `/Date(…)/`.
    pub(crate) fn is_wire_spelling(text: &str) -> bool {
        text.starts_with("/Date(") && wire(text).is_some()
    }
}

/// Equal to what [`Date::rfc3339`] gives.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// Earlier is less; the spelling does not count.
impl PartialOrd for Date {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Earlier is less; of one instant, the spelling decides, so that equal means equal.
impl Ord for Date {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.utc, &self.raw).cmp(&(other.utc, &other.raw))
    }
}

/// The milliseconds and the offset in minutes of `/Date(…)/`, also with its slashes still
/// escaped as `\/` (a body that was put into JSON twice).
fn wire(text: &str) -> Option<(i64, i64)> {
    let text = text.strip_prefix('\\').unwrap_or(text);
    let inside = text.strip_prefix("/Date(")?;
    let inside = inside
        .strip_suffix(")/")
        .or_else(|| inside.strip_suffix(")\\/"))?;
    // The first character may be the sign of the milliseconds.
    let sign_at = inside
        .char_indices()
        .skip(1)
        .find(|(_, c)| matches!(c, '+' | '-'))
        .map(|(at, _)| at);
    let (ms, offset) = match sign_at {
        None => (inside, 0),
        Some(at) => {
            let (ms, offset) = inside.split_at_checked(at)?;
            (ms, offset_minutes(offset)?)
        }
    };
    Some((ms.parse().ok()?, offset))
}

/// `+hhmm` or `-hhmm` in minutes.
fn offset_minutes(text: &str) -> Option<i64> {
    let (sign, digits) = text.split_at_checked(1)?;
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = digits.split_at_checked(2)?;
    let total = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
    Some(if sign == "-" { -total } else { total })
}

fn instant(ms: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()
}

/// ISO 8601 as .NET writes it, with or without an offset; a day alone is its midnight.
fn iso(text: &str) -> Option<OffsetDateTime> {
    if let Ok(with_offset) = OffsetDateTime::parse(text, &Rfc3339) {
        return with_offset.checked_to_offset(UtcOffset::UTC);
    }
    if !text.contains(['T', 't']) {
        return day(text).map(|day| PrimitiveDateTime::new(day, Time::MIDNIGHT).assume_utc());
    }
    OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339).ok()
}

/// `yyyy-mm-dd`.
fn day(text: &str) -> Option<Day> {
    OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339)
        .ok()
        .map(OffsetDateTime::date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        Date::parse(text).unwrap().rfc3339()
    }

    #[test]
    fn every_spelling_is_read() {
        assert_eq!(read("/Date(1764000000000)/"), "2025-11-24T16:00:00Z");
        assert_eq!(read("\\/Date(1764000000250)\\/"), "2025-11-24T16:00:00.25Z");
        assert_eq!(read("/Date(-2208988800000)/"), "1900-01-01T00:00:00Z");
        assert_eq!(
            read("2025-11-24T16:00:00.1234567Z"),
            "2025-11-24T16:00:00.1234567Z"
        );
        assert_eq!(read("2025-11-24T18:00:00+02:00"), "2025-11-24T16:00:00Z");
        assert_eq!(read("2025-11-24T16:00:00"), "2025-11-24T16:00:00Z");
        assert_eq!(read("2025-11-24"), "2025-11-24T00:00:00Z");
    }

    #[test]
    fn an_attribute_ignores_the_offset_and_an_asynchronous_operation_adds_it() {
        let text = "/Date(1764000000000+0200)/";
        assert_eq!(read(text), "2025-11-24T16:00:00Z");
        let at = |text, mode| Date::of_operation(text, mode).unwrap().rfc3339();
        assert_eq!(at(text, Some(1)), "2025-11-24T18:00:00Z");
        assert_eq!(at(text, Some(0)), "2025-11-24T16:00:00Z");
        assert_eq!(at(text, None), "2025-11-24T16:00:00Z");
        assert_eq!(
            at("/Date(1764000000000-0730)/", Some(1)),
            "2025-11-24T08:30:00Z"
        );
        assert_eq!(
            at("/Date(1764000000000+0000)/", Some(1)),
            "2025-11-24T16:00:00Z"
        );
        assert_eq!(at("2025-11-24T16:00:00Z", Some(1)), "2025-11-24T16:00:00Z");
    }

    #[test]
    fn the_text_and_the_milliseconds_are_kept() {
        let date = Date::parse("/Date(-1)/").unwrap();
        assert_eq!((date.raw(), date.unix_ms()), ("/Date(-1)/", -1));
        assert!(
            Date::parse("/Date(-2208988800000)/")
                .unwrap()
                .is_null_date()
        );
        assert!(!date.is_null_date());
        assert!(date < Date::parse("1970-01-01T00:00:00Z").unwrap());
    }

    #[test]
    fn anything_else_is_an_error_that_shows_the_text() {
        for text in [
            "",
            "soon",
            "/Date()/",
            "/Date(1764000000000)",
            "/Date(1764000000000+02:00)/",
            "/Date(1764000000000+é)/",
            "/Date(é)/",
            "/Date(9223372036854775807)/",
            "/Date(999999999999999999999)/",
            "0000-01-01T00:00:00+23:59",
            "2025-13-01T00:00:00Z",
            "2025-11-24T16:00:00ZZ",
        ] {
            let error = Date::parse(text).unwrap_err();
            assert!(error.to_string().contains("is no date"), "{text}: {error}");
            assert!(Date::of_operation(text, Some(1)).is_err(), "{text}");
        }
    }
}
