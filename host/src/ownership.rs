//! Takes the hosts that are there and the plug-ins that each can run, gives every partition its host.
//!
//! Every host works this out for itself and comes to the same result. Where two see different
//! hosts for a moment, both may take a partition over: that costs time, never what is right,
//! since the fence in the ledger lets only the newest claim write.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::ledger::subject::PartitionName;
use crate::manifest::Manifest;

/// How many slots a partition key can fall into.
pub const SLOTS: u8 = 16;

/// One partition and its slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// `0` to `partitions - 1`.
    pub partition: u8,
    /// In order.
    pub slots: Vec<u8>,
}

/// The shares of a plug-in: as many as its manifest says, each with the same number of slots.
pub fn shares(manifest: &Manifest) -> Vec<Share> {
    let partitions = manifest.delivery.partitions;
    let width = SLOTS / partitions;
    (0..partitions)
        .map(|partition| Share {
            partition,
            slots: (partition * width..(partition + 1) * width).collect(),
        })
        .collect()
}

/// A host that may be given partitions.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Of this process.
    pub id: &'a str,
    /// From the config: a host that is started again is given what it had.
    pub name: &'a str,
    /// The plug-ins that it can run, and how many partitions each has.
    pub plugins: &'a BTreeMap<String, u8>,
}

/// Which host each partition belongs to, by its id.
///
/// Rendezvous hashing with a bound: a partition goes to the host that scores highest for it
/// among those that have no more than their share, of the plug-in's partitions and of all.
pub fn spread(hosts: &[Candidate<'_>]) -> BTreeMap<PartitionName, String> {
    let mut partitions = BTreeSet::new();
    for (plugin, count) in hosts.iter().flat_map(|host| host.plugins) {
        partitions.extend((0..*count).map(|partition| PartitionName {
            plugin: plugin.clone(),
            partition,
        }));
    }
    let most = partitions.len().div_ceil(hosts.len().max(1));
    let mut owners = BTreeMap::new();
    let mut load: BTreeMap<&str, usize> = BTreeMap::new();
    let mut load_of: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for name in partitions {
        let able = || {
            hosts
                .iter()
                .filter(|host| host.plugins.contains_key(&name.plugin))
        };
        let of_plugin = able().filter_map(|host| host.plugins.get(&name.plugin));
        let count = of_plugin.copied().max().unwrap_or(0);
        let most_of_plugin = usize::from(count).div_ceil(able().count().max(1));
        let key = |host: &Candidate<'_>| {
            let all = load.get(host.id).copied().unwrap_or(0);
            let of = load_of.get(&(host.id, name.plugin.clone()));
            let over_plugin = most_of_plugin <= of.copied().unwrap_or(0);
            let over = if all < most { 0 } else { all };
            (
                over_plugin,
                over,
                Reverse(score(host, &name)),
                host.id.to_owned(),
            )
        };
        let Some(host) = able().min_by_key(|host| key(host)) else {
            continue;
        };
        *load.entry(host.id).or_default() += 1;
        *load_of.entry((host.id, name.plugin.clone())).or_default() += 1;
        owners.insert(name, host.id.to_owned());
    }
    owners
}

fn score(host: &Candidate<'_>, partition: &PartitionName) -> u64 {
    let digest = Sha256::new()
        .chain_update(host.name)
        .chain_update([0])
        .chain_update(partition.to_string())
        .finalize();
    digest
        .first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_slot_belongs_to_one_partition() {
        for partitions in [1, 2, 4, 8, 16] {
            let text = format!(
                "[plugin]\nname = \"p\"\nversion = \"1.0.0\"\n[subscribe]\n\
                 subjects = [\"d365.custom.x.record.y.update\"]\n[delivery]\npartitions = {partitions}\n"
            );
            let manifest = crate::manifest::parse(&text, "plugin.toml").expect("a manifest");
            let slots: Vec<u8> = shares(&manifest)
                .into_iter()
                .flat_map(|share| share.slots)
                .collect();
            assert_eq!(slots, (0..16).collect::<Vec<u8>>());
        }
    }

    fn owned(hosts: &[(String, BTreeMap<String, u8>)]) -> BTreeMap<PartitionName, String> {
        let candidates: Vec<Candidate<'_>> = hosts
            .iter()
            .map(|(name, plugins)| Candidate {
                id: name,
                name,
                plugins,
            })
            .collect();
        spread(&candidates)
    }

    fn loads(owners: &BTreeMap<PartitionName, String>, plugin: &str) -> Vec<usize> {
        let mut loads: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, host) in owners {
            if name.plugin == plugin || plugin == "*" {
                *loads.entry(host).or_default() += 1;
            }
        }
        loads.into_values().collect()
    }

    #[test]
    fn a_plug_in_goes_only_where_it_can_run() {
        let hosts = [
            ("a".to_owned(), [("p".to_owned(), 4)].into()),
            ("b".to_owned(), BTreeMap::new()),
        ];
        let owners = owned(&hosts);
        assert_eq!(owners.len(), 4);
        assert!(owners.values().all(|host| host == "a"));
        assert!(owned(&[]).is_empty());
    }

    #[test]
    fn the_loss_of_a_host_moves_what_it_had_and_little_else() {
        let plugins: BTreeMap<String, u8> = [("p".to_owned(), 16)].into();
        let host = |name: &str| (name.to_owned(), plugins.clone());
        let before = owned(&[host("a"), host("b"), host("c"), host("d")]);
        let after = owned(&[host("a"), host("b"), host("c")]);
        let moved = before
            .iter()
            .filter(|(name, host)| *host != "d" && after.get(*name) != Some(host));
        assert!(moved.count() <= 4, "{before:?}\n{after:?}");
    }

    proptest! {
        /// Whatever the hosts are: each partition has one of those that can run it, none has
        /// more than its share of a plug-in that all can run, and the order in which the hosts
        /// are named does not matter.
        #[test]
        fn partitions_are_spread_evenly(
            names in prop::collection::btree_set("[a-z]{1,8}", 1..6),
            plugins in prop::collection::btree_map("[a-z]{1,4}", prop::sample::select(vec![1u8, 2, 4, 8, 16]), 0..8),
        ) {
            let mut hosts: Vec<_> = names.iter().map(|name| (name.clone(), plugins.clone())).collect();
            let owners = owned(&hosts);
            let all: usize = plugins.values().map(|count| usize::from(*count)).sum();
            prop_assert_eq!(owners.len(), all);
            for (plugin, count) in &plugins {
                let most = usize::from(*count).div_ceil(hosts.len());
                prop_assert!(loads(&owners, plugin).into_iter().all(|load| load <= most));
            }
            hosts.reverse();
            prop_assert_eq!(owned(&hosts), owners);
        }
    }
}
