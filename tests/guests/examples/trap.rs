//! Panics, after it staged an event that must not be seen.

use sluicegate_guest::*;
use sluicegate_test_guests::echo;

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    echo(&event, &delivery)?;
    panic!("trap on purpose at attempt {}", delivery.attempt);
}
