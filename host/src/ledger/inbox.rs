//! Takes the ids that a plug-in has finished, gives whether one was finished before, within the dedup window.

use std::collections::VecDeque;
use std::time::Duration;

use self::table::Table;

mod table;

/// First 16 bytes of the SHA-256 of source and id.
pub type InboxId = [u8; 16];

/// How many buckets make up the dedup window; ids expire a bucket at a time, and each is
/// looked into for every event.
const BUCKETS: u64 = 16;

struct Bucket {
    /// Unix milliseconds at which the bucket began.
    start: u64,
    /// Sequence of the first log message whose ids are in it.
    first_log: u64,
    ids: Table,
}

/// The index of finished ids of one partition.
pub struct Inbox {
    window: u64,
    buckets: VecDeque<Bucket>,
}

impl Inbox {
    /// An empty inbox that remembers ids for `window`.
    pub fn new(window: Duration) -> Self {
        Self {
            window: u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1),
            buckets: VecDeque::new(),
        }
    }

    /// Whether the id was finished within the window.
    pub fn contains(&self, id: &InboxId) -> bool {
        self.buckets
            .iter()
            .rev()
            .any(|bucket| bucket.ids.contains(id))
    }

    /// Remembers an id that the log message `log_sequence`, written at `at` (unix
    /// milliseconds), has or will have recorded.
    pub fn insert(&mut self, id: InboxId, at: u64, log_sequence: u64) {
        let width = (self.window / BUCKETS).max(1);
        let fits = self
            .buckets
            .back()
            .is_some_and(|bucket| at < bucket.start.saturating_add(width));
        if !fits {
            self.buckets.push_back(Bucket {
                start: at,
                first_log: log_sequence,
                ids: Table::default(),
            });
        }
        if let Some(bucket) = self.buckets.back_mut() {
            bucket.ids.insert(id);
        }
    }

    /// Forgets what is older than the window. Gives the log sequence below which no
    /// message is needed any more, when that has moved.
    pub fn expire(&mut self, now: u64) -> Option<u64> {
        let horizon = now.saturating_sub(self.window);
        let mut moved = None;
        while let Some(next) = self.buckets.get(1)
            && next.start <= horizon
        {
            moved = Some(next.first_log);
            self.buckets.pop_front();
        }
        moved
    }

    /// How many ids are remembered.
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.ids.len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> InboxId {
        [n; 16]
    }

    #[test]
    fn remembers_within_the_window_and_forgets_after_it() {
        let mut inbox = Inbox::new(Duration::from_millis(6_400));
        for n in 1..=101u8 {
            inbox.insert(id(n), u64::from(n - 1) * 100, u64::from(n));
        }
        assert!(inbox.contains(&id(1)));
        // Four ids a bucket.
        let log = inbox.expire(6_400 + 5_200).expect("half has expired");
        assert_eq!(log, 53);
        assert!(!inbox.contains(&id(52)));
        assert!(inbox.contains(&id(53)));
        assert_eq!(inbox.expire(6_400 + 5_200), None);
        assert_eq!(inbox.len(), 49);
    }

    #[test]
    fn the_newest_bucket_always_stays() {
        let mut inbox = Inbox::new(Duration::from_millis(64));
        inbox.insert(id(1), 0, 1);
        assert_eq!(inbox.expire(1_000_000), None);
        assert!(inbox.contains(&id(1)));
    }
}
