//! Takes a plug-in, gives how far its partitions are in the event store.

use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};

use crate::broker::ReadError;
use crate::ledger::entry::Entry;
use crate::ledger::position::Position;
use crate::ledger::subject::{self, PartitionName};
use crate::ownership::SLOTS;

/// How many partitions the ledger of a plug-in is divided into; none when it has never run.
///
/// # Errors
/// When the ledger cannot be read.
pub(super) async fn partitions(ledger: &Stream, plugin: &str) -> Result<Option<u8>, ReadError> {
    let subject = subject::partitions(plugin);
    let failed = |error: String| ReadError::Messages(format!("{subject}: {error}"));
    match ledger.get_last_raw_message_by_subject(&subject).await {
        Ok(message) => {
            let text = String::from_utf8_lossy(&message.payload);
            let count = text.parse();
            let count = count.map_err(|_| failed(format!("found {text:?}, expected a number")));
            Ok(Some(count?))
        }
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// One for each partition; none of one that nobody has ever run.
#[derive(Debug)]
pub(super) struct Positions(pub(super) Vec<Option<Position>>);

impl Positions {
    /// As the ledger has them now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn read(
        ledger: &Stream,
        plugin: &str,
        partitions: u8,
    ) -> Result<Self, ReadError> {
        let mut positions = Vec::new();
        for partition in 0..partitions {
            let partition = PartitionName {
                plugin: plugin.to_owned(),
                partition,
            };
            let log = partition.log();
            let last = ledger.get_last_raw_message_by_subject(&log);
            let position = match last.await {
                // What another version wrote tells nothing, so nothing of it counts as passed.
                Ok(message) => Entry::decode(&message.payload).ok(),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => None,
                Err(error) => return Err(ReadError::Messages(error.to_string())),
            };
            positions.push(position.map(|entry| Position::unpack(&entry.position)));
        }
        Ok(Self(positions))
    }

    /// Whether the plug-in is through with what stands there: it is finished, or written down in
    /// the ledger.
    pub(super) fn passed(&self, subject: &str, sequence: u64) -> bool {
        let passed = |position: &Option<Position>| {
            position
                .as_ref()
                .is_some_and(|position| position.passed(sequence))
        };
        let slot = slot(subject).map(usize::from);
        match slot.and_then(|slot| self.0.get(slot / self.width())) {
            Some(position) => passed(position),
            None => self.0.iter().all(passed),
        }
    }

    /// Every partition is through with what stands up to here.
    pub(super) fn floor(&self) -> u64 {
        let floors = self.0.iter();
        let floors = floors.map(|position| position.as_ref().map_or(0, Position::floor));
        floors.min().unwrap_or(0)
    }

    /// Slots of a partition.
    fn width(&self) -> usize {
        (usize::from(SLOTS) / self.0.len().max(1)).max(1)
    }
}

/// The slot at the end of a subject.
pub(super) fn slot(subject: &str) -> Option<u8> {
    let token = subject.rsplit('.').next()?;
    token.parse().ok().filter(|slot| *slot < SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_the_position_of_its_partition() {
        let positions = Positions(vec![
            Some(Position::at(10)),
            Some(Position::at(20)),
            None,
            None,
        ]);
        let passed =
            |slot: u8, sequence| positions.passed(&format!("d365.replay.p.{slot}"), sequence);
        assert!(passed(3, 10) && !passed(3, 11));
        assert!(passed(4, 20) && !passed(8, 1));
        // Whose it is, is not known.
        assert!(!positions.passed("d365.custom.x", 10));
        assert_eq!(positions.floor(), 0);
    }

    #[test]
    fn only_a_slot_is_one() {
        assert_eq!(slot("d365.replay.p.15"), Some(15));
        assert_eq!(slot("d365.replay.p.16"), None);
        assert_eq!(slot("d365.custom.x"), None);
    }
}
