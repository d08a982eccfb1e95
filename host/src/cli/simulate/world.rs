//! Takes a seed, gives the simulated organization: its people, its records and what is in them.
//!
//! What stands in a column is computed from the record's number and version and kept nowhere,
//! so that the image before one change is the image after the one before it.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use uuid::Uuid;

use super::catalog::TABLES;
use super::table::Table;

/// Records of each table that are there at the start.
const AT_FIRST: u32 = 1_000;
/// Every so many versions a column changes; so an update changes that part of the columns.
const CHANGES_EVERY: u32 = 5;
const USERS: u64 = 12;

#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: ChaCha8Rng,
    seed: u64,
    /// The records of each of [`TABLES`].
    live: [Vec<Record>; TABLES.len()],
    /// The number that the next record of each table gets.
    next: [u32; TABLES.len()],
    start_ms: i64,
}

/// A record at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    table: usize,
    number: u32,
    /// 0 when created, one more with each update.
    version: u32,
}

impl World {
    pub(super) fn new(seed: u64, start_ms: i64) -> Self {
        let live = std::array::from_fn(|table| {
            (0..AT_FIRST)
                .map(|number| Record {
                    table,
                    number,
                    version: 0,
                })
                .collect()
        });
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            seed,
            live,
            next: [AT_FIRST; TABLES.len()],
            start_ms,
        }
    }

    pub(super) fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// True `percent` times of a hundred.
    pub(super) fn chance(&mut self, percent: f64) -> bool {
        self.rng.random_bool((percent / 100.0).clamp(0.0, 1.0))
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.rng.random_range(0..bound.max(1))
    }

    /// One that no other event has.
    pub(super) fn fresh_guid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.rng.random()).into_uuid()
    }

    /// The same guid for the same name and number, everywhere in one world.
    pub(super) fn guid(&self, name: &str, number: u64) -> Uuid {
        guid(self.seed, name, number)
    }

    pub(super) fn user(&mut self) -> Uuid {
        let number = self.below(USERS);
        self.guid("systemuser", number)
    }

    pub(super) fn create(&mut self) -> Record {
        let table = self.table();
        let (Some(records), Some(next)) = (self.live.get_mut(table), self.next.get_mut(table))
        else {
            unreachable!("there is a place for each table")
        };
        let record = Record {
            table,
            number: *next,
            version: 0,
        };
        *next += 1;
        records.push(record);
        record
    }

    /// Changes a record, a popular one sooner than another; gives it as it is afterwards.
    pub(super) fn update(&mut self) -> Record {
        let (table, place) = self.popular();
        let record = self
            .live
            .get_mut(table)
            .and_then(|records| records.get_mut(place));
        let record = record.expect("a place among the records");
        record.version += 1;
        *record
    }

    /// A record, a popular one sooner than another.
    pub(super) fn some_record(&mut self) -> Record {
        let (table, place) = self.popular();
        let record = self.live.get(table).and_then(|records| records.get(place));
        *record.expect("a place among the records")
    }

    /// Takes a record away, any one as soon as another; the youngest takes its place.
    pub(super) fn delete(&mut self) -> Record {
        let table = self.table();
        let count = self.live.get(table).map_or(0, Vec::len);
        let place = self.rng.random_range(0..count);
        let records = self.live.get_mut(table).expect("a place for each table");
        if count == 1 {
            return records.first().copied().expect("the last one");
        }
        records.swap_remove(place)
    }

    fn table(&mut self) -> usize {
        self.rng.random_range(0..TABLES.len())
    }

    /// The n-th record comes in proportion to 1/n (Zipf's law with exponent 1): of a thousand,
    /// the first one in a tenth of the cases.
    fn popular(&mut self) -> (usize, usize) {
        let table = self.table();
        let count = self.live.get(table).map_or(1, Vec::len);
        (table, rank(&mut self.rng, count))
    }
}

/// Below `count`, in proportion to 1/(n + 1).
pub(super) fn rank(rng: &mut ChaCha8Rng, count: usize) -> usize {
    let exponent: f64 = rng.random();
    let rank = ((count as f64 + 1.0).powf(exponent) - 1.0).floor();
    // Not negative and at most `count`, which is far below 2^53.
    (rank as usize).min(count.saturating_sub(1))
}

impl Record {
    pub(super) fn table(&self) -> &'static Table {
        TABLES.get(self.table).expect("the number of a table")
    }

    /// The primary name column is never cleared and stays what it is.
    pub(super) fn changes(&self, column: usize) -> bool {
        0 < column
            && self.version != 0
            && (self.version + offset(column)).is_multiple_of(CHANGES_EVERY)
    }

    /// The record as it was before its newest change.
    pub(super) fn before(self) -> Self {
        Self {
            version: self.version.saturating_sub(1),
            ..self
        }
    }

    /// What stands in a column, as a number from which its value is made.
    pub(super) fn value(&self, world: &World, column: usize) -> u64 {
        let generation = match column {
            0 => 0,
            column => (self.version + offset(column)) / CHANGES_EVERY,
        };
        let place = (self.table as u64) << 8 | column as u64;
        mix(mix(world.seed ^ place << 40 ^ u64::from(self.number)) ^ u64::from(generation))
    }

    pub(super) fn id(&self, world: &World) -> Uuid {
        world.guid(self.table().name, u64::from(self.number))
    }

    /// A number that grows with every change, as text on the wire.
    pub(super) fn row_version(&self) -> u64 {
        8_000_000 + u64::from(self.number) * 977 + u64::from(self.version)
    }
}

fn offset(column: usize) -> u32 {
    u32::try_from(column).unwrap_or_default()
}

/// A guid as SQL Server makes them in sequence: the first part differs from record to record.
fn guid(seed: u64, name: &str, number: u64) -> Uuid {
    let place = name
        .bytes()
        .fold(seed, |hash, byte| mix(hash ^ u64::from(byte)));
    let first = (number as u32).wrapping_mul(0x9E37_79B1) ^ place as u32;
    let rest = mix(place ^ number >> 32).to_be_bytes();
    let [a, b, c, d, ..] = rest;
    Uuid::from_fields(
        first,
        u16::from_be_bytes([a, b]),
        0xf011,
        &[0x80 | c & 0x3f, d, 0x60, 0x45, 0xbd, 0x21, 0x30, 0x99],
    )
}

/// The finalizer of SplitMix64: every bit of the result hangs on every bit of the argument.
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}
