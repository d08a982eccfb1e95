//! Takes a plug-in, gives what it hears, as the hosts say that run it; or why nothing would be handled.

use async_nats::jetstream::Context;

use crate::manifest::reduce;
use crate::manifest::subject::concrete;
use crate::operations::fleet;
use crate::ownership::SLOTS;
use crate::roster::{Answer, Entry};

/// Why a plug-in is not to be given anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No host has it.
    #[error("no host runs {0}; `sluice plugins` shows what runs")]
    Nowhere(String),
    /// Nor do those that answer.
    #[error("none of the hosts that answer runs {plugin}; {silent} does not answer")]
    Silent {
        /// The plug-in.
        plugin: String,
        /// Hosts.
        silent: String,
    },
    /// It is paused.
    #[error("{0} is paused; `sluice resume {0}` has it handle events again")]
    Paused(String),
    /// What it emits would not be dropped.
    #[error(
        "host {host} runs {plugin} and is of an earlier version, which cannot replay history \
         without effects; bring it up to date first"
    )]
    Earlier {
        /// The host.
        host: String,
        /// The plug-in.
        plugin: String,
    },
    /// It takes events in the order of the store and no other.
    #[error(
        "{0} is a projection, whose rows are made of the events in their order; `sluice \
         projections rebuild {0}` makes them anew from the beginning of the store"
    )]
    Projection(String),
    /// It is being swapped.
    #[error(
        "the hosts run builds of {0} that subscribe to different events; try again when all run \
         the same"
    )]
    Different(String),
}

/// What a plug-in hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    /// As filters, of which no two overlap.
    pub(super) subjects: Vec<String>,
    /// None for all.
    pub(super) types: Vec<String>,
    /// Shares.
    pub(super) partitions: u8,
    /// Whether each event waits for the one before it, whatever its key.
    pub(super) is_strict: bool,
}

/// Asks the hosts.
///
/// # Errors
/// When they cannot be asked, or the plug-in would not handle anything.
pub(super) async fn ask(context: &Context, plugin: &str) -> Result<Subscription, super::Error> {
    let (answers, silent) = fleet::answers(context).await?;
    Ok(agreed(&answers, &silent, plugin)?)
}

fn agreed(answers: &[Answer], silent: &[String], plugin: &str) -> Result<Subscription, Error> {
    let name = || plugin.to_owned();
    let mut agreed = None;
    for answer in answers {
        let Some(entry) = answer.plugins.iter().find(|entry| entry.plugin == plugin) else {
            continue;
        };
        if entry.projection.is_some() {
            return Err(Error::Projection(name()));
        }
        if entry.paused {
            return Err(Error::Paused(name()));
        }
        let host = answer.host.clone();
        let said = said(entry).ok_or_else(|| Error::Earlier {
            host,
            plugin: name(),
        })?;
        if agreed
            .replace(said.clone())
            .is_some_and(|other| other != said)
        {
            return Err(Error::Different(name()));
        }
    }
    agreed.ok_or_else(|| match silent.is_empty() {
        true => Error::Nowhere(name()),
        false => Error::Silent {
            plugin: name(),
            silent: silent.join(", "),
        },
    })
}

/// What one host says; none where it does not say all of it.
fn said(entry: &Entry) -> Option<Subscription> {
    let limits = entry.limits.as_ref()?;
    let slots: Vec<u8> = (0..SLOTS).collect();
    let subjects = limits.subjects.iter();
    let subjects = subjects.flat_map(|subject| concrete(subject, &slots));
    Some(Subscription {
        subjects: reduce(subjects.collect()),
        types: limits.types.clone()?,
        partitions: limits.partitions.max(1),
        is_strict: limits.ordering == "strict",
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(host: &str, paused: bool, types: &Value) -> Answer {
        let answer = json!({
            "host": host, "host_id": host, "refused": {},
            "plugins": [{
                "plugin": "watch", "version": "1.0.0", "digest": "", "generation": 1, "since": "",
                "file": "", "paused": paused, "partitions": [],
                "done": 0, "duplicate": 0, "retry": 0, "dead": 0, "in_flight": 0, "parked": 0,
                "blocked": 0, "lag": 0, "memory_bytes": 0,
                "limits": {
                    "ordering": "strict", "max_in_flight": 1, "partitions": 2, "timeout_ms": 1,
                    "max_attempts": 1, "on_exhausted": "", "memory": 1, "isolation": "warm",
                    "subjects": ["d365.*.*.record.*.*", "d365.*.*.record.account.*"],
                    "types": types, "emit": [], "http": []
                }
            }]
        });
        serde_json::from_value(answer).expect("an answer")
    }

    #[test]
    fn hosts_that_agree_say_what_it_hears() {
        let answers = [
            answer("a", false, &json!(["t*"])),
            answer("b", false, &json!(["t*"])),
        ];
        let expected = Subscription {
            subjects: vec!["d365.*.*.record.*.*.*".to_owned()],
            types: vec!["t*".to_owned()],
            partitions: 2,
            is_strict: true,
        };
        assert_eq!(agreed(&answers, &[], "watch"), Ok(expected));
    }

    #[test]
    fn who_would_not_handle_it_is_named() {
        let said = |answers: &[Answer], silent: &[String]| {
            let error = agreed(answers, silent, "watch").expect_err("refused");
            error.to_string()
        };
        let all = json!([]);
        assert!(said(&[], &[]).starts_with("no host runs watch"));
        assert!(said(&[], &["b".to_owned()]).contains("b does not answer"));
        assert!(said(&[answer("a", true, &all)], &[]).contains("sluice resume watch"));
        assert!(said(&[answer("a", false, &Value::Null)], &[]).contains("host a runs watch"));
        let two = [answer("a", false, &all), answer("b", false, &json!(["t"]))];
        assert!(said(&two, &[]).contains("different events"));
    }
}
