//! Takes a message of the event store, or the place of one that is not there any more, gives
//! whether an operator has redacted it.
//!
//! A redacted event is erased. Behind it, on the same subject, stands its envelope: its
//! attributes without its data, and who redacted it, when and why. Hosts pass envelopes over.
//! What is not in the store can tell nothing of itself: the audit does.

use std::collections::BTreeSet;

use async_nats::jetstream::Context;
use async_nats::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};

use crate::broker::ReadError;
use crate::ledger::dead_letter::one_line;
use crate::operations::audit;

/// On an envelope: where its event stood.
/// Every message that a host reads is asked for it, so no name is made each time.
static REDACTED: HeaderName = HeaderName::from_static("Sluice-Redacted");
/// Who redacted it.
pub const BY: &str = "Sluice-Redacted-By";
/// When, RFC 3339.
pub const AT: &str = "Sluice-Redacted-At";
/// And why.
pub const WHY: &str = "Sluice-Redacted-Why";
/// When the broker took the event, RFC 3339.
pub const STORED: &str = "Sluice-Redacted-Stored";
/// The object that held its data, where that was too big for a message.
pub const BODY: &str = "Sluice-Redacted-Body";

/// What the audit calls the deed.
pub const ACTION: &str = "redact";
/// Bytes of a name or a reason that are kept.
const MAX_TEXT: usize = 1 << 10;

/// What an envelope says of its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// Where it stood.
    pub sequence: u64,
    /// When the broker took it, RFC 3339.
    pub stored: String,
    /// Who redacted it.
    pub by: String,
    /// When, RFC 3339.
    pub at: String,
    /// And why.
    pub why: String,
}

impl Mark {
    /// What these headers say, if they are an envelope's.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let text = |name| {
            let value = headers.get(name);
            value.map_or_else(String::new, |value| value.as_str().to_owned())
        };
        Some(Self {
            sequence: original(headers)?,
            stored: text(STORED),
            by: text(BY),
            at: text(AT),
            why: text(WHY),
        })
    }

    /// Makes these headers an envelope's.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(REDACTED.clone(), self.sequence.to_string());
        for (name, text) in [
            (STORED, &self.stored),
            (BY, &self.by),
            (AT, &self.at),
            (WHY, &self.why),
        ] {
            headers.insert(name, one_line(text, MAX_TEXT));
        }
    }
}

/// Whether a message is an envelope, which concerns no plug-in.
pub fn is_envelope(headers: Option<&HeaderMap>) -> bool {
    headers.and_then(original).is_some()
}

fn original(headers: &HeaderMap) -> Option<u64> {
    headers.get(REDACTED.clone())?.as_str().parse().ok()
}

/// What is about to be redacted, as the audit has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deed {
    /// Why.
    pub why: String,
    /// How it was looked for.
    pub conditions: Vec<String>,
    /// Where the events stand in the event store.
    pub events: Vec<u64>,
    /// The dead letters.
    pub dead_letters: Vec<u64>,
}

/// All that were written down, the oldest first.
///
/// # Errors
/// When the audit cannot be read.
pub async fn deeds(context: &Context) -> Result<Vec<(audit::Entry, Deed)>, ReadError> {
    let entries = audit::of(context, ACTION).await?;
    let read = |entry: audit::Entry| {
        let deed = Deed::deserialize(&entry.detail).ok()?;
        Some((entry, deed))
    };
    Ok(entries.into_iter().filter_map(read).collect())
}

/// Whether what stood here, and does not any more, was redacted.
///
/// # Errors
/// When the audit cannot be read.
pub async fn was(context: &Context, sequence: u64) -> Result<bool, ReadError> {
    let deeds = deeds(context).await?;
    Ok(deeds
        .iter()
        .any(|(_, deed)| deed.events.contains(&sequence)))
}

/// Of messages that are not in the store any more, the first and the last that were not redacted;
/// none when all were.
///
/// # Errors
/// When the audit cannot be read.
pub async fn lost(context: &Context, from: u64, to: u64) -> Result<Option<(u64, u64)>, ReadError> {
    let deeds = deeds(context).await?;
    let events = deeds.iter().flat_map(|(_, deed)| &deed.events).copied();
    let redacted = events.filter(|sequence| (from..=to).contains(sequence));
    Ok(without(&redacted.collect(), from, to))
}

fn without(redacted: &BTreeSet<u64>, mut from: u64, mut to: u64) -> Option<(u64, u64)> {
    while redacted.contains(&from) {
        from += 1;
    }
    while from < to && redacted.contains(&to) {
        to -= 1;
    }
    (from <= to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_says_what_was_written_on_it() {
        let mark = Mark {
            sequence: 4711,
            stored: "2026-11-29T08:00:00Z".to_owned(),
            by: "vera, command line of laptop-7".to_owned(),
            at: "2026-11-30T08:00:00Z".to_owned(),
            why: "asked by\nthe person".to_owned(),
        };
        let mut headers = HeaderMap::new();
        assert!(!is_envelope(Some(&headers)));
        mark.write(&mut headers);
        assert!(is_envelope(Some(&headers)));
        let expected = Mark {
            why: "asked by the person".to_owned(),
            ..mark
        };
        assert_eq!(Mark::read(&headers), Some(expected));
        headers.insert(REDACTED.clone(), "yes");
        assert!(!is_envelope(Some(&headers)) && Mark::read(&headers).is_none());
    }

    #[test]
    fn what_was_redacted_is_not_lost() {
        let redacted = BTreeSet::from([3, 4, 7, 9]);
        assert_eq!(without(&redacted, 3, 4), None);
        assert_eq!(without(&redacted, 4, 4), None);
        assert_eq!(without(&redacted, 3, 9), Some((5, 8)));
        assert_eq!(without(&redacted, 1, 2), Some((1, 2)));
        assert_eq!(without(&redacted, 9, 10), Some((10, 10)));
    }
}
