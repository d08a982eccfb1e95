//! Takes an input event, gives the one event that shows that it was handled.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluicegate_guest::{Delivery, Event, Outcome, outbox};

/// Where every guest emits to. No manifest subscribes to it.
pub const ECHO_SUBJECT: &str = "d365.custom.test.business.echo.raised";

/// The type of what every guest emits.
pub const ECHO_TYPE: &str = "d365.custom.echo.raised";

/// The part of an input that guests read: JSON with a member `n`, of any type.
#[derive(Deserialize)]
pub struct Input<'a> {
    /// What tells inputs of one key apart; null when absent.
    #[serde(borrow)]
    pub n: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Echo<'a> {
    input: &'a str,
    key: &'a str,
    n: Option<&'a RawValue>,
}

/// Emits `{"input": id, "key": partition key, "n": n of the input}` to [`ECHO_SUBJECT`], with
/// the partition key of the input. Rejects an input that is no JSON object.
pub fn echo(event: &Event, delivery: &Delivery) -> Outcome {
    let input: Input<'_> = event.json()?;
    emit(
        delivery,
        &Echo {
            input: event.id(),
            key: &delivery.partition_key,
            n: input.n,
        },
    )
}

/// Emits the data to [`ECHO_SUBJECT`], with the partition key of the input.
pub fn emit<T: Serialize>(delivery: &Delivery, data: &T) -> Outcome {
    let event = Event::builder(ECHO_TYPE)
        .partition_key(&delivery.partition_key)
        .json(data)?;
    outbox::emit(ECHO_SUBJECT, event);
    Ok(())
}
