//! Rejects every event until the operator sets `mended = "yes"`, then emits one for each.

use sluicegate_guest::*;
use sluicegate_test_guests::echo;

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    match config::get("mended").as_deref() {
        Some("yes") => echo(&event, &delivery),
        _ => Err(reject("not mended: set mended = \"yes\" under [config]")),
    }
}
