//! Takes what is said of a span under way, gives the span to the queue when it ends.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState,
};
use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use parking_lot::Mutex;

use super::{Context, Sink, Under, context};
use crate::event::Event as CloudEvent;

/// Bytes of text that the events of one span may hold; what is more is counted.
const MAX_EVENT_TEXT: usize = 64 << 10;
/// About what a span takes beside its texts.
const FIXED: usize = 256;
/// And each attribute or event.
const EACH: usize = 48;

/// A span under way, or nothing. It ends when the last clone is dropped, if not before.
#[derive(Clone, Default)]
pub struct Span(Option<Arc<Open>>);

struct Open {
    sink: Arc<Sink>,
    context: Context,
    parent: Option<SpanId>,
    parent_is_remote: bool,
    kind: SpanKind,
    start: SystemTime,
    said: Mutex<Said>,
}

struct Said {
    name: Cow<'static, str>,
    end: Option<SystemTime>,
    attributes: Vec<KeyValue>,
    events: SpanEvents,
    links: SpanLinks,
    status: Status,
    /// Bytes of texts and what they stand in, about.
    size: usize,
    event_text: usize,
}

impl Span {
    pub(super) fn new(
        sink: &Arc<Sink>,
        name: Cow<'static, str>,
        kind: SpanKind,
        (under, is_child): (Under, bool),
        start: SystemTime,
    ) -> Self {
        let (trace, parent, sampled) = match under {
            Under::Span(parent) => (parent.trace, Some(parent.span), parent.sampled),
            Under::Trace(trace) => (trace, None, sink.sample.has(trace)),
            Under::Nothing => {
                let trace = context::new_trace();
                (trace, None, sink.sample.has(trace))
            }
        };
        let size = FIXED + name.len();
        Self(Some(Arc::new(Open {
            sink: Arc::clone(sink),
            context: Context {
                trace,
                span: context::new_span(),
                sampled,
            },
            parent,
            // As far as is known: a span of this process begins by `child`.
            parent_is_remote: parent.is_some() && !is_child,
            kind,
            start,
            said: Mutex::new(Said {
                name,
                end: None,
                attributes: Vec::new(),
                events: SpanEvents::default(),
                links: SpanLinks::default(),
                status: Status::Unset,
                size,
                event_text: 0,
            }),
        })))
    }

    /// A span under this one.
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Self {
        match &self.0 {
            Some(open) => {
                let under = (Under::Span(open.context), true);
                Self::new(&open.sink, name.into(), kind, under, SystemTime::now())
            }
            None => Self::default(),
        }
    }

    /// What others are to be told of it; none when traces are off.
    pub fn context(&self) -> Option<Context> {
        self.0.as_ref().map(|open| open.context)
    }

    /// The same as W3C writes it.
    pub fn traceparent(&self) -> Option<String> {
        self.context().map(|context| context.to_string())
    }

    /// Whether anybody will see what is said of it.
    pub fn is_seen(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.context.sampled)
    }

    /// An attribute.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.say(|said| {
            let value = value.into();
            said.size += EACH + length(&value);
            said.attributes.push(KeyValue::new(key, value));
        });
    }

    /// What OpenTelemetry's conventions call an event's attributes, and the ids that lead to
    /// what caused it. Never its body.
    pub fn describe(&self, event: &CloudEvent) {
        self.set("cloudevents.event_id", event.id.clone());
        self.set("cloudevents.event_source", event.source.clone());
        self.set("cloudevents.event_type", event.event_type.clone());
        if let Some(subject) = &event.subject {
            self.set("cloudevents.event_subject", subject.clone());
        }
        for (key, extension) in [
            ("sluicegate.correlationid", "correlationid"),
            ("sluicegate.causationid", "causationid"),
        ] {
            if let Some(text) = event.text(extension) {
                self.set(key, text.into_owned());
            }
        }
    }

    /// Something that happened meanwhile, up to a bound.
    pub fn event(&self, name: impl Into<Cow<'static, str>>, attributes: Vec<KeyValue>) {
        self.say(|said| {
            let name = name.into();
            let texts = attributes.iter().map(|one| length(&one.value));
            let text = name.len() + texts.sum::<usize>();
            if MAX_EVENT_TEXT < said.event_text + text {
                said.events.dropped_count += 1;
                return;
            }
            said.event_text += text;
            said.size += text + EACH * (1 + attributes.len());
            let event = Event::new(name, SystemTime::now(), attributes, 0);
            said.events.events.push(event);
        });
    }

    /// A span of another trace that this one has to do with.
    pub fn link(&self, other: Context) {
        self.say(|said| {
            said.size += EACH;
            let link = Link::new(span_context(other, true), Vec::new(), 0);
            said.links.links.push(link);
        });
    }

    /// It failed.
    pub fn fail(&self, error: impl Into<Cow<'static, str>>) {
        self.say(|said| {
            let status = Status::error(error);
            if let Status::Error { description } = &status {
                said.size += description.len();
            }
            said.status = status;
        });
    }

    /// It ends now, though something may still be said of it.
    pub fn end(&self) {
        self.say(|said| said.end = Some(SystemTime::now()));
    }

    fn say(&self, what: impl FnOnce(&mut Said)) {
        if let Some(open) = &self.0
            && open.context.sampled
        {
            what(&mut open.said.lock());
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Span")
            .field(&self.context())
            .finish()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.context.sampled {
            return;
        }
        let said = self.said.get_mut();
        let span = SpanData {
            span_context: span_context(self.context, false),
            parent_span_id: self.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: self.parent_is_remote,
            span_kind: self.kind.clone(),
            name: std::mem::take(&mut said.name),
            start_time: self.start,
            end_time: said.end.unwrap_or_else(SystemTime::now),
            attributes: std::mem::take(&mut said.attributes),
            dropped_attributes_count: 0,
            events: std::mem::take(&mut said.events),
            links: std::mem::take(&mut said.links),
            status: std::mem::replace(&mut said.status, Status::Unset),
            instrumentation_scope: self.sink.scope.clone(),
        };
        self.sink.queue.put(span, said.size);
    }
}

fn span_context(context: Context, is_remote: bool) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(context.sampled);
    let (trace, span) = (context.trace, context.span);
    SpanContext::new(trace, span, flags, is_remote, TraceState::NONE)
}

fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.as_str().len(),
        // No other is long.
        _ => 8,
    }
}

/// An attribute of an event.
pub fn attribute(key: &'static str, value: impl Into<Value>) -> KeyValue {
    KeyValue::new(Key::from_static_str(key), value)
}
