//! Emits one event of 2 MB.

use sluicegate_guest::*;
use sluicegate_test_guests::{ECHO_SUBJECT, ECHO_TYPE};

#[consumer]
fn handle(_event: Event) -> Outcome {
    let event = Event::builder(ECHO_TYPE).data("text/plain", vec![b'x'; 2_000_000]);
    outbox::emit(ECHO_SUBJECT, event);
    Ok(())
}
