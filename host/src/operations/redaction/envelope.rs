//! Takes a message of the event store, gives its envelope: its attributes, and who redacted it.

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;

use crate::broker::LEDGER;
use crate::claim_check;
use crate::decode::{attribute_name, decode, is_structured};
use crate::encode;
use crate::ledger::dead_letter::{REPLAY, SUBJECT};
use crate::redacted::{BODY, Mark};

/// The headers of the envelope; it has no body.
pub(super) fn of(message: &StreamMessage, mark: &Mark) -> HeaderMap {
    let mut headers = attributes(message);
    for name in [REPLAY, SUBJECT] {
        if let Some(value) = message.headers.get(name) {
            headers.insert(name, value.clone());
        }
    }
    if let Some(object) = claim_check::taken_out(&message.headers) {
        headers.insert(BODY, object);
    }
    mark.write(&mut headers);
    // With the time: an envelope that was imported says a place of another store.
    let id = format!("redact {} {}", mark.sequence, mark.stored);
    headers.insert("Nats-Msg-Id", id);
    headers
}

/// Every attribute but the place of data that the object store holds.
fn attributes(message: &StreamMessage) -> HeaderMap {
    if is_structured(&message.headers) {
        // All that a message is which cannot be read is data.
        let Ok(mut event) = decode(Some(&message.headers), &message.payload) else {
            return HeaderMap::new();
        };
        event.data = None;
        return encode::binary(event).0;
    }
    let mut headers = HeaderMap::new();
    for (name, values) in message.headers.iter() {
        let text: &str = name.as_ref();
        let is_attribute = attribute_name(text).is_some();
        let is_place = text.eq_ignore_ascii_case(claim_check::HEADER);
        if is_attribute && !is_place || text.eq_ignore_ascii_case("content-type") {
            for value in values {
                headers.append(name.clone(), value.clone());
            }
        }
    }
    headers
}

/// Where the ledger has the message that this one was carried over from.
pub(super) fn copy_in_ledger(message: &StreamMessage) -> Option<u64> {
    let source = message.headers.get("Nats-Stream-Source")?.as_str();
    let mut words = source.split(' ');
    let is_ledger = words.next()? == LEDGER;
    words.next()?.parse().ok().filter(|_| is_ledger)
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn message(headers: &[(&str, &str)], payload: &'static [u8]) -> StreamMessage {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        StreamMessage {
            subject: "d365.custom.x.record.account.update.3".into(),
            sequence: 7,
            headers: map,
            payload: payload.into(),
            time: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn mark() -> Mark {
        Mark {
            sequence: 7,
            stored: "2026-11-29T08:00:00Z".to_owned(),
            by: "vera".to_owned(),
            at: String::new(),
            why: "asked".to_owned(),
        }
    }

    fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
        let mut texts: Vec<_> = headers
            .iter()
            .map(|(name, values)| (name.to_string(), values[0].as_str().to_owned()))
            .filter(|(name, _)| !name.starts_with("Sluice-Redacted-"))
            .collect();
        texts.sort();
        texts
    }

    fn expected(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn attributes_stay_and_everything_else_goes() {
        let reference = format!("nats-object:claims/{}", "0".repeat(64));
        let message = message(
            &[
                ("ce-id", "1"),
                ("Ce-Type", "t"),
                ("ce-dataref", &reference),
                ("Nats-Msg-Id", "/s#1"),
                ("x-secret", "Ada"),
                ("Sluice-Subject", "d365.a"),
            ],
            b"",
        );
        let envelope = of(&message, &mark());
        let kept = [
            ("Ce-Type", "t"),
            ("Nats-Msg-Id", "redact 7 2026-11-29T08:00:00Z"),
            ("Sluice-Redacted", "7"),
            ("Sluice-Subject", "d365.a"),
            ("ce-id", "1"),
        ];
        assert_eq!(texts(&envelope), expected(&kept));
        let body = envelope.get(BODY).map(|value| value.as_str().len());
        assert_eq!(body, Some(64));
    }

    #[test]
    fn what_stood_in_a_body_stands_in_headers() {
        let json = ("content-type", "application/cloudevents+json");
        let event = message(
            &[json],
            br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"name":"Ada"}}"#,
        );
        let kept = [
            ("Nats-Msg-Id", "redact 7 2026-11-29T08:00:00Z"),
            ("Sluice-Redacted", "7"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-specversion", "1.0"),
            ("ce-type", "t"),
        ];
        let envelope = of(&event, &mark());
        let found: Vec<_> = texts(&envelope)
            .into_iter()
            .filter(|(name, _)| name != "ce-datacontenttype")
            .collect();
        assert_eq!(found, expected(&kept));
        let wreck = of(&message(&[json], b"{\"name\":\"Ada\""), &mark());
        assert_eq!(texts(&wreck), expected(&kept[..2]));
    }

    #[test]
    fn only_what_came_from_the_ledger_has_a_copy_there() {
        let copy = |source| copy_in_ledger(&message(&[("Nats-Stream-Source", source)], b""));
        let from = "LEDGER 12 ledger.out.> d365.> ledger.out.custom.x";
        assert_eq!(copy(from), Some(12));
        assert_eq!(copy("ACME 12 > d365.> x"), None);
        assert_eq!(copy(""), None);
    }
}
