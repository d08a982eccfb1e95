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

/// The text, with everything percent-encoded that CloudEvents 1.0 §2.2 keeps out of a string:
/// control characters (C0, DEL, C1) and the code points that are no characters.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(forbidden) {
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
    fn a_segment_is_a_segment() {
        assert_eq!(segment("usmf"), "usmf");
        assert_eq!(segment("a/b c?d#e%é\n"), "a%2Fb%20c%3Fd%23e%25%C3%A9%0A");
    }
}
