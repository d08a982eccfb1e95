//! Takes a number, gives a Dataverse body that no other number gives.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// An account update as Dataverse posts it: minified, slashes escaped, with both images.
const BODY: &[u8] = include_bytes!("account-update.json");

/// Stand for the ids in [`BODY`]; the last twelve digits are written over.
const OPERATION: &str = "0e0e0e0e-0000-4000-8000-";
const RECORD: &str = "acacacac-0000-4000-8000-";
const DIGITS: usize = 12;

/// The body and where its ids stand in it.
pub(crate) struct Template {
    bytes: Vec<u8>,
    operations: Vec<usize>,
    records: Vec<usize>,
}

/// A piece of the body.
pub(crate) enum Part<'a> {
    Text(&'a str),
    /// The digits that make the operation's id.
    Operation,
    /// The digits that make the record's id.
    Record,
}

impl Template {
    /// So many accounts take part; each is a partition key.
    pub(crate) const RECORDS: u64 = 10_000;

    /// As it stands in the file: 6 KB.
    pub(crate) fn new() -> Result<Self> {
        Self::of(BODY.to_vec())
    }

    /// Without its images and what led to it, and with as many of its columns as 2 KB hold.
    pub(crate) fn small() -> Result<Self> {
        let mut body: Value = serde_json::from_slice(BODY)?;
        for (member, nothing) in [
            ("/PreEntityImages", json!([])),
            ("/PostEntityImages", json!([])),
            ("/InputParameters/0/value/FormattedValues", json!([])),
            ("/SharedVariables", json!([])),
        ] {
            *body.pointer_mut(member).context(member)? = nothing;
        }
        while (2 << 10) < body.to_string().len() {
            let columns = columns(&mut body)?;
            columns.pop().context("it is larger without any column")?;
        }
        Self::of(body.to_string().into_bytes())
    }

    /// With so many more columns that it has about `size` bytes.
    pub(crate) fn large(size: usize) -> Result<Self> {
        let mut body: Value = serde_json::from_slice(BODY)?;
        let column = |number: usize| {
            json!({ "key": format!("new_remark{number}"),
                    "value": "Told the customer that the agreement of the branch is renewed." })
        };
        let each = column(1_000).to_string().len() + 1;
        let more = size.saturating_sub(BODY.len()).div_ceil(each);
        columns(&mut body)?.extend((0..more).map(column));
        Self::of(body.to_string().into_bytes())
    }

    fn of(bytes: Vec<u8>) -> Result<Self> {
        let template = Self {
            operations: digits_after(&bytes, OPERATION),
            records: digits_after(&bytes, RECORD),
            bytes,
        };
        ensure!(
            !template.operations.is_empty() && !template.records.is_empty(),
            "the body has no ids to vary"
        );
        Ok(template)
    }

    /// The body; [`Template::vary`] makes a copy one of its own.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The id of the record that event `number` is about.
    pub(crate) fn record(number: u64) -> String {
        format!("{RECORD}{:012x}", number % Self::RECORDS)
    }

    /// Writes the ids of event `number` into `body`, a copy of [`Template::bytes`].
    pub(crate) fn vary(&self, body: &mut [u8], number: u64) {
        write_all(body, &self.operations, number);
        write_all(body, &self.records, number % Self::RECORDS);
    }

    /// The body in pieces, for a program that puts it together itself.
    pub(crate) fn parts(&self) -> Vec<Part<'_>> {
        let operations = self.operations.iter().map(|at| (*at, Part::Operation));
        let records = self.records.iter().map(|at| (*at, Part::Record));
        let mut places: Vec<_> = operations.chain(records).collect();
        places.sort_by_key(|place| place.0);
        let mut parts = Vec::new();
        let mut from = 0;
        for (at, part) in places {
            parts.push(Part::Text(self.text(from, at)));
            parts.push(part);
            from = at + DIGITS;
        }
        parts.push(Part::Text(self.text(from, self.bytes.len())));
        parts
    }

    fn text(&self, from: usize, to: usize) -> &str {
        let bytes = self.bytes.get(from..to).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

fn columns(body: &mut Value) -> Result<&mut Vec<Value>> {
    let columns = body.pointer_mut("/InputParameters/0/value/Attributes");
    columns.and_then(Value::as_array_mut).context("no columns")
}

fn digits_after(body: &[u8], id: &str) -> Vec<usize> {
    body.windows(id.len())
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
    fn the_bodies_have_the_sizes_that_are_promised() -> Result<()> {
        let sizes = [
            (Template::small()?, 1_900..2_049),
            (Template::new()?, 5_900..6_200),
            (Template::large(64 << 10)?, 64_000..66_000),
        ];
        for (template, promised) in sizes {
            let mut body: Value = serde_json::from_slice(template.bytes())?;
            let first = columns(&mut body)?.first().context("no column")?;
            ensure!(first["key"] == "creditlimit", "{first}");
            let size = template.bytes().len();
            ensure!(promised.contains(&size), "{size} is not in {promised:?}");
        }
        Ok(())
    }
}
