//! Emits one event for each, with the build that its config names; `{"do": "fail"}` is rejected.

use serde::{Deserialize, Serialize};
use sluicegate_guest::*;
use sluicegate_test_guests::emit;

#[derive(Deserialize)]
struct Order<'a> {
    r#do: &'a str,
    n: u64,
}

#[derive(Serialize)]
struct Stamped<'a> {
    input: &'a str,
    key: &'a str,
    n: u64,
    build: String,
}

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let order: Order<'_> = event.json()?;
    if order.r#do == "fail" {
        return Err(reject("the data says fail"));
    }
    let stamped = Stamped {
        input: event.id(),
        key: &delivery.partition_key,
        n: order.n,
        build: config::get("build").unwrap_or_default(),
    };
    emit(&delivery, &stamped)
}
