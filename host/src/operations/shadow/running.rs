//! Takes a shadow, gives its build the events of its part of the store, and says how far it is.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::recorded::{record, subjects};
use super::store::{Group, Store};
use super::worker::Worker;
use super::{Definition, Error, Progress, Scope};
use crate::delivery::Delivery;
use crate::operations::history::{Bounds, Export, Query};
use crate::operations::replays::pace::Pace;
use crate::ownership::SLOTS;
use crate::plugin::generation::Generation;

/// Messages that go to the thread that calls at once,
const BATCH: usize = 256;
/// and about how many bytes of them;
const BATCH_BYTES: usize = 1 << 20;
/// and how many such batches wait for it.
const WAITING: usize = 4;

/// A build with its own state, and what it is compared with.
pub struct Shadow {
    /// What it is.
    pub definition: Definition,
    /// Its build.
    pub generation: Generation,
    /// Where it keeps everything.
    pub store: Arc<Store>,
    /// What is known of the plug-in.
    pub scope: Scope,
    /// Which events; where they stand, its progress says.
    pub query: Query,
    /// Subjects to which the plug-in may have emitted.
    pub emit: Vec<String>,
    /// An event that comes again within this time is not handled again.
    pub dedup_window: Duration,
}

/// What goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// What is recorded is read,
    Recorded,
    /// or the shadow handles events.
    Calls,
}

/// Has the shadow handle what it has not handled yet, until `stop`. `show` hears how many of how
/// many are done.
///
/// # Errors
/// When a stream cannot be read, the file cannot be written, or the host cannot make a call.
pub async fn run(
    (context, events): (&Context, &Stream),
    shadow: Shadow,
    rate: Option<u32>,
    stop: &CancellationToken,
    mut show: impl FnMut(Step, u64, u64),
) -> Result<Progress, Error> {
    let mut progress = shadow.store.progress()?;
    let everything = Query::default();
    if !progress.all_recorded {
        let emitted = subjects(&shadow.emit);
        if emitted.is_empty() {
            progress.all_recorded = true;
        } else {
            let bounds = Bounds {
                from: Some(progress.from.max(progress.recorded) + 1),
                to: None,
            };
            let outputs = Export::between(context, events, emitted, &everything, bounds).await?;
            let total = outputs.expected();
            let Definition {
                plugin, ignored, ..
            } = &shadow.definition;
            let whole = record(
                outputs,
                &shadow.store,
                plugin,
                ignored,
                &mut progress,
                |done| {
                    show(Step::Recorded, done, total);
                    !stop.is_cancelled()
                },
            );
            if !whole.await? {
                return Ok(progress);
            }
        }
    }
    let slots: Vec<u8> = (0..SLOTS).collect();
    let heard = shadow.generation.manifest().filter_subjects(&slots);
    let bounds = Bounds {
        from: Some(progress.from.max(progress.after) + 1),
        to: Some(progress.to),
    };
    let inputs = Export::between(context, events, heard, &everything, bounds).await?;
    let total = inputs.expected();
    let (batches, waiting) = mpsc::channel(WAITING);
    let (said, mut heard) = watch::channel(0);
    let mut worker = Worker::new(context, events, shadow, progress);
    let working = tokio::task::spawn_blocking(move || worker.work(waiting, &said));
    let showing = async {
        while heard.changed().await.is_ok() {
            let done = *heard.borrow_and_update();
            show(Step::Calls, done, total);
        }
    };
    let (whole, ()) = tokio::join!(send(inputs, batches, rate, stop), showing);
    let worked = working.await;
    let (store, mut progress) = worked.map_err(|error| Error::Broke(error.to_string()))??;
    if whole? {
        progress.ended = true;
        store.commit(&Group::default(), &progress)?;
    }
    Ok(progress)
}

/// Gives the events to the thread that calls. False when `stop` said so before the last one.
async fn send(
    mut inputs: Export,
    batches: mpsc::Sender<Vec<Delivery>>,
    rate: Option<u32>,
    stop: &CancellationToken,
) -> Result<bool, Error> {
    let mut pace = rate.map(Pace::new);
    let (mut batch, mut bytes) = (Vec::with_capacity(BATCH), 0);
    loop {
        let next = tokio::select! {
            next = inputs.next() => next?,
            () = stop.cancelled() => return Ok(false),
        };
        let is_last = next.is_none();
        if let Some(delivery) = next {
            bytes += delivery.payload.len();
            batch.push(delivery);
        }
        if is_last || BATCH <= batch.len() || BATCH_BYTES <= bytes || pace.is_some() {
            bytes = 0;
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if batches.send(full).await.is_err() {
                // The thread has ended, and says why itself.
                return Ok(false);
            }
        }
        if is_last {
            return Ok(true);
        }
        if let Some(pace) = &mut pace {
            pace.taken();
            sleep_until(pace.due()).await;
        }
    }
}
