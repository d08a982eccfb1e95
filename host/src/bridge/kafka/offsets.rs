//! Takes offsets as they are read and as they are done, gives up to where they may be committed.
//!
//! Pure. A partition that was given up and comes back begins anew, and what was read of it
//! before counts for nothing.

use std::collections::{BTreeMap, VecDeque};

/// One record of the topic, as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The topic's partition.
    pub(super) partition: i32,
    /// Its place there.
    pub(super) offset: i64,
    /// The size of its value.
    pub(super) bytes: usize,
    /// How often partitions were begun anew when it was read.
    era: u64,
}

/// What is under way of the partitions that this host reads.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    partitions: BTreeMap<i32, Partition>,
    eras: u64,
}

#[derive(Debug, Default)]
struct Partition {
    era: u64,
    /// In the order in which they were read, and whether each is done. The first is open.
    read: VecDeque<(i64, bool)>,
    /// How many of them are open.
    open: usize,
    /// Up to here, and not with it, all is done.
    done: Option<i64>,
    /// What was handed out to be committed.
    committed: Option<i64>,
}

impl Offsets {
    /// A record was read. One that is not behind the last one begins its partition anew.
    pub(super) fn read(&mut self, partition: i32, offset: i64, bytes: usize) -> Place {
        let last = |found: &Partition| {
            let last = found.read.back().map(|(last, _)| *last);
            last.or(found.done.map(|done| done - 1))
        };
        let found = self.partitions.get(&partition);
        if found.is_none_or(|found| last(found).is_some_and(|last| offset <= last)) {
            self.eras += 1;
            let fresh = Partition {
                era: self.eras,
                ..Partition::default()
            };
            self.partitions.insert(partition, fresh);
        }
        let found = self.partitions.entry(partition).or_default();
        found.read.push_back((offset, false));
        found.open += 1;
        Place {
            partition,
            offset,
            bytes,
            era: found.era,
        }
    }

    /// What became of it is durable.
    pub(super) fn done(&mut self, place: Place) {
        let found = self.partitions.get_mut(&place.partition);
        let Some(found) = found.filter(|found| found.era == place.era) else {
            return;
        };
        let index = found
            .read
            .binary_search_by_key(&place.offset, |(offset, _)| *offset);
        let record = index.ok().and_then(|index| found.read.get_mut(index));
        if let Some((_, is_done @ false)) = record {
            *is_done = true;
            found.open -= 1;
        }
        while let Some((offset, true)) = found.read.front() {
            found.done = Some(offset + 1);
            found.read.pop_front();
        }
    }

    /// What has become committable since it was asked last: partitions, and the offset at which
    /// each is to be read on.
    pub(super) fn committable(&mut self) -> Vec<(i32, i64)> {
        let mut found = Vec::new();
        for (number, partition) in &mut self.partitions {
            if let Some(done) = partition.done
                && partition.committed != Some(done)
            {
                partition.committed = Some(done);
                found.push((*number, done));
            }
        }
        found
    }

    /// What was handed out was not committed: it is handed out again.
    pub(super) fn not_committed(&mut self) {
        for partition in self.partitions.values_mut() {
            partition.committed = None;
        }
    }

    /// Records of a partition that are read and not done.
    pub(super) fn open_of(&self, partition: i32) -> usize {
        let found = self.partitions.get(&partition);
        found.map_or(0, |found| found.open)
    }

    /// Another host reads it from here on.
    pub(super) fn forget(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_nothing_open_before_it_is_committed() {
        let mut offsets = Offsets::default();
        // Compaction and control records leave gaps.
        let [a, b, c] = [5, 7, 8].map(|offset| offsets.read(0, offset, 0));
        let other = offsets.read(1, 0, 0);
        assert_eq!(offsets.open_of(0), 3);
        offsets.done(b);
        assert!(offsets.committable().is_empty());
        offsets.done(other);
        assert_eq!(offsets.committable(), [(1, 1)]);
        assert!(offsets.committable().is_empty());
        offsets.done(a);
        assert_eq!(offsets.committable(), [(0, 8)]);
        offsets.done(c);
        offsets.done(c);
        assert_eq!(offsets.committable(), [(0, 9)]);
        assert_eq!(offsets.open_of(0), 0);
        offsets.not_committed();
        assert_eq!(offsets.committable(), [(0, 9), (1, 1)]);
    }

    #[test]
    fn what_was_read_before_a_partition_was_given_up_counts_for_nothing() {
        let mut offsets = Offsets::default();
        let before = offsets.read(0, 5, 0);
        offsets.forget(0);
        offsets.done(before);
        assert!(offsets.committable().is_empty());
        let after = offsets.read(0, 5, 0);
        offsets.done(before);
        assert!(offsets.committable().is_empty());
        offsets.done(after);
        assert_eq!(offsets.committable(), [(0, 6)]);
    }

    #[test]
    fn a_partition_that_is_read_from_an_earlier_place_begins_anew() {
        let mut offsets = Offsets::default();
        let [first, second] = [10, 11].map(|offset| offsets.read(0, offset, 0));
        offsets.done(first);
        let again = offsets.read(0, 10, 0);
        offsets.done(second);
        assert!(offsets.committable().is_empty());
        offsets.done(again);
        assert_eq!(offsets.committable(), [(0, 11)]);
        assert_eq!(offsets.open_of(0), 0);
    }
}
