//! Takes an event and its subject, gives whether this plug-in handles it, and in which lane.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::event::Event;
use crate::lane::LaneId;
use crate::manifest::saga::Belongs;
use crate::manifest::{Manifest, Ordering, subject_matches};
use crate::plugin::emit::{MAX_HOPS, hops};
use crate::plugin::saga::OWN_TYPE;

/// Where replayed dead letters go, and replayed history: `d365.replay.<plugin>.<slot>`.
pub const REPLAY_PREFIX: &str = "d365.replay.";

/// Where what a saga asks of itself goes: `d365.saga.<plugin>.<slot>`.
pub const SAGA_PREFIX: &str = "d365.saga.";

/// The plug-in that a subject is addressed to: replays, and what a saga asks of itself. None for
/// what is there for whoever subscribes.
pub fn addressee(subject: &str) -> Option<&str> {
    let rest = subject.strip_prefix(REPLAY_PREFIX);
    let rest = rest.or_else(|| subject.strip_prefix(SAGA_PREFIX))?;
    rest.split('.').next()
}

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
    if let Some(rest) = subject.strip_prefix(SAGA_PREFIX) {
        let plugin = rest.split('.').next().unwrap_or_default();
        if plugin != manifest.name || manifest.saga.is_none() {
            return Route::Skip;
        }
        return Route::Deliver {
            key: event.partition_key().to_owned(),
        };
    }
    if let Some(rest) = subject.strip_prefix(REPLAY_PREFIX) {
        let plugin = rest.split('.').next().unwrap_or_default();
        if plugin != manifest.name {
            return Route::Skip;
        }
        // It passed the subscription when it came for the first time.
        return deliver(manifest, event).unwrap_or_else(|| Route::Deliver {
            key: event.partition_key().to_owned(),
        });
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
    deliver(manifest, event).unwrap_or(Route::Skip)
}

/// In which lane it is handled; none where a saga is not concerned.
fn deliver(manifest: &Manifest, event: &Event) -> Option<Route> {
    let key = match &manifest.saga {
        None => event.partition_key().to_owned(),
        // What only a saga may ask of itself, and came by another way.
        Some(_) if event.event_type.starts_with(OWN_TYPE) => return None,
        Some(saga) => match saga.belongs(event) {
            Belongs::Begins(key) | Belongs::Goes(key) => key,
            // It becomes a dead letter that says what it has not.
            Belongs::Keyless(_) => event.partition_key().to_owned(),
            Belongs::No => return None,
        },
    };
    Some(Route::Deliver { key })
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

/// The subjects that the plug-in's consumer reads: its subscription, its replays, and what a saga
/// asks of itself.
pub fn subjects(manifest: &Manifest, slots: &[u8]) -> Vec<String> {
    let mut subjects = manifest.filter_subjects(slots);
    let mut own: Vec<String> = if slots.len() == 16 {
        vec![format!("{REPLAY_PREFIX}{}.*", manifest.name)]
    } else {
        slots
            .iter()
            .map(|slot| format!("{REPLAY_PREFIX}{}.{slot}", manifest.name))
            .collect()
    };
    if manifest.saga.is_some() {
        own.push(format!("{SAGA_PREFIX}{}.*", manifest.name));
    }
    for replay in own {
        let covered = subjects
            .iter()
            .any(|subject| subject_matches(subject, &replay.replace('*', "0")));
        if !covered {
            subjects.push(replay);
        }
    }
    subjects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::AttributeValue;

    fn manifest(more: &str) -> Manifest {
        let text = format!(
            "[plugin]\nname = \"watch\"\nversion = \"1.0.0\"\n[subscribe]\n{more}\n\
             subjects = [\"d365.dataverse.*.record.account.*\"]\n"
        );
        crate::manifest::parse(&text, "plugin.toml").expect("a manifest")
    }

    fn event(event_type: &str, extensions: &[(&str, AttributeValue)]) -> Event {
        Event {
            id: "1".to_owned(),
            source: "/dataverse/contoso".to_owned(),
            event_type: event_type.to_owned(),
            extensions: extensions
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            ..Event::default()
        }
    }

    const SUBJECT: &str = "d365.dataverse.contoso.record.account.update.3";

    #[test]
    fn the_type_has_to_be_subscribed() {
        let manifest = manifest("types = [\"d365.dataverse.account.update\", \"d365.fno.*\"]");
        let routed = |event_type| route(&manifest, SUBJECT, &event(event_type, &[]));
        let deliver = Route::Deliver {
            key: "1".to_owned(),
        };
        assert_eq!(routed("d365.dataverse.account.update"), deliver);
        assert_eq!(routed("d365.fno.Anything"), deliver);
        assert_eq!(routed("d365.dataverse.account.create"), Route::Skip);
    }

    #[test]
    fn what_goes_in_circles_is_stopped() {
        let hops = |hops| [("sluicehops", AttributeValue::Integer(hops))];
        let manifest = manifest("");
        assert_eq!(
            route(&manifest, SUBJECT, &event("t", &hops(8))),
            Route::Loop { hops: 8 }
        );
        assert!(matches!(
            route(&manifest, SUBJECT, &event("t", &hops(7))),
            Route::Deliver { .. }
        ));
    }

    #[test]
    fn a_replay_is_for_one_plug_in_and_passes_its_subscription() {
        let manifest = manifest("types = [\"d365.dataverse.account.update\"]");
        let other = event("d365.dataverse.account.create", &[]);
        assert_eq!(
            route(&manifest, "d365.replay.someone-else.3", &other),
            Route::Skip
        );
        assert!(matches!(
            route(&manifest, "d365.replay.watch.3", &other),
            Route::Deliver { .. }
        ));
    }

    #[test]
    fn what_a_saga_asks_of_itself_is_for_it_alone_and_comes_by_no_other_way() {
        let saga = "[saga]\n[[saga.start]]\ntype = \"*\"\nkey = \"id\"\n";
        let text = "[plugin]\nname = \"watch\"\nversion = \"1.0.0\"\n[subscribe]\n\
                    subjects = [\"d365.dataverse.*.record.account.*\"]\n";
        let of = |more: &str| {
            let text = format!("{text}{more}");
            crate::manifest::parse(&text, "plugin.toml").expect("a manifest")
        };
        let next = event("sluicegate.saga.next", &[]);
        let deliver = Route::Deliver {
            key: "1".to_owned(),
        };
        assert_eq!(route(&of(saga), "d365.saga.watch.3", &next), deliver);
        assert_eq!(route(&of(saga), "d365.saga.other.3", &next), Route::Skip);
        assert_eq!(route(&of(""), "d365.saga.watch.3", &next), Route::Skip);
        assert_eq!(route(&of(saga), SUBJECT, &next), Route::Skip);
        assert_eq!(addressee("d365.saga.watch.3"), Some("watch"));
        assert_eq!(addressee(SUBJECT), None);
        let share: Vec<u8> = (0..16).collect();
        let read = subjects(&of(saga), &share);
        assert!(read.contains(&"d365.saga.watch.*".to_owned()), "{read:?}");
    }

    #[test]
    fn the_consumer_reads_its_share_and_its_replays() {
        let share: Vec<u8> = (0..16).collect();
        assert_eq!(
            subjects(&manifest(""), &share),
            ["d365.dataverse.*.record.account.*.*", "d365.replay.watch.*"]
        );
    }

    #[test]
    fn lanes_follow_the_ordering() {
        assert_eq!(lane(Ordering::Key, "a", 1), lane(Ordering::Key, "a", 2));
        assert_ne!(lane(Ordering::Key, "a", 1), lane(Ordering::Key, "b", 1));
        assert_ne!(lane(Ordering::None, "a", 1), lane(Ordering::None, "a", 2));
        assert_eq!(
            lane(Ordering::Strict, "a", 1),
            lane(Ordering::Strict, "b", 2)
        );
    }
}
