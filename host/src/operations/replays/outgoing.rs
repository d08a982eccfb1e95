//! Takes an event of the store, gives the message by which a plug-in is given it again, and where that stands.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::connection::State;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Context;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use sluicegate_d365::slot;
use tokio::time::sleep;

use super::History;
use crate::decode::{attribute, decode};
use crate::ledger::dead_letter as facts;
use crate::operations::history::search::{of_event, row};
use crate::operations::positions;
use crate::route::REPLAY_PREFIX;

/// One message on its way.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    /// Where the event stands.
    pub(super) sequence: u64,
    /// Where the plug-in hears of it.
    pub(super) subject: String,
    /// No two of one lane are on their way at once, so that they keep their order.
    pub(super) lane: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Outgoing {
    /// The event as it came, for this plug-in alone. A body in the object store stays there.
    ///
    /// # Errors
    /// What is wrong when it does not fit into one message.
    pub(super) fn of(
        message: StreamMessage,
        (replay, history): (&str, &History),
        max_payload: usize,
    ) -> Result<Self, String> {
        let StreamMessage {
            subject,
            sequence,
            headers,
            payload,
            ..
        } = message;
        let key = match decode(Some(&headers), &payload) {
            Ok(event) => of_event(sequence, String::new(), &subject, &event).key,
            Err(_) => {
                row(sequence, String::new(), &subject, |name| {
                    attribute(&headers, name)
                })
                .key
            }
        };
        // The state of an event belongs to the share that its slot is in.
        let slot = positions::slot(&subject)
            .map_or_else(|| slot(&key).to_string(), |slot| slot.to_string());
        let mut headers = facts::original(&headers);
        headers.insert(facts::REPLAY, replay);
        headers.insert(facts::SUBJECT, &*subject);
        headers.insert(facts::SEQUENCE, sequence.to_string());
        if !history.with_effects {
            headers.insert(facts::EFFECTS, facts::NONE);
        }
        headers.insert(NATS_MESSAGE_ID, format!("replay {replay} {sequence}"));
        let size = size(&headers) + payload.len();
        if max_payload < size {
            return Err(format!(
                "with the headers of a replay it has {size} bytes; the broker takes {max_payload}"
            ));
        }
        Ok(Self {
            sequence,
            subject: format!("{REPLAY_PREFIX}{}.{slot}", history.plugin),
            lane: if history.is_strict {
                String::new()
            } else {
                key
            },
            headers,
            payload,
        })
    }

    /// Sends it after a while; gives its place in the store, which is the first one when the
    /// broker has it already, or what is wrong: then it may be sent again.
    pub(super) async fn send(
        self,
        context: &Context,
        after: Duration,
    ) -> (Self, Result<u64, String>) {
        if !after.is_zero() {
            sleep(after).await;
        }
        // What is published into a connection that is away would be kept, and sent later.
        if context.client().connection_state() != State::Connected {
            return (self, Err("the broker is away".to_owned()));
        }
        let Self {
            subject,
            headers,
            payload,
            ..
        } = self.clone();
        let sent = async {
            let ack = context
                .publish_with_headers(subject, headers, payload)
                .await?;
            ack.await
        };
        let sent = sent.await;
        let place = sent.map(|ack| ack.sequence);
        (
            self,
            place.map_err(|error| format!("the event store does not take it: {error}")),
        )
    }
}

/// On the wire.
fn size(headers: &HeaderMap) -> usize {
    const FRAMING: usize = 12;
    let each = headers.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values
            .iter()
            .map(move |value| name.len() + value.as_str().len() + 4)
    });
    FRAMING + each.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn history(with_effects: bool, is_strict: bool) -> History {
        History {
            plugin: "watch".to_owned(),
            from: 1,
            subjects: Vec::new(),
            types: Vec::new(),
            partitions: 1,
            is_strict,
            with_effects,
            undecodable: 0,
            unhandled: 0,
            waits: String::new(),
        }
    }

    fn message(subject: &str) -> StreamMessage {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
            ("ce-partitionkey", "a"),
            ("Nats-Msg-Id", "/s#1"),
            ("Nats-Stream-Source", "LEDGER 1"),
        ] {
            headers.insert(name, value);
        }
        StreamMessage {
            subject: subject.into(),
            sequence: 42,
            headers,
            payload: Bytes::from_static(b"{}"),
            time: OffsetDateTime::UNIX_EPOCH,
        }
    }

    const SUBJECT: &str = "d365.custom.x.record.thing.update.3";

    fn text(outgoing: &Outgoing, name: &str) -> String {
        let value = outgoing.headers.get(name);
        value.map_or_else(String::new, |value| value.as_str().to_owned())
    }

    #[test]
    fn it_says_where_it_comes_from_and_goes_to_the_same_share() {
        let history = history(false, false);
        let outgoing = Outgoing::of(message(SUBJECT), ("history-1", &history), 1 << 20);
        let outgoing = outgoing.expect("a message");
        assert_eq!(outgoing.subject, "d365.replay.watch.3");
        assert_eq!(outgoing.lane, "a");
        assert_eq!(outgoing.payload.as_ref(), b"{}");
        for (name, value) in [
            ("ce-id", "1"),
            ("Sluice-Replay", "history-1"),
            ("Sluice-Subject", SUBJECT),
            ("Sluice-Sequence", "42"),
            ("Sluice-Effects", "none"),
            ("Nats-Msg-Id", "replay history-1 42"),
            ("Nats-Stream-Source", ""),
        ] {
            assert_eq!(text(&outgoing, name), value, "{name}");
        }
    }

    #[test]
    fn with_effects_nothing_is_said_of_them() {
        let history = history(true, true);
        let outgoing = Outgoing::of(message("d365.custom.x"), ("history-1", &history), 1 << 20);
        let outgoing = outgoing.expect("a message");
        assert_eq!(text(&outgoing, "Sluice-Effects"), "");
        assert_eq!(outgoing.lane, "");
        assert_eq!(outgoing.subject, format!("d365.replay.watch.{}", slot("a")));
    }

    #[test]
    fn what_does_not_fit_says_so() {
        let history = history(false, false);
        let error = Outgoing::of(message(SUBJECT), ("history-1", &history), 100);
        let error = error.expect_err("too big");
        assert!(error.contains("the broker takes 100"), "{error}");
    }
}
