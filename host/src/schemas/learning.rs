//! Takes events of the store, gives the shapes of their bodies by type.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use serde_json::Value;
use sluicegate_schema::Shape;
use time::OffsetDateTime;

use crate::broker::{EVENTS, ReadError, open, read};
use crate::claim_check;
use crate::decode::decode;
use crate::event::Event;
use crate::manifest::TypePattern;
use crate::redacted::Mark;
use crate::route::{REPLAY_PREFIX, SAGA_PREFIX};

/// Types that are learnt at once.
const MAX_TYPES: usize = 2_000;

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Of these types; of all when not given.
    pub types: Vec<TypePattern>,
    /// Unix milliseconds; not stored before.
    pub since: Option<u64>,
    /// The newest so many messages of the store.
    pub newest: u64,
}

/// What was learnt.
#[derive(Debug, Default)]
pub struct Learnt {
    /// By type: the shape, not settled, and of how many bodies.
    pub shapes: BTreeMap<String, (Shape, u64)>,
    /// Messages that were read.
    pub read: u64,
    /// Those among them whose body tells nothing: no JSON, cut short by its sender, in the object
    /// store, or of a type too many.
    pub skipped: u64,
}

/// Whether an event's body tells what bodies of its type look like; then it.
pub fn body(event: &Event) -> Option<Value> {
    let data = event.data.as_ref().filter(|_| tells(event))?;
    serde_json::from_slice(data).ok()
}

/// Whether the body is whole, and JSON.
pub fn tells(event: &Event) -> bool {
    let is_whole = event
        .text("d365truncated")
        .is_none_or(|word| word != "true");
    event.data.is_some() && is_whole && event.is_json()
}

/// Whether a message may be an event as it came: no repetition, no word of the host to itself.
pub fn is_original(subject: &str, headers: Option<&HeaderMap>) -> bool {
    let is_own = subject.starts_with(REPLAY_PREFIX) || subject.starts_with(SAGA_PREFIX);
    let is_out = headers.is_some_and(|headers| claim_check::taken_out(headers).is_some());
    !is_own && !is_out && headers.and_then(Mark::read).is_none()
}

/// What a message tells.
#[derive(Debug)]
pub enum Told {
    /// An event of a type that was asked for, and its body.
    Body(Box<Event>, Value),
    /// It is of another type.
    Other,
    /// Nothing.
    Nothing,
}

/// Reads; `tell` is called with how many messages were read.
///
/// # Errors
/// When the store cannot be read.
pub async fn learn(
    context: &Context,
    scope: &Scope,
    mut tell: impl FnMut(u64),
) -> Result<Learnt, ReadError> {
    let mut learnt = Learnt::default();
    look(context, scope, |told| {
        learnt.read += 1;
        tell(learnt.read);
        learnt.take(told);
    })
    .await?;
    Ok(learnt)
}

/// Reads the same, and calls `each` with what each message tells.
///
/// # Errors
/// When the store cannot be read.
pub async fn look(
    context: &Context,
    scope: &Scope,
    mut each: impl FnMut(Told),
) -> Result<(), ReadError> {
    let events = open(context, EVENTS).await?;
    let state = &events.cached_info().state;
    let oldest = (state.last_sequence + 1).saturating_sub(scope.newest);
    let oldest = oldest.max(state.first_sequence).max(1);
    let time = scope.since.and_then(|since| {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(since) * 1_000_000).ok()
    });
    let what = pull::Config {
        deliver_policy: match time {
            Some(start_time) => DeliverPolicy::ByStartTime { start_time },
            None => DeliverPolicy::ByStartSequence {
                start_sequence: oldest,
            },
        },
        ..pull::Config::default()
    };
    let mut count = 0;
    read(&events, what, |message| {
        count += 1;
        each(told(scope, message));
        match scope.newest <= count {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })
    .await
}

fn told(scope: &Scope, message: &async_nats::jetstream::Message) -> Told {
    let headers = message.headers.as_ref();
    if !is_original(&message.subject, headers) {
        return Told::Nothing;
    }
    let Ok(event) = decode(headers, &message.payload) else {
        return Told::Nothing;
    };
    let types = &scope.types;
    if !types.is_empty() && !types.iter().any(|one| one.matches(&event.event_type)) {
        return Told::Other;
    }
    match body(&event) {
        Some(body) => Told::Body(Box::new(event), body),
        None => Told::Nothing,
    }
}

impl Learnt {
    fn take(&mut self, told: Told) {
        let Told::Body(event, body) = told else {
            self.skipped += u64::from(matches!(told, Told::Nothing));
            return;
        };
        let is_new = !self.shapes.contains_key(&event.event_type);
        if is_new && MAX_TYPES <= self.shapes.len() {
            self.skipped += 1;
            return;
        }
        let (shape, seen) = self.shapes.entry(event.event_type).or_default();
        shape.absorb(Shape::of(&body));
        *seen += 1;
    }
}
