//! Takes steps from one version of a schema to the next, gives them as what the KV bucket `schemas` has.
//!
//! The key is `upcast.<type>.<n>`, for the way from version n − 1 to n. Unlike a version, an
//! upcast may be made better: the one that was put last holds.

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluicegate_schema::Upcast;

use super::registry::{BUCKET, Error, STREAM, bucket, token};
use crate::broker::{open, read_all};

/// What the keys begin with.
const UPCASTS: &str = "upcast.";

/// The way from the version before to this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The CloudEvents type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The version that it leads to, from 2.
    pub version: u32,
    /// RFC 3339: when it was put.
    pub since: String,
    /// As [`Upcast::read`] takes them.
    pub steps: Value,
}

impl Record {
    /// Ready to be applied.
    ///
    /// # Errors
    /// When the steps are none.
    pub fn upcast(&self) -> Result<Upcast, Error> {
        Upcast::read(&self.steps).map_err(|error| Error::Unreadable {
            place: format!(
                "the upcast of {} to version {}",
                self.event_type, self.version
            ),
            reason: error.to_string(),
        })
    }
}

/// The key of one.
pub(super) fn key(event_type: &str, version: u32) -> String {
    format!("{UPCASTS}{}.{version}", token(event_type))
}

/// Those of all types, or of one, by type and version.
///
/// # Errors
/// When the bucket cannot be read.
pub async fn list(context: &Context, event_type: Option<&str>) -> Result<Vec<Record>, Error> {
    let stream = open(context, STREAM).await;
    let stream = stream.map_err(|error| Error::Bucket(error.to_string()))?;
    let which = event_type.map_or_else(|| "*".to_owned(), token);
    let subject = format!("$KV.{BUCKET}.{UPCASTS}{which}.*");
    let mut found: Vec<Record> = Vec::new();
    let newest = DeliverPolicy::LastPerSubject;
    let read = read_all(&stream, &subject, newest, |message| {
        // What was taken away has no body.
        found.extend(serde_json::from_slice::<Record>(&message.payload).ok());
    });
    read.await
        .map_err(|error| Error::Bucket(error.to_string()))?;
    found.sort_by(|a, b| (&a.event_type, a.version).cmp(&(&b.event_type, b.version)));
    Ok(found)
}

/// Puts one in the place of what was there.
///
/// # Errors
/// When the bucket does not take it.
pub async fn put(context: &Context, record: &Record) -> Result<(), Error> {
    let bucket = bucket(context).await?;
    let value = serde_json::to_vec(record).map_err(|error| Error::Bucket(error.to_string()))?;
    let put = bucket.put(key(&record.event_type, record.version), value.into());
    let put = put.await.map_err(|error| Error::Bucket(error.to_string()));
    put.map(|_| ())
}

/// Takes one away.
///
/// # Errors
/// When the bucket does not answer.
pub async fn remove(context: &Context, event_type: &str, version: u32) -> Result<(), Error> {
    let bucket = bucket(context).await?;
    let gone = bucket.purge(key(event_type, version)).await;
    gone.map_err(|error| Error::Bucket(error.to_string()))
}
