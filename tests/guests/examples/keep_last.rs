//! Keeps the last `n` of a key, without a look at what is there; with a number that 3 divides, lets
//! go of the key. Counts all events under the one key `total`. Emits what is there now.

use serde::Serialize;
use serde_json::value::RawValue;
use sluicegate_guest::*;
use sluicegate_test_guests::{Input, emit};

#[derive(Serialize)]
struct Kept<'a> {
    key: &'a str,
    n: Option<&'a RawValue>,
    total: u64,
}

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let input: Input<'_> = event.json()?;
    let key = delivery.partition_key.as_str();
    let number = input.n.map_or("0", RawValue::get);
    let number: u64 = number.parse().map_err(reject)?;
    let kept = !number.is_multiple_of(3);
    if kept {
        state::put(key, number.to_string());
    } else {
        state::delete(key);
    }
    let total = state::get_json::<u64>("total")?.unwrap_or(0) + 1;
    state::put_json("total", &total)?;
    let n = input.n.filter(|_| kept);
    emit(&delivery, &Kept { key, n, total })
}
