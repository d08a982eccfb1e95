//! Asks for a retry, whatever the attempt.

use sluicegate_guest::*;

#[consumer]
fn handle(_event: Event, delivery: Delivery) -> Outcome {
    Err(retry(format_args!(
        "not on attempt {} either",
        delivery.attempt
    )))
}
