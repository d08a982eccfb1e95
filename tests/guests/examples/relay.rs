//! Hands an event's body on to the subject that its config names, from the attempt on that its
//! config names; logs what it does.

use sluicegate_guest::*;

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let word = |key: &str| config::get(key).unwrap_or_default();
    let traceparent = delivery.traceparent.as_deref().unwrap_or_default();
    info!(
        "{} attempt {} in {traceparent}",
        event.id(),
        delivery.attempt
    );
    if delivery.attempt < word("attempt").parse().unwrap_or(1) {
        return Err(retry("not yet"));
    }
    let relayed = Event::builder("d365.custom.relayed.raised")
        .partition_key(&delivery.partition_key)
        .data("application/json", event.data());
    outbox::emit(&word("to"), relayed);
    Ok(())
}
