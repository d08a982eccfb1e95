//! Takes the place of a message in a stream, has the broker delete it, and its bytes if they are to go.

use async_nats::jetstream::Context;
use serde::Deserialize;
use serde_json::json;

/// The broker has no message with this number.
const NO_MESSAGE: [u64; 2] = [10037, 10057];

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// They stay in the broker's files until those are compacted.
    Forget,
    /// They are overwritten, which costs the broker 3 ms.
    Erase,
}

#[derive(Deserialize)]
struct Deleted {
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    err_code: u64,
    description: String,
}

/// Deletes a message; gives whether it was there.
///
/// # Errors
/// What the broker says, or that it does not answer.
pub async fn delete(
    context: &Context,
    stream: &str,
    sequence: u64,
    how: How,
) -> Result<bool, String> {
    let wanted = json!({ "seq": sequence, "no_erase": how == How::Forget });
    let subject = format!("STREAM.MSG.DELETE.{stream}");
    let answer: Result<Deleted, _> = context.request(subject, &wanted).await;
    match answer.map_err(|error| error.to_string())?.error {
        None => Ok(true),
        Some(refusal) if NO_MESSAGE.contains(&refusal.err_code) => Ok(false),
        Some(refusal) => Err(refusal.description),
    }
}
