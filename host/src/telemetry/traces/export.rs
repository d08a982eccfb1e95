//! Takes spans that have ended, gives them to the collector over OTLP: bounded, in batches, never waited for.

use std::env;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Spans that wait for the collector; more are dropped and counted.
const MAX_QUEUED: usize = 16_384;
/// And their bytes, about.
const MAX_QUEUED_BYTES: usize = 32 << 20;
/// Spans that go out in one request.
const MAX_BATCH: usize = 1_024;
/// And their bytes, about: collectors take 4 MiB by default.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// For so long a batch waits to get bigger.
const FILLING: Duration = Duration::from_millis(250);
/// For so long a batch is offered again and again; then it is dropped and counted.
const OFFERED: Duration = Duration::from_secs(15);
const TRIES: usize = 10;
const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_LONGEST: Duration = Duration::from_secs(2);
/// After so long without an answer the operator is told.
const SLOW: Duration = Duration::from_secs(3);
/// What a host that stops has left for its spans.
const LAST: Duration = Duration::from_secs(3);

/// Why there is no way to a collector.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.otlp: {endpoint:?} cannot be used")]
pub struct Error {
    endpoint: String,
    #[source]
    source: ExporterBuildError,
}

/// What stands between the stages and the exporter.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<(SpanData, usize)>,
    bytes: Arc<AtomicUsize>,
    dropped: Counter,
    closing: CancellationToken,
    closed: CancellationToken,
}

impl Queue {
    /// Queues a span, or drops it. Never waits.
    pub(super) fn put(&self, span: SpanData, size: usize) {
        let before = self.bytes.fetch_add(size, Ordering::Relaxed);
        if MAX_QUEUED_BYTES < before + size || self.spans.try_send((span, size)).is_err() {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            self.dropped.inc();
        }
    }

    pub(super) async fn flush(&self) {
        self.closing.cancel();
        self.closed.cancelled().await;
    }
}

/// The other end of the queue.
pub(super) struct Taken {
    spans: mpsc::Receiver<(SpanData, usize)>,
    bytes: Arc<AtomicUsize>,
    dropped: Counter,
    exported: Counter,
    closing: CancellationToken,
    closed: CancellationToken,
}

pub(super) fn queue(metrics: &Metrics) -> (Queue, Taken) {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED);
    let queue = Queue {
        spans: sender,
        bytes: Arc::default(),
        dropped: metrics.spans_dropped.clone(),
        closing: CancellationToken::new(),
        closed: CancellationToken::new(),
    };
    let taken = Taken {
        spans: receiver,
        bytes: Arc::clone(&queue.bytes),
        dropped: queue.dropped.clone(),
        exported: metrics.spans_exported.clone(),
        closing: queue.closing.clone(),
        closed: queue.closed.clone(),
    };
    (queue, taken)
}

impl Taken {
    #[cfg(test)]
    pub(super) fn next(&mut self) -> Option<SpanData> {
        self.spans.try_recv().ok().map(|(span, _)| span)
    }

    /// The next spans; none when there are no more.
    async fn batch(&mut self) -> Option<Vec<SpanData>> {
        let (span, mut bytes) = tokio::select! {
            first = self.spans.recv() => first?,
            () = self.closing.cancelled(), if !self.spans.is_closed() => {
                self.spans.close();
                self.spans.recv().await?
            }
        };
        let full = Instant::now() + FILLING;
        let mut spans = vec![span];
        while spans.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
            let next = tokio::select! {
                next = timeout_at(full, self.spans.recv()) => next,
                () = self.closing.cancelled(), if !self.spans.is_closed() => {
                    self.spans.close();
                    continue;
                }
            };
            let Ok(Some((span, size))) = next else {
                break;
            };
            spans.push(span);
            bytes += size;
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(spans)
    }

    /// What was queued and nobody will take.
    fn forget(&mut self) -> u64 {
        self.spans.close();
        let mut left = 0;
        while self.spans.try_recv().is_ok() {
            left += 1;
        }
        left
    }
}

/// The task that exports.
pub(super) struct Exporter {
    otlp: SpanExporter,
    taken: Taken,
    /// Spans that were dropped when it was told last that the collector takes none.
    told: Option<u64>,
}

impl Exporter {
    pub(super) fn new(
        endpoint: &str,
        resource: &Resource,
        metrics: &Metrics,
    ) -> Result<(Self, Queue), Error> {
        let mut builder = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(OFFERED)
            .with_retry_policy(
                RetryPolicy::recommended()
                    .with_max_retries(TRIES)
                    .with_initial_delay(WAIT_FIRST)
                    .with_max_delay(WAIT_LONGEST),
            );
        if endpoint.starts_with("https:") {
            builder = builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
        }
        let mut otlp = builder.build().map_err(|source| Error {
            endpoint: endpoint.to_owned(),
            source,
        })?;
        otlp.set_resource(resource);
        let (queue, taken) = queue(metrics);
        let exporter = Self {
            otlp,
            taken,
            told: None,
        };
        Ok((exporter, queue))
    }

    /// Exports until the host stops.
    pub(super) async fn run(mut self) {
        // Whatever happens to this task, nobody waits for it for ever.
        let closed = self.taken.closed.clone().drop_guard();
        let closing = self.taken.closing.clone();
        let over = async {
            closing.cancelled().await;
            sleep(LAST).await;
        };
        let mut under_way = 0;
        let in_time = tokio::select! {
            () = self.export_all(&mut under_way) => true,
            () = over => false,
        };
        if !in_time {
            let lost = under_way + self.taken.forget();
            self.taken.dropped.inc_by(lost);
            tracing::warn!(
                spans = lost,
                "the host stops before the collector took its spans"
            );
        }
        drop(closed);
    }

    async fn export_all(&mut self, under_way: &mut u64) {
        while let Some(batch) = self.taken.batch().await {
            let spans = batch.len() as u64;
            *under_way = spans;
            match self.offer(batch).await {
                Ok(()) => {
                    self.taken.exported.inc_by(spans);
                    self.tell_taken();
                }
                Err(error) => {
                    let before = self.taken.dropped.inc_by(spans);
                    tell_refused(&mut self.told, before, &error.to_string());
                }
            }
            *under_way = 0;
        }
    }

    /// Offers a batch for a while.
    async fn offer(&mut self, batch: Vec<SpanData>) -> Result<(), OTelSdkError> {
        let Self { otlp, told, taken } = self;
        let mut exported = pin!(timeout(OFFERED * 2, otlp.export(batch)));
        let answer = tokio::select! {
            answer = &mut exported => answer,
            () = sleep(SLOW) => {
                tell_refused(told, taken.dropped.get(), "no answer yet");
                exported.await
            }
        };
        answer.unwrap_or(Err(OTelSdkError::Timeout(OFFERED * 2)))
    }

    fn tell_taken(&mut self) {
        if let Some(before) = self.told.take() {
            let dropped = self.taken.dropped.get() - before;
            tracing::info!(dropped, "the collector takes spans again");
        }
    }
}

/// Once for each time that the collector is away.
fn tell_refused(told: &mut Option<u64>, dropped: u64, error: &str) {
    if told.is_none() {
        *told = Some(dropped);
        tracing::warn!(
            error,
            "the collector takes no spans; they wait, what is too much is dropped, and events go on"
        );
    }
}

/// Who these spans are of. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have the last word,
/// as everywhere.
pub(super) fn resource(host: &str, instance: String) -> Resource {
    let own = [
        KeyValue::new("service.name", "sluicegate"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance),
        KeyValue::new("sluicegate.host", host.to_owned()),
    ];
    let named = env::var("OTEL_SERVICE_NAME").ok();
    let named = named.filter(|name| !name.is_empty());
    Resource::builder_empty()
        .with_attributes(own)
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes(named.map(|name| KeyValue::new("service.name", name)))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_with_tls_is_an_address() {
        let metrics = Metrics::default();
        let resource = resource("host-1", "1".to_owned());
        for endpoint in ["http://127.0.0.1:4317", "https://otel.contoso.com:4317"] {
            let made = Exporter::new(endpoint, &resource, &metrics);
            assert!(made.is_ok(), "{endpoint}");
        }
    }
}
