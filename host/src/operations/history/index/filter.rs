//! Takes what stands in a block of the event store, gives whether something may stand there: a Bloom
//! filter, which errs on one side only.

use sha2::{Digest, Sha256};

use crate::digest::first;

/// Bits for each thing that stands there, and bits that each sets: two in ten thousand are found
/// where they do not stand. A store of ten million events has 2,400 blocks, and each that is
/// read for nothing takes a search a tenth of a second. A file with fewer bits is read as it is.
const BITS: usize = 20;
const EACH: u64 = 7;

/// What an event is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Id,
    Key,
    Type,
    Correlation,
}

/// The hash of an attribute's value.
pub(super) fn hash(of: Of, value: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update([match of {
        Of::Id => b'i',
        Of::Key => b'k',
        Of::Type => b't',
        Of::Correlation => b'c',
    }]);
    hash.update(value);
    u64::from_be_bytes(first(&hash.finalize()))
}

/// The bits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Filter(Vec<u8>);

impl Filter {
    /// Of all of these.
    pub(super) fn of(hashes: impl ExactSizeIterator<Item = u64>) -> Self {
        let mut filter = Self(vec![0; (hashes.len() * BITS).div_ceil(8)]);
        for hash in hashes {
            for (byte, bit) in places(hash, filter.0.len()) {
                if let Some(byte) = filter.0.get_mut(byte) {
                    *byte |= bit;
                }
            }
        }
        filter
    }

    /// As it was written.
    pub(super) fn read(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it may stand there; where not, it does not.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        !self.0.is_empty()
            && places(hash, self.0.len())
                .all(|(byte, bit)| self.0.get(byte).is_some_and(|byte| byte & bit != 0))
    }
}

/// The byte and the bit of each place (Kirsch and Mitzenmacher, "Less Hashing, Same Performance").
fn places(hash: u64, bytes: usize) -> impl Iterator<Item = (usize, u8)> {
    let (one, other) = (hash >> 32, hash & 0xffff_ffff | 1);
    let bits = (bytes as u64 * 8).max(1);
    (0..EACH).map(move |number| {
        let place = one.wrapping_add(number.wrapping_mul(other)) % bits;
        (usize::try_from(place / 8).unwrap_or(0), 1 << (place % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_there_is_found_and_little_else() {
        let hashes: Vec<u64> = (0..5_000).map(|n| hash(Of::Id, &n.to_string())).collect();
        let filter = Filter::of(hashes.iter().copied());
        let filter = Filter::read(filter.bytes());
        assert!(hashes.iter().all(|hash| filter.may_have(*hash)));
        let others = (0..5_000).filter(|n| filter.may_have(hash(Of::Key, &n.to_string())));
        let wrong = others.count();
        assert!(wrong < 10, "{wrong} of 5000");
    }

    #[test]
    fn nothing_stands_in_an_empty_block() {
        assert!(!Filter::of(std::iter::empty()).may_have(1));
        assert!(!Filter::default().may_have(0));
    }
}
