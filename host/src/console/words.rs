//! Takes numbers and times, gives them as a person reads them.

use std::time::Duration;

use maud::{Markup, html};

/// `12,345`.
pub(super) fn count(number: impl TryInto<i128>) -> String {
    let number = number.try_into().unwrap_or_default();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if 0 < place && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `5 events`, `1 event`.
pub(super) fn counted(number: u64, what: &str) -> String {
    format!(
        "{} {what}{}",
        count(number),
        if number == 1 { "" } else { "s" }
    )
}

/// `0.4/s`, `12/s`, `3,400/s`.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "–".to_owned(),
        Some(rate) if rate < 0.05 => "0/s".to_owned(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}/s"),
        Some(rate) => format!("{}/s", count(rate.round() as u64)),
    }
}

/// `350 µs`, `12 ms`, `4.2 s`, `3 min`.
pub(super) fn duration(duration: Option<Duration>) -> String {
    let Some(duration) = duration else {
        return "–".to_owned();
    };
    let micros = duration.as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..120_000_000 => format!("{:.1} s", micros as f64 / 1e6),
        120_000_000..7_200_000_000 => format!("{} min", micros / 60_000_000),
        _ => format!("{} h", micros / 3_600_000_000),
    }
}

/// `512 B`, `64 KiB`, `1.5 GiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while 1024.0 <= size && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 || 10.0 <= size {
        format!("{size:.0} {name}")
    } else {
        format!("{size:.1} {name}")
    }
}

/// An RFC 3339 time, to the second, exact for a machine.
pub(super) fn time(rfc3339: &str) -> Markup {
    let shown = match (rfc3339.get(..10), rfc3339.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time}"),
        _ => rfc3339.to_owned(),
    };
    html! { time datetime=(rfc3339) title=(rfc3339) { (shown) } }
}

/// The first digits of a digest.
pub(super) fn digest(digest: &str) -> &str {
    let hex = digest.trim_start_matches("sha256:");
    hex.get(..12).unwrap_or(hex)
}

/// `a=b&c=d`, escaped.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(-1_000_i64), "-1,000");
        assert_eq!(counted(1, "event"), "1 event");
        assert_eq!(rate(Some(0.0)), "0/s");
        assert_eq!(rate(Some(3.26)), "3.3/s");
        assert_eq!(rate(Some(9.96)), "10/s");
        assert_eq!(rate(Some(12_345.6)), "12,346/s");
        assert_eq!(duration(Some(Duration::from_micros(350))), "350 µs");
        assert_eq!(duration(Some(Duration::from_millis(4_200))), "4.2 s");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(query(&[("a", "b c"), ("d", ""), ("e", "&")]), "a=b+c&e=%26");
        let time = time("2026-11-20T10:00:00.123Z").into_string();
        assert!(time.contains(">2026-11-20 10:00:00<"), "{time}");
    }
}
