//! Takes the sequences that were read, finished and written down, gives the floor and what is open above it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Where one partition of a plug-in stands in the event store.
///
/// Every sequence up to `last` is finished, or written down in the ledger, or does not
/// concern the plug-in, except the open ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    last: u64,
    open: BTreeSet<u64>,
    /// The open ones that an earlier owner has read, and this one not yet.
    again: BTreeSet<u64>,
}

/// The form in which a position is kept: open sequences above the floor as run lengths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// The highest sequence that was read.
    pub last: u64,
    /// Alternating run lengths from the floor down to `last`: open, not open, open, …
    pub runs: Vec<u64>,
    /// Every sequence up to here is finished or written down.
    pub floor: u64,
}

impl Position {
    /// Nothing read yet; reading starts at `floor + 1`.
    pub fn at(floor: u64) -> Self {
        Self {
            last: floor,
            ..Self::default()
        }
    }

    /// The highest sequence up to which nothing is open.
    pub fn floor(&self) -> u64 {
        self.open.first().map_or(self.last, |first| first - 1)
    }

    /// The highest sequence that was read.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether a sequence is finished, or written down in the ledger.
    pub fn passed(&self, sequence: u64) -> bool {
        sequence <= self.last && !self.open.contains(&sequence)
    }

    /// How many sequences are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// A sequence was read and is to be handled. False when an earlier owner has finished
    /// it or written it down. What an earlier owner has read below it, and did not come again, is
    /// not in the store any more.
    pub fn read(&mut self, sequence: u64) -> bool {
        while let Some(first) = self.again.first().copied()
            && first <= sequence
        {
            self.again.remove(&first);
            if first < sequence {
                self.open.remove(&first);
            }
        }
        if sequence <= self.last {
            return self.open.contains(&sequence);
        }
        self.last = sequence;
        self.open.insert(sequence);
        true
    }

    /// A sequence is finished, or written down in the ledger.
    pub fn close(&mut self, sequence: u64) {
        self.open.remove(&sequence);
    }

    /// Nothing that concerns the plug-in stands between the last read sequence and this one.
    pub fn skip_to(&mut self, sequence: u64) {
        self.last = self.last.max(sequence);
    }

    /// These sequences left the store before they were read.
    pub fn lose(&mut self, from: u64, to: u64) {
        for sequences in [&mut self.open, &mut self.again] {
            sequences.retain(|sequence| !(from..=to).contains(sequence));
        }
        self.skip_to(to);
    }

    /// The form for the ledger.
    pub fn pack(&self) -> Packed {
        let floor = self.floor();
        let mut runs = Vec::new();
        let mut next = floor + 1;
        let mut open = self.open.iter().copied().peekable();
        while let Some(start) = open.next() {
            let mut end = start;
            while open.next_if_eq(&(end + 1)).is_some() {
                end += 1;
            }
            if next < start {
                runs.push(start - next);
            }
            runs.push(end - start + 1);
            next = end + 1;
        }
        Packed {
            last: self.last,
            runs,
            floor,
        }
    }

    /// The position that was packed.
    pub fn unpack(packed: &Packed) -> Self {
        let mut open = BTreeSet::new();
        let mut next = packed.floor + 1;
        for (index, length) in packed.runs.iter().enumerate() {
            let end = next.saturating_add(*length).min(packed.last + 1);
            if index % 2 == 0 {
                open.extend(next..end);
            }
            next = end;
        }
        Self {
            last: packed.last,
            again: open.clone(),
            open,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_floor_stops_below_the_first_open_sequence() {
        let mut position = Position::at(10);
        for sequence in [12, 15, 16] {
            assert!(position.read(sequence));
        }
        assert_eq!(position.floor(), 11);
        position.close(15);
        assert_eq!(position.floor(), 11);
        position.close(12);
        assert_eq!(position.floor(), 15);
        position.close(16);
        assert_eq!(position.floor(), 16);
        position.skip_to(40);
        assert_eq!(position.floor(), 40);
    }

    #[test]
    fn what_was_finished_is_not_read_again() {
        let mut position = Position::at(0);
        for sequence in 1..=5 {
            position.read(sequence);
        }
        for sequence in [1, 2, 4] {
            position.close(sequence);
        }
        let mut again = Position::unpack(&position.pack());
        assert_eq!(again.floor(), 2);
        let read: Vec<u64> = (3..=7).filter(|s| again.read(*s)).collect();
        assert_eq!(read, [3, 5, 6, 7]);
    }

    #[test]
    fn what_does_not_come_again_does_not_hold_the_floor() {
        let mut position = Position::at(0);
        for sequence in 1..=6 {
            position.read(sequence);
        }
        position.close(3);
        let mut again = Position::unpack(&position.pack());
        // 1 and 4 have been erased meanwhile.
        let read: Vec<u64> = [2, 3, 5, 6]
            .into_iter()
            .filter(|s| again.read(*s))
            .collect();
        assert_eq!(read, [2, 5, 6]);
        assert_eq!(again.floor(), 1);
        again.close(2);
        assert_eq!(again.floor(), 4);
        assert!(again.passed(4) && !again.passed(5) && !again.passed(7));
    }

    #[test]
    fn what_left_the_store_does_not_hold_the_floor() {
        let mut position = Position::at(10);
        position.read(12);
        position.read(15);
        position.lose(13, 20);
        assert_eq!(position.floor(), 11);
        position.close(12);
        assert_eq!(position.floor(), 20);
    }

    proptest! {
        #[test]
        fn pack_and_unpack_are_inverse(
            steps in prop::collection::vec(1u64..9, 0..200),
            closed in prop::collection::vec(any::<bool>(), 200),
        ) {
            let mut position = Position::at(7);
            let mut sequence = 7;
            for (step, close) in steps.iter().zip(closed) {
                sequence += step;
                position.read(sequence);
                if close {
                    position.close(sequence);
                }
            }
            prop_assert_eq!(Position::unpack(&position.pack()).pack(), position.pack());
        }
    }
}
