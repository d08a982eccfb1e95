//! Takes the system's time, gives it in the forms that go over the wire.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};

/// Milliseconds since 1970, UTC.
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Nanoseconds since 1970, UTC: up to the year 2554.
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// RFC 3339 with milliseconds, UTC.
pub fn rfc3339(unix_millis: u64) -> String {
    i64::try_from(unix_millis)
        .ok()
        .and_then(DateTime::<Utc>::from_timestamp_millis)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Milliseconds since 1970 of an RFC 3339 text; none for another text or a time before.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    u64::try_from(time.timestamp_millis()).ok()
}

/// How long until a point in time; zero when it has passed.
pub fn until(unix_millis_due: u64) -> Duration {
    Duration::from_millis(unix_millis_due.saturating_sub(unix_millis()))
}
