//! Takes what each host says of its plug-ins, finds those that do not run, or fall behind.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use sluicegate_saga::Status;

use super::finding::About;
use crate::broker::{EVENTS, read_all};
use crate::cli::connect::stream;
use crate::deployment::{self, Components, Wish};
use crate::leases;
use crate::operations::sagas::list;
use crate::roster::{Answer, Entry};

pub(super) async fn look(context: &Context, answers: &[Answer], about: &mut About<'_>) {
    let max_age = match context.get_stream(EVENTS).await {
        Ok(events) => events.cached_info().config.max_age,
        Err(_) => Duration::ZERO,
    };
    let mut count = 0;
    for answer in answers {
        for (what, why) in &answer.refused {
            about.fail(
                format!("{} refuses {what}: {why}", answer.host),
                "mend the file or the manifest and put it there again, or take it away",
            );
        }
        for entry in &answer.plugins {
            if one(entry, &answer.host, max_age, about) {
                count += 1;
            }
        }
    }
    parked(context, answers, about).await;
    match answers.iter().map(|one| one.plugins.len()).sum::<usize>() {
        0 if answers.is_empty() => {}
        0 => about.warn(
            "no host has a plug-in",
            "put a .wasm file into host.plugins_dir, or `sluice deploy` one",
        ),
        all if all == count => about.ok(format!("{all} run, and are not behind")),
        _ => {}
    }
}

/// Sagas that cannot be undone, and wait for a person.
async fn parked(context: &Context, answers: &[Answer], about: &mut About<'_>) {
    let entries = answers.iter().flat_map(|answer| &answer.plugins);
    let plugins: BTreeSet<&str> = entries
        .filter(|entry| entry.saga)
        .map(|entry| entry.plugin.as_str())
        .collect();
    for plugin in plugins {
        // That the ledger cannot be read is told elsewhere.
        let Ok(parked) = list(context, Some(plugin), &[Status::Parked]).await else {
            continue;
        };
        if let Some(newest) = parked.first() {
            about.warn(
                format!(
                    "{} sagas of {plugin} wait for a person: what they did cannot be undone",
                    parked.len()
                ),
                format!(
                    "`sluice sagas show {plugin} {}` says why; mend that and `sluice sagas retry`, \
                     or do it by hand and `--done-by-hand`",
                    newest.key
                ),
            );
        }
    }
}

/// Whether nothing is wrong with it.
fn one(entry: &Entry, host: &str, max_age: Duration, about: &mut About<'_>) -> bool {
    let (plugin, counts) = (&entry.plugin, &entry.counts);
    let mut is_fine = true;
    let mut warn = |what: String, todo: String| {
        is_fine = false;
        about.warn(what, todo);
    };
    if entry.paused {
        warn(
            format!("{plugin} is paused, with {} events behind", counts.lag),
            format!("`sluice resume {plugin}`, before its events are older than events.max_age"),
        );
    }
    if 0 < counts.blocked {
        warn(
            format!(
                "{plugin}: {} keys wait for an operator on {host}",
                counts.blocked
            ),
            format!(
                "`sluice dlq blocked --plugin {plugin}`, then `sluice dlq replay` or `discard`"
            ),
        );
    }
    if 0 < counts.circuits_open {
        warn(
            format!(
                "{plugin}: the circuits of {} partitions are open on {host}",
                counts.circuits_open
            ),
            "it asks for every event to be tried again: see what it depends on; its events wait, \
             and it goes on by itself"
                .to_owned(),
        );
    }
    if !entry.carrying_over.is_empty() {
        warn(
            format!(
                "{plugin} carries state over: {}",
                entry.carrying_over.join(", ")
            ),
            "wait; where it does not end, `refused` above has the key and the reason".to_owned(),
        );
    }
    let lag = Duration::try_from_secs_f64(entry.lag_seconds).unwrap_or_default();
    if !max_age.is_zero() && max_age / 2 < lag {
        is_fine = false;
        about.fail(
            format!(
                "{plugin} has not read events that are {} old; they leave the store after {}",
                humantime::format_duration(Duration::from_secs(lag.as_secs())),
                humantime::format_duration(max_age)
            ),
            "give it more `partitions` or `max_in_flight`, or resume it, or raise events.max_age \
             until it has caught up: what leaves the store unread is a dead letter `aged-out`",
        );
    }
    is_fine
}

/// That what is wanted on every host can be had there.
pub(super) async fn deployed(context: &Context, about: &mut About<'_>) {
    if let Err(error) = components(context, about).await {
        about.fail(
            format!("what was deployed cannot be looked at: {error:#}"),
            "start `sluice run` on this broker, which makes the bucket and the object store",
        );
    }
}

async fn components(context: &Context, about: &mut About<'_>) -> anyhow::Result<()> {
    let bucket = stream(context, leases::STREAM).await?;
    let mut wishes: Vec<(String, Result<Wish, deployment::Error>)> = Vec::new();
    let newest = DeliverPolicy::LastPerSubject;
    read_all(&bucket, deployment::EVERY_WISH, newest, |message| {
        if let Some(plugin) = deployment::plugin(&message.subject) {
            let wish = deployment::parse(plugin, &message.payload);
            wishes.push((plugin.to_owned(), wish));
        }
    })
    .await?;
    let store = Components::open(context).await?;
    let (mut all, mut missing) = (0, 0);
    for (plugin, wish) in wishes {
        let wish = match wish {
            Ok(wish) => wish,
            Err(error) => {
                let todo = format!("`sluice deploy` it again, or `sluice undeploy {plugin}`");
                about.fail(error.to_string(), todo);
                continue;
            }
        };
        for digest in wish.digests() {
            all += 1;
            if store.has(digest).await? {
                continue;
            }
            missing += 1;
            let is_old = wish.before.iter().any(|old| old.digest == digest);
            let what = format!("{plugin}: the object store `plugins` has no {digest}");
            if is_old {
                about.warn(
                    what,
                    "it cannot be rolled back to; deploy that build anew instead",
                );
            } else {
                let todo = "no host that starts can run it: `sluice deploy` the file again, or \
                            `sluice rollback`";
                about.fail(what, todo);
            }
        }
    }
    if missing == 0 {
        about.ok(format!("{all} builds, and each is there"));
    }
    Ok(())
}
