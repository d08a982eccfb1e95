//! Takes the leases and the hosts' answers, finds hosts that are gone, silent, or two of one name.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::jetstream::Context;

use super::finding::About;
use crate::operations::fleet::{self, Row};
use crate::roster::Answer;

/// What the hosts say of their plug-ins; nothing where they cannot be asked.
pub(super) async fn look(context: &Context, about: &mut About<'_>) -> Vec<Answer> {
    let asked = async {
        let rows = fleet::hosts(context).await?;
        let (answers, _) = fleet::answers(context).await?;
        anyhow::Ok((rows, answers))
    };
    let (rows, answers) = match asked.await {
        Ok(both) => both,
        Err(error) => {
            let todo = "start `sluice run` on this broker";
            about.fail(format!("the hosts cannot be asked for: {error:#}"), todo);
            return Vec::new();
        }
    };
    let answered: BTreeSet<&str> = answers.iter().map(|one| one.host_id.as_str()).collect();
    let is_there = |row: &&Row| row.alive || answered.contains(row.lease.id.as_str());
    let there: Vec<&Row> = rows.iter().filter(is_there).collect();
    for row in rows.iter().filter(|row| !is_there(row)) {
        gone(row, about);
    }
    if there.is_empty() {
        about.fail(
            "no host is alive, so events wait in the store",
            "start `sluice run`; its log says what stands in the way",
        );
        return answers;
    }
    for row in &there {
        if !answered.contains(row.lease.id.as_str()) {
            about.warn(
                format!("{} does not answer, though it was heard of", row.lease.name),
                "see its log, and whether its machine is out of processor time or memory",
            );
        }
    }
    twins(&there, about);
    partitions(&there, about);
    versions(&there, about);
    let names: Vec<&str> = there.iter().map(|row| row.lease.name.as_str()).collect();
    about.ok(format!("alive: {}", names.join(", ")));
    answers
}

fn gone(row: &Row, about: &mut About<'_>) {
    let ago = row.seen_ms_ago / 1_000;
    about.fail(
        format!(
            "{} (process {}) was last heard of {ago} s ago and said no goodbye",
            row.lease.name,
            row.lease.id.get(..8).unwrap_or(&row.lease.id)
        ),
        "see the end of its log and whether its machine is up, and start it again; other hosts \
         have its partitions meanwhile. A minute after its last word it is forgotten",
    );
}

fn twins(there: &[&Row], about: &mut About<'_>) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for row in there {
        *names.entry(&row.lease.name).or_default() += 1;
    }
    for (name, count) in names.into_iter().filter(|(_, count)| 1 < *count) {
        about.fail(
            format!("{count} hosts are called {name}"),
            "give each its own host.name and restart it: logs and metrics cannot be told apart",
        );
    }
}

fn partitions(there: &[&Row], about: &mut About<'_>) {
    let running = there.iter().flat_map(|row| &row.lease.running);
    let running: BTreeSet<&String> = running.collect();
    let mut offered: BTreeMap<&str, u8> = BTreeMap::new();
    for (plugin, count) in there.iter().flat_map(|row| &row.lease.plugins) {
        offered.insert(plugin, *count);
    }
    let mut idle = Vec::new();
    for (plugin, count) in offered {
        let names = (0..count).map(|number| format!("{plugin}/{number}"));
        idle.extend(names.filter(|name| !running.contains(name)));
    }
    if !idle.is_empty() {
        about.warn(
            format!("run by no host: {}", idle.join(", ")),
            "wait a few seconds and look again, for partitions are handed over in that time; then \
             see `reasons` of /readyz, and the hosts' logs",
        );
    }
}

fn versions(there: &[&Row], about: &mut About<'_>) {
    let versions: BTreeSet<&str> = there.iter().map(|row| row.lease.version.as_str()).collect();
    if 1 < versions.len() {
        let versions: Vec<&str> = versions.into_iter().collect();
        about.warn(
            format!("hosts of several versions: {}", versions.join(", ")),
            "bring them to one, unless that is what you are doing now",
        );
    }
}
