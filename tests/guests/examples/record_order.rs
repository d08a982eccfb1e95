//! Keeps the list of every `n` of a key, and emits how many there were.

use serde::Serialize;
use serde_json::value::RawValue;
use sluicegate_guest::*;
use sluicegate_test_guests::{Input, emit};

#[derive(Serialize)]
struct Seen<'a> {
    key: &'a str,
    n: Option<&'a RawValue>,
    seen: usize,
}

/// The state under the partition key is a JSON array.
#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let input: Input<'_> = event.json()?;
    let key = delivery.partition_key.as_str();
    let mut list: Vec<Box<RawValue>> = state::get_json(key)?.unwrap_or_default();
    list.push(match input.n {
        Some(n) => n.to_owned(),
        None => serde_json::from_str("null")?,
    });
    state::put_json(key, &list)?;
    emit(
        &delivery,
        &Seen {
            key,
            n: input.n,
            seen: list.len(),
        },
    )
}
