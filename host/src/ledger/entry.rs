//! Takes a position and the ids that a commit finished, gives the body of a log message, and back.

use serde::{Deserialize, Serialize};

use super::inbox::InboxId;
use super::position::Packed;

/// The first byte of every log message; another layout gets another number.
const LAYOUT: u8 = 1;

/// One message on `ledger.<plugin>.<partition>.log`: one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The process that wrote it, made anew at every start.
    pub owner: [u8; 16],
    /// Counts the owner's commits on this subject: with `owner` it tells a writer whether a
    /// commit whose answer was lost has landed.
    pub number: u64,
    /// Where the partition stands after this commit.
    pub position: Packed,
    /// The events that this commit finished.
    pub finished: Vec<InboxId>,
}

/// Why a log message could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Written by another version of the host.
    #[error(
        "log entry has layout {found}, this host reads {LAYOUT}; run the version that wrote it"
    )]
    Layout {
        /// The first byte that was found.
        found: u8,
    },
    /// No bytes at all.
    #[error("log entry is empty")]
    Empty,
    /// The bytes are not an entry.
    #[error("log entry cannot be read")]
    Body(#[source] postcard::Error),
}

impl Entry {
    /// The message's body.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = vec![LAYOUT];
        // Writing to a Vec has no way to fail: the layout has no maps and no unsized sequences.
        if let Ok(bytes) = postcard::to_stdvec(self) {
            body.extend_from_slice(&bytes);
        }
        body
    }

    /// The entry that was encoded.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        match body.split_first() {
            None => Err(Error::Empty),
            Some((&LAYOUT, rest)) => postcard::from_bytes(rest).map_err(Error::Body),
            Some((&found, _)) => Err(Error::Layout { found }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            owner in any::<[u8; 16]>(), number in any::<u64>(), last in any::<u64>(),
            runs in prop::collection::vec(any::<u64>(), 0..50), floor in any::<u64>(),
            finished in prop::collection::vec(any::<[u8; 16]>(), 0..50),
        ) {
            let entry = Entry { owner, number, position: Packed { last, runs, floor }, finished };
            prop_assert_eq!(Entry::decode(&entry.encode()).expect("own bytes"), entry);
        }

        #[test]
        fn junk_is_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entry::decode(&bytes);
        }
    }

    #[test]
    fn another_layout_says_so() {
        let error = Entry::decode(&[9, 0, 0]).expect_err("layout 9");
        assert!(error.to_string().contains("layout 9"));
    }
}
