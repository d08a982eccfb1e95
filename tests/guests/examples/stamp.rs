//! Emits one event for each, with the build that its config names; `{"do": "fail"}` is rejected.
//! A build whose config says `fails = "reject|retry|trap|spin"` does that with every event.

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
    match config::get("fails").as_deref() {
        Some("reject") => return Err(reject("this build rejects")),
        Some("retry") => return Err(retry("this build wants another attempt")),
        Some("trap") => panic!("this build traps"),
        Some("spin") => loop {
            std::hint::spin_loop();
        },
        Some(_) | None => {}
    }
    let stamped = Stamped {
        input: event.id(),
        key: &delivery.partition_key,
        n: order.n,
        build: config::get("build").unwrap_or_default(),
    };
    emit(&delivery, &stamped)
}
