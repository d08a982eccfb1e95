//! Takes events, gives the plug-ins that have not handled them yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;

use super::{Error, Plan};
use crate::broker::{LEDGER, open};
use crate::ledger::position::Position;
use crate::ledger::subject;
use crate::ledger::waiting;
use crate::manifest::subject::{concrete, is_subset};
use crate::operations::fleet;
use crate::operations::positions::Positions;
use crate::ownership::SLOTS;
use crate::route::addressee;

/// Who would miss what is redacted.
#[derive(Debug, Default)]
pub struct Unread {
    /// By plug-in, how many events it has not handled, and the first of them.
    pub by: BTreeMap<String, (usize, u64)>,
    /// Hosts that do not say which plug-ins they run.
    pub silent: Vec<String>,
    /// No host is there at all.
    pub is_nobody_there: bool,
}

impl Unread {
    /// Whether every plug-in that runs is known to have handled all of it.
    pub fn is_none(&self) -> bool {
        self.by.is_empty() && self.silent.is_empty() && !self.is_nobody_there
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nobody_there {
            return out.write_str(
                "no host runs, so it cannot be told which plug-ins still wait for these events",
            );
        }
        if !self.silent.is_empty() {
            let silent = self.silent.join(", ");
            return write!(
                out,
                "{silent} does not answer, so it cannot be told what its plug-ins still wait for"
            );
        }
        let each = self.by.iter().map(|(plugin, (count, first))| {
            let events = if *count == 1 { "event" } else { "events" };
            format!("{plugin} has {count} {events} still to handle, the first is {first}")
        });
        out.write_str(&each.collect::<Vec<_>>().join("; "))
    }
}

/// A plug-in that runs, as far as it matters here.
struct Plugin {
    name: String,
    subjects: Vec<String>,
    positions: Positions,
}

/// Asks the hosts which plug-ins run, and the ledger what each has passed.
///
/// # Errors
/// When the hosts cannot be asked, or the ledger cannot be read.
pub async fn unread(context: &Context, plan: &Plan) -> Result<Unread, Error> {
    let mut unread = Unread::default();
    if plan.events.is_empty() {
        return Ok(unread);
    }
    let (answers, silent) = fleet::answers(context).await?;
    unread.is_nobody_there = answers.is_empty() && silent.is_empty();
    unread.silent = silent;
    let ledger = open(context, LEDGER).await?;
    let mut known: BTreeMap<String, (Vec<String>, u8)> = BTreeMap::new();
    let mut projections = Vec::new();
    for entry in answers.into_iter().flat_map(|answer| answer.plugins) {
        let Some(limits) = entry.limits else { continue };
        if let Some(projection) = entry.projection {
            let building = projection.building.map_or(u64::MAX, |one| one.position);
            let position = projection.current.position.min(building);
            projections.push(Plugin::at(entry.plugin, &limits.subjects, position));
            continue;
        }
        let (subjects, partitions) = known.entry(entry.plugin).or_default();
        subjects.extend(limits.subjects);
        *partitions = limits.partitions.max(1);
    }
    let mut plugins = projections;
    for (name, (subjects, partitions)) in known {
        plugins.push(Plugin::read(&ledger, name, &subjects, partitions).await?);
    }
    let waiting = waiting::read(&ledger, &subject::retries(None)).await?;
    let waiting: BTreeSet<(&str, u64)> = waiting
        .iter()
        .flat_map(|((name, place), retry)| {
            let plugin = name.plugin.as_str();
            let places = [Some(*place), retry.replay];
            places.into_iter().flatten().map(move |at| (plugin, at))
        })
        .collect();
    for plugin in &plugins {
        for seen in &plan.events {
            let waits = waiting.contains(&(plugin.name.as_str(), seen.sequence));
            if waits || !plugin.has_passed(&seen.row.subject, seen.sequence) {
                let first = (0, seen.sequence);
                unread.by.entry(plugin.name.clone()).or_insert(first).0 += 1;
            }
        }
    }
    Ok(unread)
}

impl Plugin {
    async fn read(
        ledger: &Stream,
        name: String,
        subjects: &[String],
        partitions: u8,
    ) -> Result<Self, Error> {
        let positions = Positions::read(ledger, &name, partitions).await?;
        Ok(Self {
            subjects: all_slots(subjects),
            name,
            positions,
        })
    }

    /// A projection, whose place its host knows.
    fn at(name: String, subjects: &[String], position: u64) -> Self {
        Self {
            subjects: all_slots(subjects),
            name,
            positions: Positions(vec![Some(Position::at(position))]),
        }
    }

    /// Whether it is through with what stands there, or is not concerned.
    fn has_passed(&self, subject: &str, sequence: u64) -> bool {
        let is_its = match addressee(subject) {
            Some(plugin) => plugin == self.name,
            None => self.subjects.iter().any(|own| is_subset(subject, own)),
        };
        if !is_its {
            return true;
        }
        self.positions.passed(subject, sequence)
    }
}

fn all_slots(subjects: &[String]) -> Vec<String> {
    let slots: Vec<u8> = (0..SLOTS).collect();
    let subjects = subjects.iter();
    subjects
        .flat_map(|subject| concrete(subject, &slots))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(subjects: &[&str], last: &[u64]) -> Plugin {
        Plugin {
            name: "watch".to_owned(),
            subjects: subjects.iter().map(|one| (*one).to_owned()).collect(),
            positions: Positions(last.iter().map(|last| Some(Position::at(*last))).collect()),
        }
    }

    #[test]
    fn what_is_not_its_own_is_passed() {
        let plugin = plugin(&["d365.*.*.record.account.*.*"], &[10]);
        let account = "d365.dataverse.x.record.account.update.3";
        assert!(plugin.has_passed(account, 10) && !plugin.has_passed(account, 11));
        assert!(plugin.has_passed("d365.dataverse.x.record.contact.update.3", 11));
        assert!(plugin.has_passed("d365.replay.other.3", 11));
        assert!(!plugin.has_passed("d365.replay.watch.3", 11));
    }

    #[test]
    fn each_partition_has_its_own_position() {
        let plugin = plugin(&["d365.*.*.record.account.*.*"], &[10, 20]);
        let account = |slot: u8| format!("d365.dataverse.x.record.account.update.{slot}");
        assert!(!plugin.has_passed(&account(7), 15) && plugin.has_passed(&account(8), 15));
        assert!(!plugin.has_passed("d365.replay.watch.0", 15));
        assert!(plugin.has_passed("d365.replay.watch.15", 15));
    }

    #[test]
    fn a_plug_in_without_a_ledger_has_passed_nothing() {
        let plugin = Plugin {
            positions: Positions(vec![None]),
            ..plugin(&["d365.>"], &[])
        };
        assert!(!plugin.has_passed("d365.dataverse.x.record.account.update.3", 1));
    }
}
