//! Takes an error's text, gives what it has in common with the same error of other events.

use sha2::{Digest, Sha256};

use crate::hex::hex;

/// Hex digits of a fingerprint.
const DIGITS: usize = 10;

/// The same for one plug-in, reason and error, whatever the event: `own` is what belongs to
/// this event alone.
pub(super) fn of(plugin: &str, reason: &str, error: &str, own: &[&str]) -> String {
    let digest = Sha256::new()
        .chain_update(plugin)
        .chain_update([0])
        .chain_update(reason)
        .chain_update([0])
        .chain_update(common(error, own))
        .finalize();
    let mut digits = hex(&digest);
    digits.truncate(DIGITS);
    digits
}

/// The error without what differs from event to event: its own id and key, what stands in
/// quotes, and words with a digit in them.
fn common(error: &str, own: &[&str]) -> String {
    let mut text = error.to_owned();
    for own in own.iter().filter(|own| 2 < own.len()) {
        if text.contains(own) {
            text = text.replace(own, "*");
        }
    }
    let mut common = String::with_capacity(text.len());
    let mut quote = None;
    let mut word = String::new();
    let end_word = |word: &mut String, common: &mut String| {
        if word.contains(|c: char| c.is_ascii_digit()) {
            common.push('*');
        } else {
            common.push_str(word);
        }
        word.clear();
    };
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if let Some(open) = quote {
            if c == open {
                quote = None;
                common.push_str("*\"");
            }
            continue;
        }
        // A number or a time is one word, its points and colons included.
        let goes_on = matches!(c, '.' | ',' | ':')
            && word.ends_with(|c: char| c.is_ascii_digit())
            && chars.peek().is_some_and(char::is_ascii_digit);
        if c.is_alphanumeric() || matches!(c, '-' | '_') || goes_on {
            word.push(c);
            continue;
        }
        // An apostrophe inside of a word quotes nothing.
        let opens = matches!(c, '"' | '`') || (c == '\'' && word.is_empty());
        end_word(&mut word, &mut common);
        if opens {
            quote = Some(c);
        } else {
            common.push(c);
        }
    }
    end_word(&mut word, &mut common);
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_one_event_does_not_count() {
        for (one, other) in [
            ("order 17 of 3 is late", "order 9 of 12 is late"),
            ("no account \"Contoso\"", "no account \"A. Datum, 'Inc'\""),
            (
                "row 7b41a0c2-0d2e-4ad3-8f3a-111111111111 is locked",
                "row 00000000-0000-0000-0000-000000000001 is locked",
            ),
            ("took 5.2s", "took 810ms"),
            ("the row isn't there: 5", "the row isn't there: 6"),
        ] {
            assert_eq!(common(one, &[]), common(other, &[]), "{one} / {other}");
        }
        assert_eq!(
            common("lost-cause is not wanted", &["lost-cause"]),
            common("hopeless is not wanted", &["hopeless"])
        );
    }

    #[test]
    fn other_errors_plug_ins_and_reasons_stay_apart() {
        let mut seen = std::collections::HashSet::new();
        for plugin in ["a", "b"] {
            for reason in ["trap", "rejected"] {
                for error in ["no account", "no contact", "an open \"quote", ""] {
                    assert!(seen.insert(of(plugin, reason, error, &[])));
                }
            }
        }
        assert!(seen.iter().all(|digits| digits.len() == DIGITS));
    }
}
