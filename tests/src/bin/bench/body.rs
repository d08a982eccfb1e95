//! Takes a number, gives a Dataverse body of 6 KB that no other number gives.

use anyhow::{Result, ensure};

/// An account update as Dataverse posts it: minified, slashes escaped, with both images.
const BODY: &[u8] = include_bytes!("account-update.json");

/// Stand for the ids in [`BODY`]; the last twelve digits are written over.
const OPERATION: &str = "0e0e0e0e-0000-4000-8000-";
const RECORD: &str = "acacacac-0000-4000-8000-";
const DIGITS: usize = 12;

/// The body and where its ids stand in it.
pub(crate) struct Template {
    operations: Vec<usize>,
    records: Vec<usize>,
}

/// A piece of the body.
pub(crate) enum Part {
    Text(&'static str),
    /// The digits that make the operation's id.
    Operation,
    /// The digits that make the record's id.
    Record,
}

impl Template {
    /// So many accounts take part; each is a partition key.
    pub(crate) const RECORDS: u64 = 10_000;

    pub(crate) fn new() -> Result<Self> {
        let template = Self {
            operations: digits_after(OPERATION),
            records: digits_after(RECORD),
        };
        ensure!(
            !template.operations.is_empty() && !template.records.is_empty(),
            "the body has no ids to vary"
        );
        Ok(template)
    }

    /// The body as it stands in the file; [`Template::vary`] makes it one of its own.
    pub(crate) fn bytes(&self) -> &'static [u8] {
        BODY
    }

    /// Writes the ids of event `number` into `body`, a copy of [`Template::bytes`].
    pub(crate) fn vary(&self, body: &mut [u8], number: u64) {
        write_all(body, &self.operations, number);
        write_all(body, &self.records, number % Self::RECORDS);
    }

    /// The body in pieces, for a program that puts it together itself.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let operations = self.operations.iter().map(|at| (*at, Part::Operation));
        let records = self.records.iter().map(|at| (*at, Part::Record));
        let mut places: Vec<_> = operations.chain(records).collect();
        places.sort_by_key(|place| place.0);
        let mut parts = Vec::new();
        let mut from = 0;
        for (at, part) in places {
            parts.push(Part::Text(text(from, at)));
            parts.push(part);
            from = at + DIGITS;
        }
        parts.push(Part::Text(text(from, BODY.len())));
        parts
    }
}

fn text(from: usize, to: usize) -> &'static str {
    let bytes = BODY.get(from..to).unwrap_or_default();
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn digits_after(id: &str) -> Vec<usize> {
    BODY.windows(id.len())
        .enumerate()
        .filter(|(_, window)| *window == id.as_bytes())
        .map(|(at, _)| at + id.len())
        .collect()
}

fn write_all(body: &mut [u8], places: &[usize], number: u64) {
    let mut digits = [b'0'; DIGITS];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        let nibble = (rest & 15) as u8;
        *digit = nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
        rest >>= 4;
    }
    for at in places {
        if let Some(place) = body.get_mut(*at..*at + DIGITS) {
            place.copy_from_slice(&digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_number_is_a_body_of_its_own_and_stays_json() -> Result<()> {
        let template = Template::new()?;
        let mut seen = BTreeSet::new();
        let mut body = template.bytes().to_vec();
        for number in [0, 1, Template::RECORDS, 0xabc_def0_1234] {
            template.vary(&mut body, number);
            ensure!(seen.insert(body.clone()), "{number} gives no new body");
            let json: serde_json::Value = serde_json::from_slice(&body)?;
            let id = json.get("OperationId").and_then(|id| id.as_str());
            let wanted = format!("{OPERATION}{number:012x}");
            ensure!(id == Some(wanted.as_str()), "{id:?}");
        }
        Ok(())
    }

    #[test]
    fn the_body_has_the_size_that_is_promised() {
        assert!((5_900..6_200).contains(&BODY.len()), "{}", BODY.len());
    }
}
