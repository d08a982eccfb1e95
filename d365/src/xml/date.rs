//! Takes a date as XML Schema writes it, gives the date as .NET writes it into JSON.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `/Date(ms)/` of a date in UTC; otherwise with the offset, and `ms` is in UTC all the same.
///
/// A date without either is one whose kind .NET does not know. It takes its digits for the
/// server's local time then, so what it writes depends on where that stands; here they are
/// taken for UTC, as they are meant and as most servers of Dataverse have it.
pub(super) fn wire(text: &str) -> Option<String> {
    let (instant, has_zone) = match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(instant) => (instant, true),
        Err(_) => (
            OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339).ok()?,
            false,
        ),
    };
    // Ticks are cut off, towards 1970.
    let ms = instant.unix_timestamp_nanos() / 1_000_000;
    if has_zone && text.ends_with(['Z', 'z']) {
        return Some(format!("/Date({ms})/"));
    }
    let minutes = instant.offset().whole_minutes();
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    Some(format!("/Date({ms}{sign}{hours:02}{minutes:02})/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_date_is_written_as_dotnet_does() {
        for (text, expected) in [
            ("2024-05-01T10:00:00Z", "/Date(1714557600000)/"),
            ("2024-05-01T10:00:00.1239999Z", "/Date(1714557600123)/"),
            ("2024-05-01T12:00:00+02:00", "/Date(1714557600000+0200)/"),
            ("2024-05-01T06:30:00-03:30", "/Date(1714557600000-0330)/"),
            ("2024-05-01T10:00:00", "/Date(1714557600000+0000)/"),
            ("1900-01-01T00:00:00Z", "/Date(-2208988800000)/"),
            ("1969-12-31T23:59:59.9999Z", "/Date(0)/"),
            ("0001-01-01T00:00:00", "/Date(-62135596800000+0000)/"),
            ("9999-12-31T23:59:59.9999999Z", "/Date(253402300799999)/"),
        ] {
            assert_eq!(wire(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "2024-05-01", "10:00:00Z", "2024-13-01T10:00:00Z", "é"] {
            assert_eq!(wire(text), None, "{text}");
        }
    }
}
