//! Rejects every event.

use sluicegate_guest::*;

#[consumer]
fn handle(event: Event) -> Outcome {
    Err(reject(format_args!("{} is not wanted", event.id())))
}
