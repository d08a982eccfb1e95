//! Takes a stream as it is and as it should be, gives where they differ.

use std::fmt::Debug;

use async_nats::jetstream::stream::Config;

/// One setting that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) setting: &'static str,
    pub(super) found: String,
    pub(super) wanted: String,
    /// Promises hang on it, and not only sizes.
    pub(super) is_grave: bool,
}

/// The settings of `found` that are not those of `wanted`; `sizes` tells whether those that
/// come from the daemon's file are known.
pub(super) fn differences(found: &Config, wanted: &Config, sizes: bool) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut compare = |setting, is_grave, found: &dyn Debug, wanted: &dyn Debug| {
        let (found, wanted) = (format!("{found:?}"), format!("{wanted:?}"));
        if found != wanted {
            all.push(Difference {
                setting,
                found,
                wanted,
                is_grave,
            });
        }
    };
    let flags = |of: &Config| {
        [
            ("allow_atomic", of.allow_atomic_publish),
            ("allow_direct", of.allow_direct),
            ("allow_msg_ttl", of.allow_message_ttl),
            ("allow_msg_schedules", of.allow_message_schedules),
            ("allow_rollup_hdrs", of.allow_rollup),
        ]
    };
    for ((flag, found), (_, wanted)) in flags(found).into_iter().zip(flags(wanted)) {
        // What is allowed beyond that hurts nothing.
        if wanted {
            compare(flag, true, &found, &wanted);
        }
    }
    compare("subjects", true, &found.subjects, &wanted.subjects);
    compare("discard", true, &found.discard, &wanted.discard);
    compare("retention", true, &found.retention, &wanted.retention);
    compare("no_ack", true, &found.no_ack, &wanted.no_ack);
    compare("sealed", true, &found.sealed, &wanted.sealed);
    let transform = (&found.subject_transform, &wanted.subject_transform);
    compare("subject_transform", true, transform.0, transform.1);
    compare("sources", true, &sources(found), &sources(wanted));
    // None is said as 0 or as -1.
    let per_subject = |of: &Config| of.max_messages_per_subject.max(0);
    let counts = |of: &Config| of.max_messages.max(0);
    let largest = |of: &Config| of.max_message_size.max(0);
    compare(
        "max_msgs_per_subject",
        true,
        &per_subject(found),
        &per_subject(wanted),
    );
    compare("max_msgs", true, &counts(found), &counts(wanted));
    compare("max_msg_size", true, &largest(found), &largest(wanted));
    if sizes {
        let bytes = |of: &Config| of.max_bytes.max(0);
        compare("max_bytes", false, &bytes(found), &bytes(wanted));
        compare("max_age", false, &found.max_age, &wanted.max_age);
        compare(
            "num_replicas",
            false,
            &found.num_replicas,
            &wanted.num_replicas,
        );
        // Without a word the broker takes two minutes.
        if !wanted.duplicate_window.is_zero() {
            let windows = (found.duplicate_window, wanted.duplicate_window);
            compare("duplicate_window", false, &windows.0, &windows.1);
        }
    }
    all
}

/// Stream and transforms of each.
fn sources(of: &Config) -> Vec<(String, Vec<(String, String)>)> {
    let sources = of.sources.iter().flatten();
    sources
        .map(|source| {
            let transforms = source.subject_transforms.iter();
            let transforms = transforms.map(|one| (one.source.clone(), one.destination.clone()));
            (source.name.clone(), transforms.collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::jetstream::stream::DiscardPolicy;

    use super::*;
    use crate::broker;
    use crate::config;

    #[test]
    fn a_stream_as_it_should_be_differs_in_nothing() {
        for wanted in broker::wanted(&config::Config::default()) {
            // The broker writes out what was left out.
            let found = Config {
                max_messages: -1,
                max_message_size: -1,
                max_messages_per_subject: match wanted.max_messages_per_subject {
                    0 => -1,
                    some => some,
                },
                duplicate_window: wanted.duplicate_window.max(Duration::from_secs(120)),
                deny_purge: true,
                ..wanted.clone()
            };
            assert_eq!(differences(&found, &wanted, true), []);
        }
    }

    #[test]
    fn sizes_are_looked_at_only_where_they_are_known_and_are_less_grave() {
        let [wanted, ..] = broker::wanted(&config::Config::default());
        let found = Config {
            discard: DiscardPolicy::Old,
            max_age: Duration::from_secs(60),
            sources: None,
            ..wanted.clone()
        };
        let names = |sizes| {
            let all = differences(&found, &wanted, sizes);
            all.iter()
                .map(|one| (one.setting, one.is_grave))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(false), [("discard", true), ("sources", true)]);
        assert_eq!(
            names(true),
            [("discard", true), ("sources", true), ("max_age", false)]
        );
    }
}
