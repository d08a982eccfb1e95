//! Logs the idempotency key of every attempt, and succeeds as a replay only: then it emits the key.

use serde::Serialize;
use sluicegate_guest::*;
use sluicegate_test_guests::emit;

#[derive(Serialize)]
struct Told<'a> {
    input: &'a str,
    idempotency_key: &'a str,
}

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let idempotency_key = &delivery.idempotency_key;
    info!(
        "{} attempt {} idempotency-key {idempotency_key}",
        event.id(),
        delivery.attempt
    );
    if !delivery.is_replay {
        return Err(retry("only a replay succeeds"));
    }
    let input = event.id();
    emit(
        &delivery,
        &Told {
            input,
            idempotency_key,
        },
    )
}
