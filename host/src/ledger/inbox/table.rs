//! Takes ids that are hashes already, gives a set of them that takes little more room than they do.
//!
//! Open addressing with linear probing. An id's own first bytes say where it belongs, and the
//! table grows by a fifth at a time: between 19 and 23 bytes an id, where the standard set
//! takes 21 to 41.

use super::InboxId;

/// A place without an id. No event has this id: it would be a SHA-256 that begins with 128
/// zero bits.
const EMPTY: InboxId = [0; 16];
const LEAST: usize = 16;

/// A set of ids.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: Vec<InboxId>,
    len: usize,
}

impl Table {
    /// How many ids are in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether the id is in it.
    pub(super) fn contains(&self, id: &InboxId) -> bool {
        self.find(id).is_ok()
    }

    /// Puts the id in, if it is not.
    pub(super) fn insert(&mut self, id: InboxId) {
        if self.is_full() {
            self.grow();
        }
        if let Err(free) = self.find(&id)
            && let Some(place) = self.places.get_mut(free)
        {
            *place = id;
            self.len += 1;
        }
    }

    /// More than 85 of 100 places have an id.
    fn is_full(&self) -> bool {
        self.places.len() * 85 <= self.len * 100
    }

    fn grow(&mut self) {
        let more = (self.places.len() + self.places.len() / 5).max(LEAST);
        let ids = std::mem::replace(&mut self.places, vec![EMPTY; more]);
        self.len = 0;
        for id in ids.into_iter().filter(|id| *id != EMPTY) {
            self.insert(id);
        }
    }

    /// Where the id is, or where it would go. There is always an empty place.
    fn find(&self, id: &InboxId) -> Result<usize, usize> {
        let home = self.home(id);
        let (before, from) = self.places.split_at(home);
        let ends_here = |place: &&InboxId| *place == id || **place == EMPTY;
        let behind = from.iter().position(|place| ends_here(&place));
        let at = match behind {
            Some(steps) => home + steps,
            None => before
                .iter()
                .position(|place| ends_here(&place))
                .unwrap_or(home),
        };
        if self.places.get(at) == Some(id) {
            Ok(at)
        } else {
            Err(at)
        }
    }

    /// The first 64 bits of an id, as a part of the table's length.
    fn home(&self, id: &InboxId) -> usize {
        let [a, b, c, d, e, f, g, h, ..] = *id;
        let first = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let home = (u128::from(first) * self.places.len() as u128) >> 64;
        // Less than the length.
        usize::try_from(home).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn id(n: u64) -> InboxId {
        let digest = Sha256::digest(n.to_le_bytes());
        *digest.first_chunk().expect("32 bytes")
    }

    #[test]
    fn an_id_takes_at_most_24_bytes() {
        let mut table = Table::default();
        for n in 0..300_000 {
            table.insert(id(n));
            if 1_000 <= n {
                let bytes = table.places.capacity() * size_of::<InboxId>();
                assert!(bytes <= table.len() * 24, "{bytes} bytes for {n} ids");
            }
        }
        assert_eq!(table.len(), 300_000);
        assert!((0..300_000).all(|n| table.contains(&id(n))));
        assert!((300_000..310_000).all(|n| !table.contains(&id(n))));
    }

    proptest! {
        /// As the standard set, whatever the ids: also where all belong to the same place.
        #[test]
        fn it_is_a_set(ids in prop::collection::vec((0u8..4, 1u8..60), 0..400)) {
            let ids = ids.into_iter().map(|(first, last)| {
                let mut id = [0; 16];
                id[0] = first * 85;
                id[15] = last;
                id
            });
            let (mut table, mut model) = (Table::default(), HashSet::new());
            for id in ids {
                prop_assert_eq!(table.contains(&id), model.contains(&id));
                table.insert(id);
                model.insert(id);
                prop_assert!(table.contains(&id));
                prop_assert_eq!(table.len(), model.len());
            }
        }
    }
}
