//! Takes an event and its subject, gives whether this plug-in handles it, and in which lane.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::event::Event;
use crate::lane::LaneId;
use crate::manifest::{Manifest, Ordering, subject_matches};
use crate::plugin::emit::{MAX_HOPS, hops};

/// Where replayed dead letters go: `d365.replay.<plugin>.<slot>`.
pub const REPLAY_PREFIX: &str = "d365.replay.";

/// What is to be done with an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    /// Hand it to the plug-in, in the lane of this key.
    Deliver {
        /// The partition key.
        key: String,
    },
    /// It does not concern this plug-in.
    Skip,
    /// It has passed too many plug-ins.
    Loop {
        /// How many.
        hops: i32,
    },
}

/// Routes one event to one plug-in.
pub fn route(manifest: &Manifest, subject: &str, event: &Event) -> Route {
    if let Some(rest) = subject.strip_prefix(REPLAY_PREFIX) {
        let plugin = rest.split('.').next().unwrap_or_default();
        if plugin != manifest.name {
            return Route::Skip;
        }
        // It passed the subscription when it came for the first time.
        return Route::Deliver {
            key: event.partition_key().to_owned(),
        };
    }
    let types = &manifest.subscribe.types;
    if !types.is_empty()
        && !types
            .iter()
            .any(|pattern| pattern.matches(&event.event_type))
    {
        return Route::Skip;
    }
    let hops = hops(event);
    if MAX_HOPS <= hops {
        return Route::Loop { hops };
    }
    Route::Deliver {
        key: event.partition_key().to_owned(),
    }
}

/// The lane of a delivery.
pub fn lane(ordering: Ordering, key: &str, sequence: u64) -> LaneId {
    match ordering {
        Ordering::Key => {
            let mut hash = DefaultHasher::new();
            key.hash(&mut hash);
            hash.finish()
        }
        Ordering::None => sequence,
        Ordering::Strict => 0,
    }
}

/// The subjects that the plug-in's consumer reads: its subscription, and its replays.
pub fn subjects(manifest: &Manifest, slots: &[u8]) -> Vec<String> {
    let mut subjects = manifest.filter_subjects(slots);
    let replays: Vec<String> = if slots.len() == 16 {
        vec![format!("{REPLAY_PREFIX}{}.*", manifest.name)]
    } else {
        slots
            .iter()
            .map(|slot| format!("{REPLAY_PREFIX}{}.{slot}", manifest.name))
            .collect()
    };
    for replay in replays {
        let covered = subjects
            .iter()
            .any(|subject| subject_matches(subject, &replay.replace('*', "0")));
        if !covered {
            subjects.push(replay);
        }
    }
    subjects
}
