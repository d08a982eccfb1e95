//! Emits exactly one event for each input.

use sluicegate_guest::*;
use sluicegate_test_guests::echo;

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    echo(&event, &delivery)
}
