//! Takes a manifest, gives the partitions that are this host's, and the slots of each.
//!
//! Every host takes every partition of its plug-ins: the newest claim wins, and the fence in
//! the ledger keeps the others from writing. Leases that spread partitions over hosts come on
//! top of that; they are about liveness, never about what is right.

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

#[cfg(test)]
mod tests {
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
}
