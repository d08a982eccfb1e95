//! Takes records that were read from the spool, gives which of them go out, which are to be looked for first, and which are done with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;

use super::record::Record;
use super::seen::Suspect;
use super::window::Window;
use crate::gateway::outgoing::Outgoing;

/// One record in memory.
#[derive(Debug)]
pub(in crate::gateway) struct Held {
    pub(in crate::gateway) outgoing: Arc<Outgoing>,
    /// Unix milliseconds at which it was spooled.
    pub(in crate::gateway) spooled: u64,
    /// Unix milliseconds since which the broker may have it.
    since: Option<u64>,
    /// It was refused once, and goes out as a dead letter.
    pub(in crate::gateway) is_letter: bool,
    /// Unix milliseconds at which it was sent; none when it is not with the broker now.
    sent: Option<u64>,
}

/// The records that are in memory. No clock and no I/O.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Hand {
    window: Window,
    held: BTreeMap<u64, Held>,
    bytes: usize,
}

impl Hand {
    /// `leftover`: it may have been published before this host was started.
    pub(in crate::gateway) fn take(&mut self, number: u64, record: Record, leftover: bool) {
        let Record {
            outgoing,
            time,
            uncertain,
        } = record;
        self.window.push(number, &outgoing.key);
        self.bytes += outgoing.size();
        let held = Held {
            outgoing: Arc::new(outgoing),
            spooled: time,
            since: (uncertain || leftover).then_some(time),
            is_letter: false,
            sent: None,
        };
        self.held.insert(number, held);
    }

    /// How many there are.
    pub(in crate::gateway) fn len(&self) -> usize {
        self.held.len()
    }

    /// What they take.
    pub(in crate::gateway) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The next that may go out, at this time.
    pub(in crate::gateway) fn next(&mut self, now: u64) -> Option<(u64, Arc<Outgoing>)> {
        let number = self.window.next()?;
        let held = self.held.get_mut(&number)?;
        held.sent = Some(now);
        Some((number, Arc::clone(&held.outgoing)))
    }

    /// It is done with.
    pub(in crate::gateway) fn done(&mut self, number: u64) -> Option<Held> {
        let held = self.held.remove(&number)?;
        self.window.done(number, &held.outgoing.key);
        self.bytes = self.bytes.saturating_sub(held.outgoing.size());
        Some(held)
    }

    /// It goes out again; `certain`: the broker does not have it.
    pub(in crate::gateway) fn again(&mut self, number: u64, certain: bool) {
        if let Some(held) = self.held.get_mut(&number) {
            let sent = held.sent.take();
            // An earlier attempt may have come through, whatever became of this one.
            if !certain {
                held.since = held.since.or(sent);
            }
            self.window.again(number);
        }
    }

    /// It goes out again as this dead letter.
    pub(in crate::gateway) fn becomes(&mut self, number: u64, letter: Outgoing) {
        if let Some(held) = self.held.get_mut(&number) {
            self.bytes = (self.bytes + letter.size()).saturating_sub(held.outgoing.size());
            held.outgoing = Arc::new(letter);
            held.is_letter = true;
            held.sent = None;
            held.since = None;
            self.window.again(number);
        }
    }

    pub(in crate::gateway) fn get(&self, number: u64) -> Option<&Held> {
        self.held.get(&number)
    }

    /// Those that the broker may have had for so long that it does not know them any more.
    pub(in crate::gateway) fn suspects(&self, now: u64, for_long: Duration) -> Vec<Suspect<'_>> {
        let for_long = u64::try_from(for_long.as_millis()).unwrap_or(u64::MAX);
        let suspect = |(&number, held): (&u64, &'_ Held)| {
            let since = held.since.filter(|_| held.sent.is_none())?;
            (for_long <= now.saturating_sub(since)).then_some((number, since))
        };
        let suspects = self.held.iter().filter_map(suspect);
        suspects
            .filter_map(|(number, since)| {
                let outgoing = &self.held.get(&number)?.outgoing;
                Some(Suspect {
                    number,
                    subject: &outgoing.subject,
                    id: outgoing.headers.get(NATS_MESSAGE_ID)?.as_str(),
                    since,
                })
            })
            .collect()
    }

    /// It was looked for, and the broker does not have it.
    pub(in crate::gateway) fn cleared(&mut self, number: u64) {
        if let Some(held) = self.held.get_mut(&number) {
            held.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;
    use bytes::Bytes;

    use super::*;

    const LONG: Duration = Duration::from_millis(1_000);

    fn record(key: &str, time: u64, uncertain: bool) -> Record {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{key}#{time}"));
        let outgoing = Outgoing {
            subject: "d365.custom.x.custom.y.raised.0".to_owned(),
            headers,
            payload: Bytes::from_static(b"{}"),
            key: key.to_owned(),
        };
        Record {
            outgoing,
            time,
            uncertain,
        }
    }

    fn suspects(hand: &Hand, now: u64) -> Vec<u64> {
        let suspects = hand.suspects(now, LONG);
        suspects.iter().map(|suspect| suspect.number).collect()
    }

    #[test]
    fn only_what_may_be_with_the_broker_for_long_is_looked_for() {
        let mut hand = Hand::default();
        hand.take(1, record("a", 0, false), false);
        hand.take(2, record("b", 0, true), false);
        hand.take(3, record("c", 0, false), true);
        hand.take(4, record("d", 900, true), false);
        assert_eq!(suspects(&hand, 999), [0; 0]);
        assert_eq!(suspects(&hand, 1_000), [2, 3]);
        hand.cleared(2);
        assert_eq!(suspects(&hand, 1_000), [3]);
        assert_eq!(suspects(&hand, 2_000), [3, 4]);
    }

    #[test]
    fn an_attempt_without_an_answer_makes_a_suspect_and_one_that_failed_does_not() {
        let mut hand = Hand::default();
        hand.take(1, record("a", 0, false), false);
        hand.take(2, record("b", 0, false), false);
        let sent = 5_000;
        assert_eq!(hand.next(sent).map(|(number, _)| number), Some(1));
        assert_eq!(hand.next(sent).map(|(number, _)| number), Some(2));
        assert_eq!(suspects(&hand, 9_000), [0; 0], "with the broker now");
        hand.again(1, false);
        hand.again(2, true);
        assert_eq!(suspects(&hand, 5_999), [0; 0]);
        assert_eq!(suspects(&hand, 6_000), [1]);
        // A later attempt that certainly failed does not clear an earlier one.
        assert_eq!(hand.next(5_500).map(|(number, _)| number), Some(1));
        hand.again(1, true);
        assert_eq!(suspects(&hand, 6_000), [1]);
        hand.done(1);
        hand.done(2);
        assert_eq!((hand.len(), hand.bytes()), (0, 0));
    }
}
