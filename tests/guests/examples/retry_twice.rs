//! Asks for a retry on attempts 1 and 2, then emits one event.

use sluicegate_guest::*;
use sluicegate_test_guests::echo;

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    if delivery.attempt <= 2 {
        return Err(retry(format_args!("attempt {} of 3", delivery.attempt)));
    }
    echo(&event, &delivery)
}
