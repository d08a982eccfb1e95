//! Takes a schema of a type, gives it as a version in the KV bucket `schemas`; and what stands there.
//!
//! The key is `version.<type>.<n>`, the type as one token. A version is made by create-if-absent,
//! so that two who learn at once make two versions and not one of both.

use std::collections::BTreeMap;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::kv::{self, CreateErrorKind};
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluicegate_schema::Shape;

use crate::broker::{open, read_all};
use crate::clock;

/// The bucket.
pub const BUCKET: &str = "schemas";
/// The stream behind it.
pub const STREAM: &str = "KV_schemas";
const SUBJECTS: &str = "$KV.schemas.>";
const VERSIONS: &str = "version.";
/// Bytes of a version: what one message may have, with room for the rest.
pub const MAX_BYTES: usize = 900 << 10;
/// Others who made a version first, before somebody is said to be at it.
const TRIES: usize = 10;

/// Why a schema cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bucket does not answer.
    #[error(
        "KV bucket {BUCKET}: {0}; has a `sluice run` of this version ever been connected to this broker?"
    )]
    Bucket(String),
    /// The event that tells of something is not stored.
    #[error("the event of it is not stored: {0}")]
    Event(String),
    /// Somebody else makes versions all the time.
    #[error("{0}: others made a version {TRIES} times in a row; try again")]
    Contended(String),
    /// It does not fit into a message.
    #[error("{event_type}: the schema takes {bytes} bytes, expected at most {MAX_BYTES}")]
    TooBig {
        /// The type.
        event_type: String,
        /// So many.
        bytes: usize,
    },
    /// There is none.
    #[error("there is no schema of {0}; `sluice schema list` shows those there are")]
    None(String),
    /// What stands there is no schema.
    #[error("{place}: {reason}")]
    Unreadable {
        /// Which.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// One version of the schema of a type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The CloudEvents type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// From 1.
    pub version: u32,
    /// `learnt`, `accepted`, or what it was imported from.
    pub origin: String,
    /// RFC 3339.
    pub since: String,
    /// Bodies that it was learnt of.
    pub seen: u64,
    /// JSON Schema 2020-12.
    pub schema: Value,
}

impl Version {
    /// What it says of bodies.
    ///
    /// # Errors
    /// When it is no schema.
    pub fn shape(&self) -> Result<Shape, Error> {
        Shape::read(&self.schema).map_err(|error| Error::Unreadable {
            place: format!("{} version {}", self.event_type, self.version),
            reason: error.to_string(),
        })
    }

    /// What `dataschema` says of an event that is of it.
    pub fn uri(&self) -> String {
        uri(&self.event_type, self.version)
    }
}

/// What the `dataschema` begins with that is said here, and not by a sender.
pub const URIS: &str = "sluice:schema:";

/// `sluice:schema:<type>:<n>`.
pub fn uri(event_type: &str, version: u32) -> String {
    format!("{URIS}{}:{version}", token(event_type))
}

/// How the bucket's stream is to be, as a KV client expects one.
pub fn stream_config(replicas: usize) -> StreamConfig {
    StreamConfig {
        name: STREAM.to_owned(),
        subjects: vec![SUBJECTS.to_owned()],
        num_replicas: replicas,
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..StreamConfig::default()
    }
}

/// A type as one token of a key, and as the name of a folder.
pub fn token(event_type: &str) -> String {
    let mut token = String::with_capacity(event_type.len());
    for byte in event_type.bytes() {
        match byte {
            b'.' => token.push('/'),
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') => {
                token.push(char::from(byte));
            }
            byte => token.push_str(&format!("={byte:02X}")),
        }
    }
    token
}

/// The bucket.
///
/// # Errors
/// When it is not there.
pub async fn bucket(context: &Context) -> Result<kv::Store, Error> {
    let bucket = context.get_key_value(BUCKET).await;
    bucket.map_err(|error| Error::Bucket(error.to_string()))
}

/// Every version of every type, or of one, by type and number.
///
/// # Errors
/// When the bucket cannot be read.
pub async fn versions(
    context: &Context,
    event_type: Option<&str>,
) -> Result<BTreeMap<String, BTreeMap<u32, Version>>, Error> {
    let stream = open(context, STREAM).await;
    let stream = stream.map_err(|error| Error::Bucket(error.to_string()))?;
    let which = event_type.map_or_else(|| "*".to_owned(), token);
    let subject = format!("$KV.{BUCKET}.{VERSIONS}{which}.*");
    let mut found: BTreeMap<String, BTreeMap<u32, Version>> = BTreeMap::new();
    let newest = DeliverPolicy::LastPerSubject;
    let read = read_all(&stream, &subject, newest, |message| {
        // What was deleted by a tool of NATS has no body.
        if let Ok(version) = serde_json::from_slice::<Version>(&message.payload) {
            let of_type = found.entry(version.event_type.clone()).or_default();
            of_type.insert(version.version, version);
        }
    });
    read.await
        .map_err(|error| Error::Bucket(error.to_string()))?;
    Ok(found)
}

/// The newest version of a type.
///
/// # Errors
/// When the bucket cannot be read.
pub async fn newest(context: &Context, event_type: &str) -> Result<Option<Version>, Error> {
    let mut all = versions(context, Some(event_type)).await?;
    let newest = all.remove(event_type).unwrap_or_default().pop_last();
    Ok(newest.map(|(_, version)| version))
}

/// One version, or the newest one.
///
/// # Errors
/// When it is not there, or the bucket cannot be read.
pub async fn one(context: &Context, event_type: &str, n: Option<u32>) -> Result<Version, Error> {
    let mut all = versions(context, Some(event_type)).await?;
    let mut all = all.remove(event_type).unwrap_or_default();
    let found = match n {
        Some(n) => all.remove(&n),
        None => all.pop_last().map(|(_, version)| version),
    };
    let what = || match n {
        Some(n) => format!("{event_type} with version {n}"),
        None => event_type.to_owned(),
    };
    found.ok_or_else(|| Error::None(what()))
}

/// What became of a schema that was to be kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    /// It is a version now.
    New(Version),
    /// The newest version says the same.
    Same(Version),
}

impl Kept {
    /// The version that says it.
    pub fn version(&self) -> &Version {
        match self {
            Self::New(version) | Self::Same(version) => version,
        }
    }
}

/// Whether a shape says what a version says, however often it was seen.
pub fn is_same(version: &Version, shape: &Shape) -> bool {
    let known = version.shape().map(Shape::bare);
    known.is_ok_and(|known| known == shape.clone().bare())
}

/// Makes a shape the next version of its type, unless the newest one says the same.
///
/// # Errors
/// When it is too big, or the bucket does not take it.
pub async fn keep(
    context: &Context,
    event_type: &str,
    (shape, seen): (&Shape, u64),
    origin: &str,
) -> Result<Kept, Error> {
    let bucket = bucket(context).await?;
    for _ in 0..TRIES {
        let newest = newest(context, event_type).await?;
        if let Some(newest) = &newest
            && is_same(newest, shape)
        {
            return Ok(Kept::Same(newest.clone()));
        }
        let version = Version {
            event_type: event_type.to_owned(),
            version: newest.map_or(1, |newest| newest.version + 1),
            origin: origin.to_owned(),
            since: clock::rfc3339(clock::unix_millis()),
            seen,
            schema: shape.schema(event_type),
        };
        let value =
            serde_json::to_vec(&version).map_err(|error| Error::Bucket(error.to_string()))?;
        if MAX_BYTES < value.len() {
            return Err(Error::TooBig {
                event_type: event_type.to_owned(),
                bytes: value.len(),
            });
        }
        let key = format!("{VERSIONS}{}.{}", token(event_type), version.version);
        match bucket.create(key, value.into()).await {
            Ok(_) => return Ok(Kept::New(version)),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::Bucket(error.to_string())),
        }
    }
    Err(Error::Contended(event_type.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_one_token_of_a_key_and_none_is_another() {
        let types = [
            "d365.a.b",
            "d365.a/b",
            "d365.a=2Eb",
            "d365.ä b",
            "d365.>",
            "",
        ];
        let tokens: Vec<String> = types.iter().map(|one| token(one)).collect();
        assert_eq!(tokens[0], "d365/a/b");
        assert_eq!(tokens[1], "d365/a=2Fb");
        for (index, one) in tokens.iter().enumerate() {
            assert!(!one.contains(['.', '>', '*', ' ']), "{one}");
            assert!(!tokens[index + 1..].contains(one), "{one}");
        }
    }

    #[test]
    fn a_version_says_the_same_whatever_the_counts() {
        let body = serde_json::json!({"a": 1});
        let learnt = |times: usize| {
            let mut shape = Shape::default();
            for _ in 0..times {
                shape.absorb(Shape::of(&body));
            }
            shape.settle(2);
            shape
        };
        let version = Version {
            event_type: "t".to_owned(),
            version: 1,
            origin: "learnt".to_owned(),
            since: String::new(),
            seen: 3,
            schema: learnt(3).schema("t"),
        };
        assert!(is_same(&version, &learnt(5)));
        assert!(!is_same(&version, &learnt(1)), "a is not required");
        assert_eq!(version.uri(), "sluice:schema:t:1");
    }
}
