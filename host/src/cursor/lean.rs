//! Takes the subjects of a cursor, gives the one that is enough while no replay is to be read.
//!
//! A consumer with two filters costs the broker as much again for each message as one with a
//! single filter, and nearly every plug-in has two: its subscription and its replays. So while it
//! has much to catch up with, its cursor reads the subscription alone, up to a sequence below
//! which there is no replay that it has not read. There it asks again.

use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};

use crate::route::REPLAY_PREFIX;

/// So many messages have to stand behind for it to be worth another consumer.
pub(super) const MANY: u64 = 10_000;

/// A subscription that is one filter, and the replays that are another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lean {
    /// The subscription's.
    pub(super) subject: String,
    replays: String,
}

impl Lean {
    /// None where one filter would not be enough, or there is only one.
    pub(super) fn of(subjects: &[String]) -> Option<Self> {
        match subjects {
            [subject, replays]
                if replays.starts_with(REPLAY_PREFIX) && !subject.starts_with(REPLAY_PREFIX) =>
            {
                Some(Self {
                    subject: subject.clone(),
                    replays: replays.clone(),
                })
            }
            _ => None,
        }
    }

    /// The sequence up to which no replay stands behind `after`; none when one does.
    ///
    /// # Errors
    /// What the broker says.
    pub(super) async fn until(&self, events: &Stream, after: u64) -> Result<Option<u64>, String> {
        // Asked for first: a replay that comes later stands behind it.
        let info = events.get_info().await;
        let last = info.map_err(|error| error.to_string())?.state.last_sequence;
        match events.get_last_raw_message_by_subject(&self.replays).await {
            Ok(replay) if after < replay.sequence => Ok(None),
            Ok(_) => Ok(Some(last)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(Some(last)),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_subscription_beside_replays_is_read_alone() {
        let of = |subjects: &[&str]| {
            let subjects: Vec<String> = subjects.iter().map(|one| (*one).to_owned()).collect();
            Lean::of(&subjects).map(|lean| lean.subject)
        };
        let (account, contact) = ("d365.*.*.record.account.*.*", "d365.*.*.record.contact.*.*");
        let replays = "d365.replay.watch.*";
        assert_eq!(of(&[account, replays]), Some(account.to_owned()));
        assert_eq!(of(&[account, contact, replays]), None);
        assert_eq!(of(&[account, contact]), None);
        assert_eq!(of(&[account]), None);
    }
}
