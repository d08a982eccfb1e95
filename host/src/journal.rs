//! Takes attempts as they end, gives them to the stream JOURNAL in pages: what an event's story is told from.
//!
//! A page holds the attempts that one build made of one partition in a moment, some 12 bytes
//! each while all goes well. Pages are published and not awaited, and nothing depends on them: a
//! page that is lost is a gap in a story, never in the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, StorageType};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{Config, JournalMode};
use crate::ledger::subject::PartitionName;
use crate::metrics::Metrics;
use crate::outcome::Outcome;

pub use self::page::{Attempt, Ended, Page, Told, read_page};

mod page;

/// The stream, `journal.<plugin>.<partition>`.
pub const STREAM: &str = "JOURNAL";
const PREFIX: &str = "journal.";
/// The lowest and the highest sequence in EVENTS that a page speaks of.
pub const FIRST: &str = "Sluice-First";
/// And the highest.
pub const LAST: &str = "Sluice-Last";
/// A page is published after this long,
const TURN: Duration = Duration::from_millis(200);
/// or as soon as it has so many bytes.
const FULL: usize = 128 << 10;
/// Bytes of pages that wait for the broker; what comes beyond them is left out and counted.
const MAX_WAITING: usize = 8 << 20;

/// Where attempts are written down. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    mode: JournalMode,
    host: String,
    /// Every partition's, until it is gone and its last page was taken.
    open: Mutex<Vec<Arc<Open>>>,
    /// Bytes of all pages that were not taken yet.
    waiting: AtomicUsize,
    is_full: Notify,
    metrics: Metrics,
}

/// The page of one build of one partition.
#[derive(Debug)]
struct Open {
    name: PartitionName,
    version: String,
    digest: String,
    is_canary: bool,
    page: Mutex<Option<Page>>,
}

/// The journal of one build of one partition.
#[derive(Debug, Clone)]
pub struct Writer {
    journal: Journal,
    open: Arc<Open>,
}

/// How the stream is to be.
pub fn stream_config(config: &Config) -> StreamConfig {
    StreamConfig {
        name: STREAM.to_owned(),
        subjects: vec![format!("{PREFIX}>")],
        num_replicas: config.nats.replicas,
        max_bytes: i64::try_from(config.telemetry.journal_max_bytes).unwrap_or(i64::MAX),
        max_age: config.events.max_age,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        allow_direct: true,
        ..StreamConfig::default()
    }
}

/// Where the pages of a plug-in stand; of all without one.
pub fn subject(plugin: Option<&str>) -> String {
    format!("{PREFIX}{}.*", plugin.unwrap_or("*"))
}

impl Journal {
    /// Of this host.
    pub fn new(config: &Config, metrics: Metrics) -> Self {
        Self {
            inner: Arc::new(Inner {
                mode: config.telemetry.journal,
                host: config.host.name.clone(),
                open: Mutex::default(),
                waiting: AtomicUsize::new(0),
                is_full: Notify::new(),
                metrics,
            }),
        }
    }

    /// Of a build of a partition.
    pub fn writer(
        &self,
        name: &PartitionName,
        (version, digest): (&str, &str),
        is_canary: bool,
    ) -> Writer {
        let open = Arc::new(Open {
            name: name.clone(),
            version: version.to_owned(),
            digest: digest.to_owned(),
            is_canary,
            page: Mutex::default(),
        });
        if self.inner.mode != JournalMode::Off {
            self.inner.open.lock().push(Arc::clone(&open));
        }
        Writer {
            journal: self.clone(),
            open,
        }
    }

    /// Publishes pages until `stop`, and what is left then.
    pub async fn publish(self, context: Context, stop: CancellationToken) {
        if self.inner.mode == JournalMode::Off {
            return;
        }
        let client = context.client();
        loop {
            let is_over = tokio::select! {
                () = sleep(TURN) => false,
                () = self.inner.is_full.notified() => false,
                () = stop.cancelled() => true,
            };
            // Into a connection that is away nothing is published: the client would keep it.
            let is_there = client.connection_state() == async_nats::connection::State::Connected;
            let pages = if is_there { self.take() } else { Vec::new() };
            for (name, page) in pages {
                let mut headers = HeaderMap::new();
                let (first, last) = page.sequences();
                headers.insert(FIRST, first.to_string());
                headers.insert(LAST, last.to_string());
                let subject = format!("{PREFIX}{}.{}", name.plugin, name.partition);
                let sent = client.publish_with_headers(subject, headers, page.into_bytes().into());
                if let Err(error) = sent.await {
                    tracing::debug!(%error, "a page of the journal was not taken");
                }
            }
            if is_over {
                let _ = client.flush().await;
                return;
            }
        }
    }

    fn take(&self) -> Vec<(PartitionName, Page)> {
        let mut open = self.inner.open.lock();
        let mut pages = Vec::new();
        open.retain(|one| {
            // Asked before the page is taken: one that ends meanwhile is asked again.
            let is_held = 1 < Arc::strong_count(one);
            pages.extend(one.page.lock().take().map(|page| (one.name.clone(), page)));
            is_held
        });
        self.inner.waiting.store(0, Ordering::Relaxed);
        pages
    }
}

impl Writer {
    /// Whether any attempt is to be told of.
    pub fn is_on(&self) -> bool {
        self.journal.inner.mode != JournalMode::Off
    }

    /// Whether an attempt that ends so is to be told of at all.
    pub fn wants(&self, outcome: &Outcome) -> bool {
        match self.journal.inner.mode {
            JournalMode::All => true,
            JournalMode::Failures => !matches!(outcome, Outcome::Done | Outcome::Duplicate),
            JournalMode::Off => false,
        }
    }

    /// An attempt has ended.
    pub fn record(&self, attempt: &Attempt) {
        let inner = &self.journal.inner;
        if MAX_WAITING < inner.waiting.load(Ordering::Relaxed) {
            inner.metrics.journal_left_out();
            return;
        }
        let mut open = self.open.page.lock();
        let page = open.get_or_insert_with(|| {
            let Open {
                version,
                digest,
                is_canary,
                ..
            } = &*self.open;
            Page::new(
                &inner.host,
                version,
                digest,
                *is_canary,
                clock::unix_millis(),
            )
        });
        let before = page.size();
        page.push(attempt);
        let size = page.size();
        inner
            .waiting
            .fetch_add(size.saturating_sub(before), Ordering::Relaxed);
        if FULL <= size && before < FULL {
            inner.is_full.notify_one();
        }
    }
}
