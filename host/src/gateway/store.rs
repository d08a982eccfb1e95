//! Takes messages, gives them back as durable: in the broker's stream, or on disk until it is back.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::{Duration, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Error;
use super::drain::Drain;
use super::outgoing::Outgoing;
use super::problem::Problem;
use super::publisher::Publisher;
use super::spool::Spool;
use super::spool::gate::{Kept, Spooler};
use crate::config::Config;
use crate::host::chain;
use crate::ledger::LEAST_TTL;
use crate::metrics::Metrics;

/// Under `host.data_dir`.
const SPOOL_FOLDER: &str = "gateway-spool";
const REPORT: Duration = Duration::from_secs(1);

/// The broker, and the spool where the config wants one.
pub(super) struct Store {
    publisher: Publisher,
    spooler: Option<Arc<Spooler>>,
    metrics: Metrics,
    /// `events.dedup_window`.
    dedup_window: Duration,
    dead_letter_ttl: Duration,
}

impl Store {
    /// Opens the spool, if there is to be one.
    pub(super) async fn open(
        config: &Config,
        publisher: Publisher,
        metrics: Metrics,
        tracker: &TaskTracker,
    ) -> Result<Self, Error> {
        let folder = config.host.data_dir.join(SPOOL_FOLDER);
        let spooler = if config.gateway.spool {
            let spool = Spool::open(&folder, config.gateway.spool_max_bytes, tracker).await;
            let spool = spool.map_err(|error| Error::Spool(chain(&error)))?;
            Some(Arc::new(Spooler::new(spool)))
        } else {
            let left = Spool::left_behind(&folder, tracker).await;
            let left = left.map_err(|error| Error::Spool(chain(&error)))?;
            if 0 < left {
                tracing::error!(
                    events = left, folder = %folder.display(),
                    "events that were accepted wait in the spool, and gateway.spool is off; \
                     set it to true until the spool is empty"
                );
            }
            None
        };
        Ok(Self {
            publisher,
            spooler,
            metrics,
            dedup_window: config.events.dedup_window,
            dead_letter_ttl: config.ledger.dedup_window.max(LEAST_TTL),
        })
    }

    /// Starts what brings the spool's messages to the broker.
    pub(super) fn start(
        &self,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Option<JoinHandle<()>> {
        let spooler = Arc::clone(self.spooler.as_ref()?);
        let (publisher, metrics) = (self.publisher.clone(), self.metrics.clone());
        let drain = Drain::new(
            Arc::clone(&spooler),
            publisher,
            self.dedup_window,
            self.dead_letter_ttl,
        );
        Some(tracker.spawn(async move {
            let mut draining = std::pin::pin!(drain.run(stop));
            let mut report = interval(REPORT);
            loop {
                tokio::select! {
                    () = &mut draining => return,
                    _ = report.tick() => {
                        let standing = spooler.spool().standing();
                        metrics.spooled(standing.records, standing.bytes);
                    }
                }
            }
        }))
    }

    /// All of them, or an error: then none is promised, though some may be there. Whoever
    /// sends again finds them by their ids.
    pub(super) async fn keep(&self, outgoing: Vec<Outgoing>) -> Result<Vec<Kept>, Problem> {
        if let Some(spooler) = &self.spooler {
            let kept = spooler.accept(&self.publisher, &outgoing).await;
            return kept.map_err(|error| Problem::Spool(error.to_string()));
        }
        let stored = match <[Outgoing; 1]>::try_from(outgoing) {
            Ok([one]) => vec![self.publisher.publish(one).await?],
            Err(several) => self.publisher.publish_all(several).await?,
        };
        Ok(stored.into_iter().map(Kept::Stored).collect())
    }
}
