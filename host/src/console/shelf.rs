//! Takes the dead letters' stream, gives all letters in short, read again only when they have changed.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::fault::Fault;
use crate::operations::letters::{self, Conditions, Summary};

/// Numbers that are looked back at: of more letters the console shows the newest, and the
/// command line all.
pub(super) const MOST: u64 = 100_000;
/// While letters go one after another, all are read anew only so often.
const AGAIN: Duration = Duration::from_secs(3);
/// While nobody looks, new ones are read so often: whoever looks then sees them at once.
const MEANWHILE: Duration = Duration::from_secs(10);

/// What was read last.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    read: Mutex<Option<Read>>,
}

#[derive(Debug, Clone)]
struct Read {
    at: Instant,
    messages: u64,
    last: u64,
    is_cut: bool,
    letters: Arc<Vec<Summary>>,
}

impl Shelf {
    /// Has them at hand before anybody looks, and after.
    pub(super) async fn keep(&self, context: &Context) {
        let mut meanwhile = interval(MEANWHILE);
        meanwhile.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            meanwhile.tick().await;
            let only_grew = match &*self.read.lock().await {
                None => true,
                Some(read) => {
                    let stream = letters::stream(context).await;
                    stream.is_ok_and(|stream| {
                        let state = &stream.cached_info().state;
                        let came = state.last_sequence.saturating_sub(read.last);
                        0 < came && read.messages + came == state.messages
                    })
                }
            };
            // Letters that went cost a reading of all: that is for who looks.
            if only_grew && let Err(fault) = self.letters(context).await {
                tracing::debug!(
                    error = fault.text,
                    "dead letters cannot be read at the moment"
                );
            }
        }
    }

    /// The letters, oldest first.
    pub(super) async fn letters(&self, context: &Context) -> Result<Arc<Vec<Summary>>, Fault> {
        let mut read = self.read.lock().await;
        let stream = letters::stream(context).await?;
        let (messages, first, last) = {
            let state = &stream.cached_info().state;
            (state.messages, state.first_sequence, state.last_sequence)
        };
        let before = read.take();
        let came = before.as_ref().map(|read| last.saturating_sub(read.last));
        let (mut all, mut is_cut) = match before {
            Some(before) if before.messages == messages && before.last == last => {
                let letters = Arc::clone(&before.letters);
                *read = Some(before);
                return Ok(letters);
            }
            // Nothing went: what is new stands behind what is known.
            Some(before) if came.is_some_and(|came| before.messages + came == messages) => {
                let new = letters::all(&stream, &Conditions::default(), before.last + 1).await?;
                let mut all = Arc::unwrap_or_clone(before.letters);
                all.extend(new);
                (all, before.is_cut)
            }
            Some(before) if before.at.elapsed() < AGAIN => {
                let letters = Arc::clone(&before.letters);
                *read = Some(before);
                return Ok(letters);
            }
            Some(_) | None => {
                let from = (last + 1).saturating_sub(MOST);
                let all = letters::all(&stream, &Conditions::default(), from).await?;
                (all, 0 < messages && first < from)
            }
        };
        let surplus = all.len().saturating_sub(MOST as usize);
        all.drain(..surplus);
        is_cut |= 0 < surplus;
        let letters = Arc::new(all);
        *read = Some(Read {
            at: Instant::now(),
            messages,
            last,
            is_cut,
            letters: Arc::clone(&letters),
        });
        Ok(letters)
    }

    /// There are older ones that were not read.
    pub(super) async fn is_cut(&self) -> bool {
        self.read
            .lock()
            .await
            .as_ref()
            .is_some_and(|read| read.is_cut)
    }

    /// They are read anew at the next look: something was done with them.
    pub(super) async fn forget(&self) {
        *self.read.lock().await = None;
    }
}
