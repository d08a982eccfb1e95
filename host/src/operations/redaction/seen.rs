//! Takes a stream and subjects, gives what stands there: each event in short, with what tells it from others.

use std::ops::ControlFlow;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use futures_util::{StreamExt as _, stream};

use crate::broker::{ReadError, read};
use crate::claim_check;
use crate::decode::{attribute, decode, is_structured};
use crate::event::Event;
use crate::ledger::dead_letter as facts;
use crate::ledger::inbox::InboxId;
use crate::operations::history::Row;
use crate::operations::history::search::{of_event, row};
use crate::operations::history::stored::rfc3339;
use crate::redacted::{BODY, Mark};

/// Events that are fetched side by side.
const FETCHED: usize = 64;

/// A message with an event in it, or with what was one.
#[derive(Debug)]
pub struct Seen {
    /// In its stream.
    pub sequence: u64,
    /// The event in short; its subject is that of the message.
    pub row: Row,
    /// On which the event came first, where the message is a dead letter or a replay.
    pub(super) first_subject: String,
    /// Source and id; none when the message is no event.
    pub(super) identity: Option<InboxId>,
    /// The object that holds its body, or did.
    pub(super) body: Option<String>,
    /// Where the event of a dead letter stood.
    pub(super) of: Option<u64>,
    /// Nothing but the word that a key may go on.
    pub(super) is_word: bool,
}

/// Everything on these subjects from a place on; in order, but for events whose attributes are
/// in their bodies, which come last.
///
/// # Errors
/// When the stream cannot be read to its end.
pub(super) async fn see(
    messages: &Stream,
    subjects: Vec<String>,
    from: u64,
    mut each: impl FnMut(Seen),
) -> Result<(), ReadError> {
    let what = pull::Config {
        filter_subjects: subjects,
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: from.max(1),
        },
        headers_only: true,
        ..pull::Config::default()
    };
    let (mut in_body, none) = (Vec::new(), HeaderMap::new());
    read(messages, what, |message| {
        let Ok(info) = message.info() else {
            return ControlFlow::Continue(());
        };
        let headers = message.headers.as_ref().unwrap_or(&none);
        if is_structured(headers) && claim_check::taken_out(headers).is_none() {
            in_body.push(info.stream_sequence);
        } else {
            let stored = info.published.unix_timestamp_nanos();
            let place = (info.stream_sequence, stored, &*message.subject);
            each(Seen::new(place, headers, None));
        }
        ControlFlow::Continue(())
    })
    .await?;
    let mut fetched = stream::iter(in_body)
        .map(|sequence| messages.get_raw_message(sequence))
        .buffered(FETCHED);
    while let Some(message) = fetched.next().await {
        let message = match message {
            Ok(message) => message,
            // It left the store meanwhile.
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => continue,
            Err(error) => return Err(ReadError::Messages(error.to_string())),
        };
        let event = decode(Some(&message.headers), &message.payload).ok();
        let stored = message.time.unix_timestamp_nanos();
        let place = (message.sequence, stored, &*message.subject);
        each(Seen::new(place, &message.headers, event.as_ref()));
    }
    Ok(())
}

impl Seen {
    fn new(
        (sequence, stored, subject): (u64, i128, &str),
        headers: &HeaderMap,
        event: Option<&Event>,
    ) -> Self {
        let mark = Mark::read(headers);
        let stored = match &mark {
            Some(mark) => mark.stored.clone(),
            None => rfc3339(stored),
        };
        let (row, identity) = match event {
            Some(event) => {
                let row = of_event(sequence, stored, subject, event);
                (row, Some(event.inbox_id()))
            }
            None => {
                let attribute = |name: &str| attribute(headers, name);
                let identity = attribute("source").zip(attribute("id"));
                let identity = identity.map(|(source, id)| {
                    let event = Event {
                        source,
                        id,
                        ..Event::default()
                    };
                    event.inbox_id()
                });
                (row(sequence, stored, subject, attribute), identity)
            }
        };
        let text = |name| headers.get(name).map(|value| value.as_str().to_owned());
        let body = claim_check::taken_out(headers).map(str::to_owned);
        Self {
            sequence,
            row: Row {
                redacted: mark,
                ..row
            },
            first_subject: text(facts::SUBJECT).unwrap_or_else(|| subject.to_owned()),
            identity,
            body: body.or_else(|| text(BODY)),
            of: text(facts::SEQUENCE).and_then(|of| of.parse().ok()),
            is_word: headers.get(facts::DISCARD).is_some(),
        }
    }
}
