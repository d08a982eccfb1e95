//! Takes text from outside, gives text that a CloudEvents attribute may hold.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};

/// What stands unencoded in a path segment: RFC 3986 `pchar` without the sub-delimiters that
/// mean something to some reader.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One segment of a path in a URI-reference.
pub(crate) fn segment(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, SEGMENT).into()
}

/// What stands unencoded in a path or a query: RFC 3986 `pchar`, `/` and `?`. A percent sign
/// is looked at by itself.
const PATH_OR_QUERY: &AsciiSet = &SEGMENT
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/')
    .remove(b'?')
    .remove(b'%');

/// The text as a URI-reference (RFC 3986 section 4.1), with everything percent-encoded that
/// one cannot hold in that place. One that is a path, or a URI without a fragment, stays as
/// it is.
pub(crate) fn uri_reference(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        encoded.extend(utf8_percent_encode(before, PATH_OR_QUERY));
        let digits = from.bytes().skip(1).take(2);
        let escape = digits.filter(u8::is_ascii_hexdigit).count() == 2;
        encoded.push_str(if escape { "%" } else { "%25" });
        rest = from.get(1..).unwrap_or_default();
    }
    encoded.extend(utf8_percent_encode(rest, PATH_OR_QUERY));

    if let Some(path) = encoded.strip_prefix("//") {
        // What follows two slashes would have to be a host.
        return format!("/%2F{path}");
    }
    let first = encoded.find(['/', '?']).unwrap_or(encoded.len());
    let (head, tail) = encoded.split_at(first);
    match head.split_once(':') {
        // A path, which no colon makes a URI.
        None => encoded,
        Some((scheme, rest)) if is_scheme(scheme) && (!rest.is_empty() || is_hosted(tail)) => {
            encoded
        }
        Some(_) => format!("{}{tail}", head.replace(':', "%3A")),
    }
}

/// Whether a text is a URI's scheme.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Whether what follows the colon of a scheme, itself from a slash on, is sound: a plain path,
/// or a host, maybe a port, and a path.
fn is_hosted(text: &str) -> bool {
    let Some(authority) = text.strip_prefix("//") else {
        return true;
    };
    let end = authority.find(['/', '?']).unwrap_or(authority.len());
    let authority = authority.get(..end).unwrap_or_default();
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    !host.contains('@') && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text, with everything percent-encoded that CloudEvents 1.0 §2.2 keeps out of a string:
/// control characters (C0, DEL, C1) and the code points that are no characters.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    // Nearly every text is seen to be sound without its characters being taken apart.
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if plain || !text.contains(forbidden) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if forbidden(c) {
            let mut bytes = [0; 4];
            // Multi-byte characters are encoded whatever the set; the set covers C0 and DEL.
            clean.extend(percent_encode(
                c.encode_utf8(&mut bytes).as_bytes(),
                CONTROLS,
            ));
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// As [`clean`], of a text that is one's own.
pub(crate) fn cleaned(text: String) -> String {
    match clean(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(clean) => clean,
    }
}

fn forbidden(c: char) -> bool {
    let point = u32::from(c);
    c.is_control() || matches!(point, 0xFDD0..=0xFDEF) || point & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_non_characters_are_encoded_and_nothing_else() {
        assert_eq!(clean("Contoso Café 1/2 %"), "Contoso Café 1/2 %");
        assert_eq!(clean("a\r\nb\0\u{7f}"), "a%0D%0Ab%00%7F");
        assert_eq!(
            clean("\u{85}\u{fdd0}\u{1ffff}"),
            "%C2%85%EF%B7%90%F0%9F%BF%BF"
        );
    }

    #[test]
    fn a_uri_reference_stays_and_anything_else_becomes_one() {
        for uri in [
            "/subscriptions/5b4b650e-28b9/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/s",
            "https://contoso.example:443/api?x=1",
            "urn:contoso:orders",
            "file:/x",
            "orders/a:b",
            "/a%20b",
        ] {
            assert_eq!(uri_reference(uri), uri);
        }
        for (text, uri) in [
            (
                "/subscriptions/{id}/a b#c[0]",
                "/subscriptions/%7Bid%7D/a%20b%23c%5B0%5D",
            ),
            ("100%/5%2", "100%25/5%252"),
            ("%é", "%25%C3%A9"),
            ("//host:x/y", "/%2Fhost:x/y"),
            ("1:2/3:4", "1%3A2/3:4"),
            ("a:b:c/d", "a:b:c/d"),
            ("https://a:b:c/d:e", "https%3A//a:b:c/d:e"),
            ("https://a@b@c", "https%3A//a@b@c"),
            (":", "%3A"),
        ] {
            assert_eq!(uri_reference(text), uri);
        }
    }

    #[test]
    fn a_segment_is_a_segment() {
        assert_eq!(segment("usmf"), "usmf");
        assert_eq!(segment("a/b c?d#e%é\n"), "a%2Fb%20c%3Fd%23e%25%C3%A9%0A");
    }
}
