//! Emits to a subject that its manifest does not ask for.

use sluicegate_guest::*;

#[consumer]
fn handle(_event: Event) -> Outcome {
    let event = Event::builder("d365.custom.forbidden.raised");
    outbox::emit("d365.custom.test.business.forbidden.raised", event);
    Ok(())
}
