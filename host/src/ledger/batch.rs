//! Takes messages, gives the sequence of the last one: published alone, or all of them or none.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::connection::State;
use async_nats::jetstream::Context;
use serde::Deserialize;
use uuid::Uuid;

use super::message::Message;

/// The server drops a batch that is not whole after 10 s; the answer is looked for sooner.
const PATIENCE: Duration = Duration::from_secs(5);

const WRONG_LAST_SEQUENCE: u64 = 10071;
/// The same finding, when the server could not say which sequence it is at.
const WRONG_LAST_SEQUENCE_CONSTANT: u64 = 10164;

/// What can come back instead of a sequence.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An expectation about a subject's last sequence did not hold.
    #[error("the log has another last sequence")]
    WrongSequence,
    /// No answer: the messages may be in the stream or not.
    #[error("{0}")]
    Unanswered(String),
    /// The server said no.
    #[error("{0}")]
    Refused(String),
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    seq: u64,
    error: Option<ServerError>,
}

#[derive(Deserialize)]
struct ServerError {
    err_code: u64,
    description: String,
}

/// Publishes one message.
pub async fn one(context: &Context, message: &Message) -> Result<u64, Failure> {
    connected(context)?;
    request(context, message, message.headers.clone()).await
}

/// Publishes the messages as one atomic batch.
pub async fn atomic(context: &Context, messages: &[&Message]) -> Result<u64, Failure> {
    connected(context)?;
    let id = Uuid::new_v4().simple().to_string();
    for (index, message) in messages.iter().enumerate() {
        let mut headers = message.headers.clone();
        headers.insert("Nats-Batch-Id", id.as_str());
        headers.insert("Nats-Batch-Sequence", (index + 1).to_string());
        if index + 1 == messages.len() {
            headers.insert("Nats-Batch-Commit", "1");
            return request(context, message, headers).await;
        }
        // No reply subject: what is wrong with a message shows in the answer to the last.
        context
            .client()
            .publish_with_headers(message.subject.clone(), headers, message.payload.clone())
            .await
            .map_err(|error| Failure::Unanswered(error.to_string()))?;
    }
    Err(Failure::Refused("the batch is empty".to_owned()))
}

/// While the broker is away the client would keep what is published, and send all of it, one
/// try after another, when it is back.
fn connected(context: &Context) -> Result<(), Failure> {
    match context.client().connection_state() {
        State::Connected => Ok(()),
        State::Pending | State::Disconnected => {
            Err(Failure::Unanswered("the broker is away".to_owned()))
        }
    }
}

async fn request(context: &Context, message: &Message, headers: HeaderMap) -> Result<u64, Failure> {
    let client = context.client();
    let (subject, payload) = (message.subject.clone(), message.payload.clone());
    let request = client.request_with_headers(subject, headers, payload);
    let answer = tokio::time::timeout(PATIENCE, request)
        .await
        .map_err(|_elapsed| Failure::Unanswered(format!("no answer within {PATIENCE:?}")))?
        .map_err(|error| Failure::Unanswered(error.to_string()))?;
    read(&answer.payload)
}

fn read(payload: &[u8]) -> Result<u64, Failure> {
    let answer: Answer = serde_json::from_slice(payload)
        .map_err(|error| Failure::Unanswered(format!("the answer cannot be read: {error}")))?;
    match answer.error {
        None => Ok(answer.seq),
        Some(error)
            if [WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_CONSTANT].contains(&error.err_code) =>
        {
            Err(Failure::WrongSequence)
        }
        Some(error) => Err(Failure::Refused(format!(
            "{} (err_code {})",
            error.description, error.err_code
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let ok = br#"{"stream":"LEDGER","seq":9,"batch":"b","count":2}"#;
        assert_eq!(read(ok).expect("an ack"), 9);
        let cas = br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 1"},"stream":"LEDGER","seq":0}"#;
        assert!(matches!(read(cas), Err(Failure::WrongSequence)));
        let full =
            br#"{"error":{"code":503,"err_code":10047,"description":"insufficient storage"}}"#;
        assert!(matches!(read(full), Err(Failure::Refused(text)) if text.contains("10047")));
        assert!(matches!(read(b"junk"), Err(Failure::Unanswered(_))));
    }
}
