//! Takes a number, gives a body as Dynamics 365 sends it, another event for each number.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::environment;
use crate::events::Input;
use crate::outputs::{Echo, Stored};

/// `OperationId` and record of `tests/fixtures/dataverse-account-update.json`.
const OPERATION: &str = "e1b9c8a4-7d3b-4c52-8f4e-2b6a90f1c7d3";
const RECORD: &str = "3e1d0a7c-6a52-4c7b-b6f1-0c2c5f4f9d11";
/// `EventId` of `tests/fixtures/fno-sales-order-invoiced.json`.
const EVENT: &str = "0D6E3D5A-6B77-4C0B-9E5C-8F2D1A7B4C33";

/// An update of account `key` (a number of its own for each record), 4 KB; `n` tells the
/// operations on one record apart.
///
/// # Errors
/// When the fixture cannot be read.
pub fn account_update(key: u64, n: u64) -> Result<String> {
    let body = std::fs::read_to_string(environment::own_fixture("dataverse-account-update.json"))?;
    Ok(body
        .trim_end()
        .replace(OPERATION, &operation(key, n))
        .replace(RECORD, &record(key)))
}

/// A posted invoice: business event number `n`.
///
/// # Errors
/// When the fixture cannot be read.
pub fn invoice(n: u64) -> Result<String> {
    let body = std::fs::read_to_string(environment::own_fixture("fno-sales-order-invoiced.json"))?;
    let id = format!("0D6E3D5A-6B77-4C0B-9E5C-{n:012X}");
    Ok(body.trim_end().replace(EVENT, &id))
}

/// The partition key of [`account_update`].
pub fn account(key: u64) -> String {
    format!("account/{}", record(key))
}

/// [`account_update`] as [`crate::checks::Verdict`] wants to know it.
pub fn input(key: u64, n: u64) -> Input {
    Input::new(operation(key, n), account(key), n)
}

/// Which [`account_update`] was stored.
///
/// # Errors
/// When it was none.
pub fn output(stored: &Stored) -> Result<Echo> {
    let body: Value = serde_json::from_slice(&stored.body)?;
    let operation = body.get("OperationId").and_then(Value::as_str);
    let operation = operation.with_context(|| format!("no account update: {body}"))?;
    let n = operation.rsplit('-').next().unwrap_or_default();
    Ok(Echo {
        input: operation.to_owned(),
        key: stored.header("ce-partitionkey")?.to_owned(),
        n: u64::from_str_radix(n, 16)?,
    })
}

fn operation(key: u64, n: u64) -> String {
    format!("{key:08x}-7d3b-4c52-8f4e-{n:012x}")
}

fn record(key: u64) -> String {
    format!("3e1d0a7c-6a52-4c7b-b6f1-{key:012x}")
}

/// A gzip file (RFC 1952) of `megabytes` MiB of zeros in a thousandth of that: one literal and
/// repetitions of the longest kind, by the fixed codes of RFC 1951 section 3.2.6.
pub fn gzip_bomb(megabytes: usize) -> Vec<u8> {
    // Magic, deflate, no flags, no time, no extra, unknown system.
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut bits = Bits::default();
    bits.put(0b1, 1);
    bits.put(0b01, 2);
    // Huffman codes begin with their most significant bit: 00110000 is literal 0.
    bits.put(0b0000_1100, 8);
    for _ in 0..megabytes * 1024 * 1024 / 258 {
        // 11000101 is length 258, 00000 distance 1.
        bits.put(0b1010_0011, 8);
        bits.put(0, 5);
    }
    bits.put(0, 7);
    bytes.extend(bits.done());
    // The checksum comes after the harm, so it need not be right.
    bytes.extend([0; 8]);
    bytes
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    pending: u32,
    count: u32,
}

impl Bits {
    fn put(&mut self, bits: u32, count: u32) {
        self.pending |= bits << self.count;
        self.count += count;
        while 8 <= self.count {
            self.bytes.extend(self.pending.to_le_bytes().first());
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    fn done(mut self) -> Vec<u8> {
        self.put(0, 7);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_small() {
        let bomb = gzip_bomb(100);
        assert!(bomb.len() < 700 * 1024, "{} bytes", bomb.len());
        // BFINAL and BTYPE 01, then the literal 0.
        assert_eq!(bomb.get(10..12), Some(&[0b0110_0011, 0b0001_1000][..]));
    }

    #[test]
    fn bodies_differ_by_key_and_number() -> Result<()> {
        let body = account_update(7, 255)?;
        assert!(body.contains("\"OperationId\":\"00000007-7d3b-4c52-8f4e-0000000000ff\""));
        assert_eq!(
            body.matches("3e1d0a7c-6a52-4c7b-b6f1-000000000007").count(),
            6
        );
        assert!(invoice(10)?.contains("-00000000000A\""));
        Ok(())
    }
}
