//! Takes the headers of the event store once, gives where an event with an attribute may stand.
//!
//! The broker finds messages by their subjects alone. This says of each [`BLOCK`] of numbers what
//! may stand there, in some 20 KB, so that a search reads the few blocks that have what it looks for.
//! It is a file beside the store, made of it, and can be thrown away at any time.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use sha2::{Digest, Sha256};

use self::filter::{Filter, Of, hash};
use super::search::row;
use super::{Error, Query, find};
use crate::broker::read;
use crate::decode::{attribute, is_structured};
use crate::digest::first;

mod filter;

/// Numbers of a block; the first block begins with 1.
const BLOCK: u64 = 4_096;
/// A record is the block's first number, whether it may have anything, the length of its filter,
/// the filter, and a checksum of these.
const HEAD: usize = 8 + 1 + 4;
const CHECK: usize = 8;

/// Why there is no index.
#[derive(Debug, thiserror::Error)]
pub enum NoIndex {
    /// The disk does not do it.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] Error),
}

struct Block {
    first: u64,
    /// It has events whose attributes stand in their bodies, which were not read.
    any: bool,
    filter: Filter,
}

/// Of one event store.
pub struct Index {
    path: PathBuf,
    blocks: Vec<Block>,
    /// The first number that it does not speak of.
    next: u64,
}

impl Index {
    /// Reads what is there of this store's, in this folder.
    ///
    /// # Errors
    /// When the folder cannot be made, or the file not be read.
    pub fn open(folder: &Path, events: &Stream) -> Result<Self, NoIndex> {
        let created = events.cached_info().created.unix_timestamp_nanos();
        let path = folder.join(format!("events-{created}.index"));
        let failed = |source| NoIndex::File {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let (blocks, whole) = blocks(&bytes);
        if whole < bytes.len() {
            // The end of a write that was killed.
            let file = OpenOptions::new().write(true).open(&path);
            let cut = file.and_then(|file| file.set_len(whole as u64));
            cut.map_err(failed)?;
        }
        let next = blocks.last().map_or(0, |block| block.first + BLOCK);
        Ok(Self { path, blocks, next })
    }

    /// Reads on to the last whole block, unless another process does; `show` hears how many of how
    /// many numbers are behind it.
    ///
    /// # Errors
    /// When the store cannot be read, or the file not be written.
    pub async fn update(
        &mut self,
        events: &Stream,
        mut show: impl FnMut(u64, u64),
    ) -> Result<(), NoIndex> {
        let path = self.path.clone();
        let failed = |source| NoIndex::File {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = file.map_err(failed)?;
        if file.try_lock().is_err() {
            return Ok(());
        }
        let (first, last) = find::ends(events).await?;
        let start = self.next.max(first.saturating_sub(1) / BLOCK * BLOCK + 1);
        // The first number behind the last whole block.
        let end = last / BLOCK * BLOCK + 1;
        if end <= start {
            return Ok(());
        }
        let what = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: start,
            },
            headers_only: true,
            ..pull::Config::default()
        };
        let none = HeaderMap::new();
        let mut open = Open::at(start);
        let mut broken = None;
        let done = read(events, what, |message| {
            let Ok(info) = message.info() else {
                return ControlFlow::Continue(());
            };
            let sequence = info.stream_sequence;
            if end <= sequence {
                return ControlFlow::Break(());
            }
            if let Err(error) = self.close(&mut open, sequence, &mut file) {
                broken = Some(error);
                return ControlFlow::Break(());
            }
            let headers = message.headers.as_ref().unwrap_or(&none);
            open.take(&message.subject, headers);
            if sequence % BLOCK == 0 {
                show(sequence - start, end - start);
            }
            ControlFlow::Continue(())
        })
        .await;
        done.map_err(Error::from)?;
        let closed = match broken {
            Some(error) => Err(error),
            None => self.close(&mut open, end, &mut file),
        };
        closed.map_err(failed)
    }

    /// Writes the blocks before a number down.
    fn close(&mut self, open: &mut Open, sequence: u64, file: &mut File) -> io::Result<()> {
        while open.first + BLOCK <= sequence {
            let block = std::mem::replace(open, Open::at(open.first + BLOCK)).closed();
            file.write_all(&record(&block))?;
            self.next = block.first + BLOCK;
            self.blocks.push(block);
        }
        Ok(())
    }

    /// Where events that meet the query may stand from `first` to before `end`: from which number to
    /// before which, the newest first.
    pub fn spans(&self, query: &Query, first: u64, end: u64) -> Vec<(u64, u64)> {
        let mut spans = Vec::new();
        if self.next < end {
            spans.push((self.next.max(first), end));
        }
        let wanted = wanted(query);
        for block in self.blocks.iter().rev() {
            let (start, behind) = (block.first.max(first), (block.first + BLOCK).min(end));
            let may_have = |hash: &u64| block.filter.may_have(*hash);
            let may_be = block.any || wanted.iter().all(|one| one.iter().any(may_have));
            if start < behind && may_be {
                spans.push((start, behind));
            }
        }
        spans
    }
}

/// Each of these has one that stands in a block where an event does that meets the query.
fn wanted(query: &Query) -> Vec<Vec<u64>> {
    let mut wanted = Vec::new();
    for (of, value) in [(Of::Id, &query.id), (Of::Key, &query.key)] {
        if !value.is_empty() {
            wanted.push(vec![hash(of, value)]);
        }
    }
    let event_type = &query.event_type;
    if !event_type.is_empty() && !event_type.ends_with('*') {
        wanted.push(vec![hash(Of::Type, event_type)]);
    }
    let correlation = &query.correlation;
    if !correlation.is_empty() {
        let of_one = |of| hash(of, correlation);
        wanted.push(vec![of_one(Of::Correlation), of_one(Of::Id)]);
    }
    wanted
}

/// Whether an index is of use for it.
pub fn is_for(query: &Query) -> bool {
    !wanted(query).is_empty()
}

/// A block that is being read.
struct Open {
    first: u64,
    any: bool,
    hashes: HashSet<u64>,
}

impl Open {
    fn at(first: u64) -> Self {
        Self {
            first,
            any: false,
            hashes: HashSet::new(),
        }
    }

    fn take(&mut self, subject: &str, headers: &HeaderMap) {
        if is_structured(headers) {
            self.any = true;
            return;
        }
        let row = row(0, String::new(), subject, |name| attribute(headers, name));
        for (of, value) in [
            (Of::Id, &row.id),
            (Of::Key, &row.key),
            (Of::Type, &row.event_type),
            (Of::Correlation, &row.correlation),
        ] {
            if !value.is_empty() {
                self.hashes.insert(hash(of, value));
            }
        }
    }

    fn closed(self) -> Block {
        Block {
            first: self.first,
            any: self.any,
            filter: Filter::of(self.hashes.into_iter()),
        }
    }
}

fn record(block: &Block) -> Vec<u8> {
    let filter = block.filter.bytes();
    let mut record = Vec::with_capacity(HEAD + filter.len() + CHECK);
    record.extend_from_slice(&block.first.to_le_bytes());
    record.push(u8::from(block.any));
    let length = u32::try_from(filter.len()).unwrap_or(u32::MAX);
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(filter);
    let check = check(&record);
    record.extend_from_slice(&check);
    record
}

fn check(bytes: &[u8]) -> [u8; CHECK] {
    first(&Sha256::digest(bytes))
}

/// The blocks that are whole, one behind the other, and how many bytes those take.
fn blocks(bytes: &[u8]) -> (Vec<Block>, usize) {
    let (mut blocks, mut at) = (Vec::<Block>::new(), 0);
    while let Some(block) = next(bytes.get(at..).unwrap_or_default()) {
        let follows = blocks
            .last()
            .is_none_or(|before| before.first + BLOCK == block.first);
        if !follows {
            break;
        }
        at += HEAD + block.filter.bytes().len() + CHECK;
        blocks.push(block);
    }
    (blocks, at)
}

fn next(bytes: &[u8]) -> Option<Block> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    let (any, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (filter, rest) = rest.split_at_checked(length)?;
    let (found, _) = rest.split_first_chunk::<CHECK>()?;
    let whole = bytes.get(..HEAD + length)?;
    (check(whole) == *found).then(|| Block {
        first: u64::from_le_bytes(*number),
        any: *any != 0,
        filter: Filter::read(filter),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(blocks: Vec<Block>) -> Index {
        let next = blocks.last().map_or(0, |block| block.first + BLOCK);
        Index {
            path: PathBuf::new(),
            blocks,
            next,
        }
    }

    fn block(first: u64, ids: &[&str]) -> Block {
        let mut open = Open::at(first);
        open.hashes = ids.iter().map(|id| hash(Of::Id, id)).collect();
        open.closed()
    }

    #[test]
    fn what_was_written_is_read_up_to_where_it_was_cut_or_changed() {
        let (one, other) = (block(1, &["a", "b"]), block(1 + BLOCK, &["c"]));
        let mut bytes = [record(&one), record(&other)].concat();
        let whole = bytes.len();
        let (found, read) = blocks(&bytes);
        assert_eq!((found.len(), read), (2, whole));
        assert!(found[1].filter.may_have(hash(Of::Id, "c")));
        let first = record(&one).len();
        for cut in first..whole {
            let (found, read) = blocks(&bytes[..cut]);
            assert_eq!((found.len(), read), (1, first), "{cut}");
        }
        bytes[first + HEAD] ^= 1;
        assert_eq!(blocks(&bytes).1, first);
        // One that does not follow is none of this store's.
        let gap = [record(&one), record(&block(1 + 2 * BLOCK, &[]))].concat();
        assert_eq!(blocks(&gap).1, first);
    }

    #[test]
    fn only_blocks_that_may_have_it_are_looked_at_the_newest_first() {
        let mut blocks = vec![
            block(1, &["a"]),
            block(1 + BLOCK, &["b"]),
            block(1 + 2 * BLOCK, &["a"]),
            block(1 + 3 * BLOCK, &[]),
        ];
        blocks[3].any = true;
        let index = index(blocks);
        let query = Query {
            id: "a".to_owned(),
            ..Query::default()
        };
        let end = 5 * BLOCK;
        let spans = index.spans(&query, 5, end);
        let expected = [
            (1 + 4 * BLOCK, end),
            (1 + 3 * BLOCK, 1 + 4 * BLOCK),
            (1 + 2 * BLOCK, 1 + 3 * BLOCK),
            (5, 1 + BLOCK),
        ];
        assert_eq!(spans, expected);
        assert_eq!(index.spans(&query, 5, 1 + BLOCK), [(5, 1 + BLOCK)]);
    }

    #[test]
    fn an_event_is_correlated_by_its_own_id_too() {
        let query = |correlation: &str, event_type: &str| Query {
            correlation: correlation.to_owned(),
            event_type: event_type.to_owned(),
            ..Query::default()
        };
        let index = index(vec![block(1, &["root"])]);
        assert_eq!(index.spans(&query("root", ""), 1, BLOCK), [(1, BLOCK)]);
        assert_eq!(index.spans(&query("other", ""), 1, BLOCK), []);
        assert!(!is_for(&query("", "d365.*")) && is_for(&query("", "d365.x")));
    }
}
