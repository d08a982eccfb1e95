//! Takes a build's file, gives one version of a projection: what it answers, and how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::Progress;
use super::query::{Answer, Query, page};
use super::store::{self, Standing, Store};
use crate::clock;

/// Questions that are answered at once; others wait.
const AT_ONCE: usize = 4;
/// How long one waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// Nobody has said yet how many.
const UNKNOWN: u64 = u64::MAX;

/// One version of a projection.
#[derive(Debug)]
pub struct Version {
    /// What its files are called.
    pub id: String,
    /// `sha256:<hex>` of its build.
    pub digest: String,
    /// The version of its build.
    pub version: String,
    /// Its file.
    pub store: Arc<Store>,
    /// Up to where it is, as it moves.
    standing: watch::Sender<Standing>,
    /// Up to where somebody waits for it.
    wanted: watch::Sender<u64>,
    /// How many wait.
    waiting: AtomicUsize,
    /// Events in the store that it has not had.
    behind: AtomicU64,
    /// Why it stands still.
    stands: Mutex<Option<String>>,
    turns: Semaphore,
}

/// Somebody waits, for as long as this is there.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The question cannot be answered.
    #[error(transparent)]
    Page(#[from] page::Error),
    /// Too many ask.
    #[error("{AT_ONCE} questions are being answered, and this one waited {TURN:?} for its turn")]
    Busy,
    /// The thread that asks broke.
    #[error("the thread that asks broke: {0}")]
    Broke(String),
}

impl Version {
    pub(super) fn new(
        id: String,
        (digest, version): (String, String),
        store: Store,
    ) -> Result<Self, store::Error> {
        let standing = store.standing()?;
        Ok(Self {
            id,
            digest,
            version,
            store: Arc::new(store),
            standing: watch::Sender::new(standing),
            wanted: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
            behind: AtomicU64::new(UNKNOWN),
            stands: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// Up to where it is.
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// The same, as it moves.
    pub fn moves(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    pub(super) fn moved(&self, now: Standing) {
        // A host that follows may know more than the one that writes has written down.
        self.standing.send_if_modified(|before| {
            let position = before.position.max(now.position);
            let now = Standing { position, ..now };
            std::mem::replace(before, now) != now
        });
    }

    /// Waits until all events up to this place have had their turn. Gives whether they have.
    pub async fn reached(&self, sequence: u64, patience: Duration) -> bool {
        let mut standing = self.standing.subscribe();
        if sequence <= standing.borrow_and_update().position {
            return true;
        }
        let _waiting = Waiting::begin(&self.waiting);
        self.wanted
            .send_modify(|wanted| *wanted = sequence.max(*wanted));
        let there = standing.wait_for(|now| sequence <= now.position);
        timeout(patience, there)
            .await
            .is_ok_and(|there| there.is_ok())
    }

    /// Tells when somebody begins to wait.
    pub(super) fn wanted(&self) -> watch::Receiver<u64> {
        self.wanted.subscribe()
    }

    /// Whether somebody waits still.
    pub(super) fn is_awaited(&self) -> bool {
        0 < self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn stands_behind(&self, events: u64) {
        self.behind.store(events, Ordering::Relaxed);
    }

    /// Events in the store that it has not had; none before that is known.
    pub fn behind(&self) -> Option<u64> {
        let behind = self.behind.load(Ordering::Relaxed);
        (behind != UNKNOWN).then_some(behind)
    }

    /// Has it look whether anything stands behind its place.
    pub(super) fn look_ahead(&self) {
        self.wanted.send_modify(|_| {});
    }

    /// It stands still, and why; or it goes on.
    pub(super) fn stands(&self, why: Option<String>) {
        *self.stands.lock() = why;
    }

    /// A page of a table, and what changed the table last.
    ///
    /// # Errors
    /// When the question is none, or takes too long.
    pub async fn ask(&self, table: &str, query: &Query) -> Result<Answer, Error> {
        let (id, table, query) = (self.id.clone(), table.to_owned(), query.clone());
        let answer = self.look(move |store| query.answer(store, &id, &table));
        Ok(answer.await??)
    }

    /// Looks into the file, when it is its turn, on a thread that may wait.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = timeout(TURN, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Error::Busy);
        };
        let store = Arc::clone(&self.store);
        let looked = tokio::task::spawn_blocking(move || look(&store)).await;
        looked.map_err(|error| Error::Broke(error.to_string()))
    }

    /// How far it is, for people.
    pub fn state(&self) -> Progress {
        let standing = self.standing();
        Progress {
            version: self.version.clone(),
            digest: self.digest.clone(),
            id: self.id.clone(),
            position: standing.position,
            at: match standing.at {
                0 => String::new(),
                at => clock::rfc3339(at),
            },
            behind: self.behind(),
            applied: standing.applied,
            refused: standing.refused,
            lost: standing.lost,
            rows: self.store.counts(),
            bytes: self.store.size(),
            stands: self.stands.lock().clone(),
        }
    }
}
