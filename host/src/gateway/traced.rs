//! Takes a request and the events in it, gives their spans, and each event the trace that it goes on in.

use std::time::SystemTime;

use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, StatusCode};

use super::extensions::text;
use super::source::Origin;
use super::spool::gate::Kept;
use super::understand::Item;
use crate::event::{AttributeValue, Event};
use crate::telemetry::traces::{Context, Span, SpanKind, Traces, Under};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The spans of one request. Only a request that shows a source's key has any: nobody else
/// writes into traces.
pub(super) struct Traced(Option<Box<Request>>);

struct Request {
    traces: Traces,
    start: SystemTime,
    admitted: Option<Admitted>,
    /// Its own span, once it is known what it is under.
    span: Span,
    /// Of the messages that were made of it, in their order.
    messages: Vec<Span>,
}

struct Admitted {
    kind: &'static str,
    environment: String,
    method: String,
    parent: Option<Context>,
    state: Option<String>,
}

impl Traced {
    pub(super) fn new(traces: &Traces) -> Self {
        Self(traces.is_on().then(|| {
            Box::new(Request {
                traces: traces.clone(),
                start: SystemTime::now(),
                admitted: None,
                span: Span::default(),
                messages: Vec::new(),
            })
        }))
    }

    /// The request comes from this source.
    pub(super) fn admitted(&mut self, origin: &Origin<'_>, head: &Head) {
        if let Some(request) = &mut self.0 {
            let header = |name| header(&head.headers, name);
            request.admitted = Some(Admitted {
                kind: origin.kind.as_str(),
                environment: origin.environment.to_owned(),
                method: head.method.to_string(),
                parent: header(TRACEPARENT).and_then(Context::parse),
                state: header(TRACESTATE).map(str::to_owned),
            });
        }
    }

    /// This is in it. From here on each event is in a trace, and names the span with which it is
    /// published.
    pub(super) fn understood(&mut self, items: &mut [Item]) {
        let Some(request) = &mut self.0 else {
            return;
        };
        let own = items.iter().find_map(|item| match item {
            Item::Event(event, _) => carried(event),
            Item::Undecodable { .. } => None,
        });
        request.begin(own);
        request.span.set("sluicegate.events", length(items.len()));
        let messages = items.iter_mut().map(|item| request.message(item));
        request.messages = messages.collect();
    }

    /// The broker, or the spool's disk, has all of it.
    pub(super) fn kept(&mut self, kept: &[Kept]) {
        let Some(request) = &mut self.0 else {
            return;
        };
        for (span, kept) in request.messages.drain(..).zip(kept) {
            match kept {
                Kept::Stored(stored) => {
                    let sequence = i64::try_from(stored.sequence).unwrap_or(i64::MAX);
                    span.set("sluicegate.sequence", sequence);
                    if stored.duplicate {
                        span.set("sluicegate.duplicate", true);
                    }
                }
                Kept::Spooled => span.set("sluicegate.spooled", true),
            }
        }
    }

    /// And this is its answer.
    pub(super) fn answered(mut self, status: StatusCode) {
        let Some(request) = &mut self.0 else {
            return;
        };
        request.begin(None);
        let span = &request.span;
        span.set("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            span.set("error.type", status.as_u16().to_string());
            span.fail("");
        }
        for message in &request.messages {
            message.fail("not stored; the sender is told to come again");
        }
    }
}

impl Request {
    /// Begins its own span, if that has not begun: under what its headers name, else under what
    /// its first event names.
    fn begin(&mut self, of_event: Option<Context>) {
        let Some(admitted) = &self.admitted else {
            return;
        };
        if self.span.context().is_some() {
            return;
        }
        let Admitted {
            kind,
            environment,
            method,
            parent,
            ..
        } = admitted;
        let route = format!("/{kind}/{{environment}}");
        let name = format!("{method} {route}");
        let under = Under::from(parent.or(of_event));
        let span = self
            .traces
            .span_since(self.start, name, SpanKind::Server, under);
        if span.is_seen() {
            span.set("http.request.method", method.clone());
            span.set("http.route", route);
            span.set("url.path", format!("/{kind}/{environment}"));
            span.set("sluicegate.source.kind", *kind);
            span.set("sluicegate.source.environment", environment.clone());
        }
        self.span = span;
    }

    /// The span of one message. An event that comes in a trace of its own stays in that.
    fn message(&self, item: &mut Item) -> Span {
        match item {
            Item::Event(event, subject) => {
                let own = carried(event);
                let of_request = self.span.context();
                let span = match (own, of_request) {
                    (Some(own), Some(of_request)) if own.trace != of_request.trace => {
                        let name = format!("publish {subject}");
                        let under = Under::Span(own);
                        let span = self.traces.span(name, SpanKind::Producer, under);
                        span.link(of_request);
                        span
                    }
                    _ => {
                        let name = format!("publish {subject}");
                        let span = self.span.child(name, SpanKind::Producer);
                        let state = self.admitted.as_ref();
                        let state = state.and_then(|admitted| {
                            admitted.parent?;
                            admitted.state.clone()
                        });
                        if own.is_none() {
                            put(event, TRACESTATE, state);
                        }
                        span
                    }
                };
                put(event, TRACEPARENT, span.traceparent());
                if span.is_seen() {
                    published(
                        &span,
                        subject,
                        event.data.as_ref().map_or(0, |data| data.len()),
                    );
                    span.set("messaging.message.id", event.message_id());
                    span.describe(event);
                }
                span
            }
            Item::Undecodable { bytes, error } => {
                let span = self.span.child("publish dead letter", SpanKind::Producer);
                if span.is_seen() {
                    published(&span, "dead letter", bytes.len());
                    span.set("sluicegate.dead_letter", "undecodable");
                    span.fail(error.clone());
                }
                span
            }
        }
    }
}

fn published(span: &Span, subject: &str, size: usize) {
    span.set("messaging.system", "nats");
    span.set("messaging.operation.name", "publish");
    span.set("messaging.operation.type", "send");
    span.set("messaging.destination.name", subject.to_owned());
    span.set("messaging.message.body.size", length(size));
}

fn carried(event: &Event) -> Option<Context> {
    Context::parse(&event.text(TRACEPARENT)?)
}

/// Sets an extension in its place, or takes it away.
fn put(event: &mut Event, name: &str, value: Option<String>) {
    let Some(value) = value.map(AttributeValue::Text) else {
        event.extensions.retain(|(known, _)| known != name);
        return;
    };
    let mut extensions = event.extensions.iter_mut();
    match extensions.find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => event.extensions.push((name.to_owned(), value)),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    text(headers.get(name)?.as_bytes())
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
