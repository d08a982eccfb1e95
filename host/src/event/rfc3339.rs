//! Whether a text is a time as RFC 3339 has it.

/// RFC 3339 section 5.6, `date-time`, and the limits of section 5.7. By hand, because
/// chrono also takes a blank for the `T`, an offset without colon and a U+2212 for its sign.
pub(super) fn is_date_time(value: &str) -> bool {
    parse(value.as_bytes()).is_some()
}

fn parse(text: &[u8]) -> Option<()> {
    let (year, text) = digits(text, 4)?;
    let (month, text) = digits(strip(text, b"-")?, 2)?;
    let (day, text) = digits(strip(text, b"-")?, 2)?;
    let (hour, text) = digits(strip(text, b"Tt")?, 2)?;
    let (minute, text) = digits(strip(text, b":")?, 2)?;
    let (second, text) = digits(strip(text, b":")?, 2)?;
    let (offset, rest) = offset(fraction(text)?)?;
    let in_day = hour <= 23 && minute <= 59;
    // A leap second is the last of a day, UTC.
    let minute_utc = (hour * 60 + minute - offset).rem_euclid(24 * 60);
    let in_minute = second <= 59 || (second == 60 && minute_utc == 24 * 60 - 1);
    (in_day && in_minute && rest.is_empty() && (1..=days(year, month)?).contains(&day))
        .then_some(())
}

fn digits(text: &[u8], count: usize) -> Option<(i32, &[u8])> {
    let (number, rest) = text.split_at_checked(count)?;
    let value = number.iter().try_fold(0, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + i32::from(byte - b'0'))
    })?;
    Some((value, rest))
}

fn strip<'a>(text: &'a [u8], one_of: &[u8]) -> Option<&'a [u8]> {
    let (first, rest) = text.split_first()?;
    one_of.contains(first).then_some(rest)
}

fn fraction(text: &[u8]) -> Option<&[u8]> {
    let Some(rest) = strip(text, b".") else {
        return Some(text);
    };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then(|| rest.split_at_checked(count).map(|(_, rest)| rest))?
}

/// Minutes east of UTC.
fn offset(text: &[u8]) -> Option<(i32, &[u8])> {
    let (sign, rest) = text.split_first()?;
    let sign = match sign {
        b'Z' | b'z' => return Some((0, rest)),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, rest) = digits(rest, 2)?;
    let (minutes, rest) = digits(strip(rest, b":")?, 2)?;
    (hours <= 23 && minutes <= 59).then_some((sign * (hours * 60 + minutes), rest))
}

fn days(year: i32, month: i32) -> Option<i32> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => Some(29),
        2 => Some(28),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}
