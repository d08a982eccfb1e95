//! Takes what a stage does and under which trace, gives spans for the collector; off, it takes and gives nothing.
//!
//! A span is built here and not by the SDK's tracer: its context is wanted before it ends (the
//! guest sees it), it ends on another thread than it began on, and a host without a collector
//! is to pay one branch for each event. The SDK has the span's shape and the exporter.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::InstrumentationScope;
pub use opentelemetry::trace::{SpanKind, TraceId};
use tokio_util::task::TaskTracker;

pub use self::context::{Context, trace_of};
pub use self::export::Error;
use self::export::{Exporter, Queue};
pub use self::span::{Span, attribute};
use crate::config::Config;
use crate::metrics::Metrics;

mod context;
mod export;
mod span;

/// Where spans go. Cheap to clone; off unless `telemetry.otlp` names a collector.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Sink>>);

struct Sink {
    queue: Queue,
    sample: Sample,
    scope: InstrumentationScope,
}

/// What a span begins under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Under {
    /// Another span, of this host or not; whether it is sampled decides.
    Span(Context),
    /// A trace that has no span yet.
    Trace(TraceId),
    /// Nothing: a new trace.
    Nothing,
}

impl From<Option<Context>> for Under {
    fn from(parent: Option<Context>) -> Self {
        parent.map_or(Self::Nothing, Self::Span)
    }
}

/// A share of the traces, the same ones on every host.
#[derive(Debug, Clone, Copy)]
struct Sample(u64);

impl Sample {
    const ALL: u64 = 1 << 63;

    /// `ratio` is from 0 to 1.
    fn new(ratio: f64) -> Self {
        if 1.0 <= ratio {
            return Self(Self::ALL);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to 2^63"
        )]
        Self((ratio.max(0.0) * Self::ALL as f64) as u64)
    }

    /// By the id, as the SDK's `TraceIdRatioBased` does it.
    fn has(self, trace: TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace.to_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.0
    }
}

impl Traces {
    /// What `[telemetry]` says. Spans are exported by a task of their own, from now until
    /// [`Traces::flush`].
    ///
    /// # Errors
    /// When the collector's address cannot be used. One that is away is no error.
    pub fn new(
        config: &Config,
        instance: String,
        metrics: &Metrics,
        tracker: &TaskTracker,
    ) -> Result<Self, Error> {
        let Some(endpoint) = &config.telemetry.otlp else {
            return Ok(Self::default());
        };
        let resource = export::resource(&config.host.name, instance);
        let (exporter, queue) = Exporter::new(endpoint, &resource, metrics)?;
        tracker.spawn(exporter.run());
        tracing::info!(
            endpoint,
            sample = config.telemetry.sample,
            "traces are exported"
        );
        Ok(Self(Some(Arc::new(Sink {
            queue,
            sample: Sample::new(config.telemetry.sample),
            scope: InstrumentationScope::builder("sluicegate")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }))))
    }

    /// Whether there is a collector.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A span that begins now.
    pub fn span(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind, under: Under) -> Span {
        match &self.0 {
            Some(sink) => Span::new(sink, name.into(), kind, (under, false), SystemTime::now()),
            None => Span::default(),
        }
    }

    /// A span that began earlier.
    pub fn span_since(
        &self,
        start: SystemTime,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        under: Under,
    ) -> Span {
        match &self.0 {
            Some(sink) => Span::new(sink, name.into(), kind, (under, false), start),
            None => Span::default(),
        }
    }

    /// Has what is queued exported, and no more taken. Ends after a few seconds at the latest,
    /// wherever the collector is.
    pub async fn flush(&self) {
        if let Some(sink) = &self.0 {
            sink.queue.flush().await;
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Traces")
            .field(&self.is_on())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(sample: f64) -> (Traces, export::Taken) {
        let (queue, taken) = export::queue(&Metrics::default());
        let sink = Sink {
            queue,
            sample: Sample::new(sample),
            scope: InstrumentationScope::default(),
        };
        (Traces(Some(Arc::new(sink))), taken)
    }

    #[test]
    fn off_there_is_nothing() {
        let span = Traces::default().span("x", SpanKind::Server, Under::Nothing);
        span.set("a", "b");
        span.event("c", Vec::new());
        assert_eq!(span.child("y", SpanKind::Client).traceparent(), None);
    }

    #[test]
    fn a_span_ends_with_its_last_clone_and_keeps_its_end() {
        let (traces, mut taken) = on(1.0);
        let span = traces.span("x", SpanKind::Consumer, Under::Nothing);
        let clone = span.clone();
        clone.set("a", 1);
        clone.end();
        drop(span);
        assert!(taken.next().is_none(), "a clone is left");
        clone.event("later", Vec::new());
        drop(clone);
        let span = taken.next().expect("the span");
        let event = span.events.events.first().expect("its event");
        assert!(span.end_time <= event.timestamp);
        assert_eq!(span.attributes.len(), 1);
    }

    #[test]
    fn the_parent_decides_and_else_the_id() {
        let (traces, mut taken) = on(0.0);
        let root = traces.span("x", SpanKind::Server, Under::Nothing);
        let text = root.traceparent().expect("on");
        assert!(text.ends_with("-00"), "{text}");
        drop(root.child("y", SpanKind::Client));
        drop(root);
        assert!(taken.next().is_none(), "nobody wanted them");
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = Context::parse(parent).expect("valid");
        let span = traces.span("x", SpanKind::Server, Under::Span(parent));
        assert_eq!(span.context().map(|own| own.trace), Some(parent.trace));
        drop(span);
        let span = taken.next().expect("the sender wanted it");
        assert_eq!(span.parent_span_id, parent.span);
    }

    #[test]
    fn a_share_of_the_traces_is_about_that_share() {
        let quarter = Sample::new(0.25);
        let traces = std::iter::repeat_with(context::new_trace).take(4_000);
        let taken = traces.filter(|trace| quarter.has(*trace)).count();
        assert!((800..1_200).contains(&taken), "{taken}");
        assert!(Sample::new(1.0).has(TraceId::from_bytes([0xff; 16])));
        assert!(!Sample::new(0.0).has(TraceId::from_bytes([0; 16])));
    }

    #[test]
    fn the_events_of_a_span_are_bounded() {
        let (traces, mut taken) = on(1.0);
        let span = traces.span("x", SpanKind::Consumer, Under::Nothing);
        let line = "x".repeat(8 << 10);
        for _ in 0..20 {
            span.event("log", vec![attribute("message", line.clone())]);
        }
        drop(span);
        let span = taken.next().expect("the span");
        assert_eq!(span.events.events.len(), 7);
        assert_eq!(span.events.dropped_count, 13);
    }
}
