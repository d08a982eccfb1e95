//! Takes the lines that a record has and those of an event, gives the lines to keep.

use sluicegate_guest::d365::{BusinessEvent, RemoteExecutionContext};

/// The host takes keys of so many bytes.
const LONGEST_KEY: usize = 512;

/// A trail has no more bytes, so that it stays well within the host's limit for a value.
const LARGEST: usize = 512 << 10;

/// `<table>/<record id>`; for what is about no one record `<table>`, or `custom/<message>`.
pub(crate) fn record_key(context: &RemoteExecutionContext) -> String {
    let key = match (context.table(), context.record_id()) {
        (Some(table), Some(id)) => format!("{table}/{id}"),
        (Some(table), None) => table.to_owned(),
        (None, _) => format!("custom/{}", context.message()),
    };
    key.to_lowercase()
}

/// `<legal entity>/<business event id>/<what it is about>`, each of them where it is known.
pub(crate) fn business_key(event: &BusinessEvent) -> String {
    let parts = [
        event.legal_entity().map(str::to_lowercase),
        Some(event.business_event_id.trim().to_owned()),
        event.context_subject().map(str::to_owned),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    match parts.is_empty() {
        // The message by which Finance and Operations tests an endpoint says nothing.
        true => "business".to_owned(),
        false => parts.join("/"),
    }
}

/// The key, cut where the host would refuse it.
pub(crate) fn short(mut key: String) -> String {
    key.truncate(key.floor_char_boundary(LONGEST_KEY));
    key
}

/// The newest lines: at most `keep`, and of no more bytes than a trail may have.
pub(crate) fn append(before: &[u8], new: &[String], keep: usize) -> Vec<u8> {
    let before = before
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let lines: Vec<&[u8]> = before.chain(new.iter().map(String::as_bytes)).collect();
    let mut size = 0;
    let newest = lines.iter().rev().take(keep).take_while(|line| {
        size += line.len() + 1;
        size <= LARGEST
    });
    let from = lines.len() - newest.count();
    let mut trail = Vec::new();
    for line in lines.into_iter().skip(from) {
        trail.extend_from_slice(line);
        trail.push(b'\n');
    }
    trail
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn the_newest_lines_stay() {
        let one = append(b"", &lines(&["a", "b"]), 3);
        assert_eq!(one, b"a\nb\n");
        let two = append(&one, &lines(&["c", "d"]), 3);
        assert_eq!(two, b"b\nc\nd\n");
        assert_eq!(append(&two, &lines(&["1", "2", "3", "4"]), 3), b"2\n3\n4\n");
        assert_eq!(append(&two, &lines(&["e"]), 0), b"");
    }

    #[test]
    fn a_trail_stays_within_its_bytes() {
        let long = "x".repeat(LARGEST / 4);
        let mut trail = Vec::new();
        for _ in 0..9 {
            trail = append(&trail, std::slice::from_ref(&long), 100);
            assert!(trail.len() <= LARGEST, "{}", trail.len());
        }
        assert_eq!(trail.iter().filter(|byte| **byte == b'\n').count(), 3);
    }

    #[test]
    fn a_key_is_cut_between_characters() {
        assert_eq!(short("account/1".to_owned()), "account/1");
        let cut = short("é".repeat(400));
        assert_eq!(cut.len(), LONGEST_KEY);
        assert_eq!(
            short(format!("a{}", "é".repeat(400))).len(),
            LONGEST_KEY - 1
        );
    }

    #[test]
    fn a_business_event_without_a_word_has_a_key_too() {
        let blank = BusinessEvent::parse(br#"{"BusinessEventId":""}"#).unwrap();
        assert_eq!(business_key(&blank), "business");
        let body = br#"{"BusinessEventId":"OrderRaised","BusinessEventLegalEntity":"USMF","ContextRecordSubject":"SO-1"}"#;
        let event = BusinessEvent::parse(body).unwrap();
        assert_eq!(business_key(&event), "usmf/OrderRaised/SO-1");
    }
}
