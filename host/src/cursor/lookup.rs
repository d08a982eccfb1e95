//! Takes a place in the event store, gives what stands there, read beside the cursor.

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};

use super::reader;
use crate::claim_check;
use crate::delivery::Delivery;
use crate::redacted;

/// What stands in a place.
#[derive(Debug)]
pub enum Found {
    /// A message, whole.
    Message(Delivery),
    /// Nothing: an operator has redacted the event.
    Redacted,
    /// Nothing any more.
    Gone,
}

/// The store's last sequence, if no message on these subjects stands between `after` and
/// it. None also when the broker does not answer.
pub async fn quiet_up_to(events: &Stream, subjects: &[String], after: u64) -> Option<u64> {
    let last = events.get_info().await.ok()?.state.last_sequence;
    let consumer = reader::consumer(events, subjects.to_vec(), after).await;
    let consumer = consumer.ok()?;
    let pending = consumer.cached_info().num_pending;
    reader::forget(events, &consumer).await;
    (pending == 0 && after <= last).then_some(last)
}

/// One message by its sequence.
///
/// # Errors
/// What the broker says.
pub async fn load(context: &Context, events: &Stream, sequence: u64) -> Result<Found, String> {
    let message = match events.get_raw_message(sequence).await {
        Ok(message) => message,
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
            return Ok(match was_redacted(context, sequence).await? {
                true => Found::Redacted,
                false => Found::Gone,
            });
        }
        Err(error) => return Err(error.to_string()),
    };
    let stored = u64::try_from(message.time.unix_timestamp_nanos()).unwrap_or(0);
    let mut delivery = Delivery {
        sequence,
        subject: message.subject.into_string(),
        headers: (!message.headers.is_empty()).then_some(message.headers),
        payload: message.payload,
        stored,
        ..Delivery::default()
    };
    Ok(match redeem(context, &mut delivery).await? {
        true => Found::Message(delivery),
        false => Found::Redacted,
    })
}

/// Puts the body back that was too big for the message; gives whether the message is there still:
/// not when it was redacted after it was read, and its body erased.
///
/// # Errors
/// What the broker says.
pub(super) async fn redeem(context: &Context, delivery: &mut Delivery) -> Result<bool, String> {
    let is_whole = claim_check::redeem(context, delivery).await;
    if is_whole.map_err(|error| error.to_string())? {
        return Ok(true);
    }
    Ok(!was_redacted(context, delivery.sequence).await?)
}

async fn was_redacted(context: &Context, sequence: u64) -> Result<bool, String> {
    let was = redacted::was(context, sequence).await;
    was.map_err(|error| error.to_string())
}
