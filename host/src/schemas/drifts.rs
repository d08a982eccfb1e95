//! Takes what a body had otherwise, gives it as a record of the registry, made once however many hosts see it.
//!
//! The key is `drift.<type>.<digest of version, path and kind>`, made by create-if-absent.

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::kv::CreateErrorKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sluicegate_schema::{Drift, What};

use super::registry::{self, BUCKET, Error, STREAM, bucket, token};
use crate::broker::{open, read_all};
use crate::hex::hex;

const DRIFTS: &str = "drift.";

/// A drift that was seen first now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The CloudEvents type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Of its schema: what it was held against.
    pub version: u32,
    /// What it is.
    #[serde(flatten)]
    pub drift: Drift,
    /// RFC 3339: when it was seen first.
    #[serde(rename = "firstSeen")]
    pub first_seen: String,
    /// The first event that had it.
    pub event: String,
    /// By which host, `host.name`.
    pub host: String,
    /// The plug-ins that get such events.
    pub plugins: Vec<Reader>,
}

/// A plug-in that gets events of the type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    /// Its name.
    pub plugin: String,
    /// It says that it reads what changed; otherwise it says nothing of what it reads.
    pub how: How,
}

/// What is known of what a plug-in reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Its `[[reads]]` name it.
    Reads,
    /// It subscribed to the type.
    Subscribed,
}

impl Reader {
    /// `credit-hold (reads)`.
    pub fn words(&self) -> String {
        let how = match self.how {
            How::Reads => "reads",
            How::Subscribed => "subscribed",
        };
        format!("{} ({how})", self.plugin)
    }
}

impl Record {
    /// The same for the same drift, whoever sees it.
    pub fn id(&self) -> String {
        id(&self.event_type, self.version, &self.drift)
    }

    /// The plug-ins in a line.
    pub fn readers(&self) -> String {
        let words: Vec<String> = self.plugins.iter().map(Reader::words).collect();
        match words.is_empty() {
            true => "none".to_owned(),
            false => words.join(", "),
        }
    }
}

/// The same for the same drift, whoever sees it.
pub fn id(event_type: &str, version: u32, drift: &Drift) -> String {
    let Drift { path, kind, .. } = drift;
    let text = format!("{event_type}\n{version}\n{}\n{path}", kind.as_str());
    let digest = hex(&Sha256::digest(text));
    digest.chars().take(32).collect()
}

/// Whether it is written down.
///
/// # Errors
/// When the bucket does not answer.
pub async fn is_recorded(context: &Context, event_type: &str, id: &str) -> Result<bool, Error> {
    let bucket = bucket(context).await?;
    let found = bucket.get(key(event_type, id)).await;
    let found = found.map_err(|error| Error::Bucket(error.to_string()))?;
    Ok(found.is_some())
}

fn key(event_type: &str, id: &str) -> String {
    format!("{DRIFTS}{}.{id}", token(event_type))
}

/// Writes it down; false when somebody else has.
///
/// # Errors
/// When the bucket does not take it.
pub async fn record(context: &Context, record: &Record) -> Result<bool, Error> {
    let bucket = bucket(context).await?;
    let key = key(&record.event_type, &record.id());
    let value = serde_json::to_vec(record).map_err(|error| Error::Bucket(error.to_string()))?;
    match bucket.create(key, value.into()).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::Bucket(error.to_string())),
    }
}

/// Those of all types, or of one, against their newest versions; the one seen last comes first.
///
/// # Errors
/// When the bucket cannot be read.
pub async fn list(context: &Context, event_type: Option<&str>) -> Result<Vec<Record>, Error> {
    let versions = registry::versions(context, event_type).await?;
    let mut found = all(context, event_type).await?;
    found.retain(|record| {
        let of_type = versions.get(&record.event_type);
        let newest = of_type.and_then(|of_type| of_type.last_key_value());
        newest.is_some_and(|(newest, _)| *newest == record.version)
    });
    let by = |record: &Record| (record.first_seen.clone(), record.drift.path.clone());
    found.sort_by_key(|record| std::cmp::Reverse(by(record)));
    Ok(found)
}

async fn all(context: &Context, event_type: Option<&str>) -> Result<Vec<Record>, Error> {
    let stream = open(context, STREAM).await;
    let stream = stream.map_err(|error| Error::Bucket(error.to_string()))?;
    let which = event_type.map_or_else(|| "*".to_owned(), token);
    let subject = format!("$KV.{BUCKET}.{DRIFTS}{which}.*");
    let mut found = Vec::new();
    let newest = DeliverPolicy::LastPerSubject;
    let read = read_all(&stream, &subject, newest, |message| {
        found.extend(serde_json::from_slice::<Record>(&message.payload).ok());
    });
    read.await
        .map_err(|error| Error::Bucket(error.to_string()))?;
    Ok(found)
}

/// Takes away what is written down of a type; gives how many there were.
///
/// # Errors
/// When the bucket does not answer.
pub async fn forget(context: &Context, event_type: &str) -> Result<usize, Error> {
    let bucket = bucket(context).await?;
    let records = all(context, Some(event_type)).await?;
    for record in &records {
        let gone = bucket.purge(key(event_type, &record.id())).await;
        gone.map_err(|error| Error::Bucket(error.to_string()))?;
    }
    Ok(records.len())
}

/// How many there are of a kind.
pub fn count(records: &[Record], kind: What) -> usize {
    records.iter().filter(|one| one.drift.kind == kind).count()
}
