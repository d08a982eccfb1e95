//! Takes a body that is too big for one message, gives a reference to it in the object store, and the body back.
//!
//! The event keeps the reference in the extension `dataref` (CloudEvents extension "Dataref",
//! the claim check pattern) and has no data; whoever reads the event store puts it back.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::object_store::{Config as StoreConfig, InfoErrorKind};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::delivery::Delivery;
use crate::hex::hex;
use crate::objects;

/// The header that holds the reference in binary mode.
pub const HEADER: &str = "ce-dataref";

/// The stream behind the bucket.
pub const STREAM: &str = "OBJ_claims";

const BUCKET: &str = "claims";
const PREFIX: &str = "nats-object:claims/";
/// A body that is put in again while it stands there is put in anew when it is older: it must
/// not leave before the event does.
const REUSED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How much longer than events bodies stay.
const KEPT_LONGER: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Why a body cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object store cannot be used.
    #[error("object store {BUCKET}: {0}")]
    Store(String),
    /// It came out changed.
    #[error("object store {BUCKET}: the body {name} does not have its digest any more")]
    Changed {
        /// The object.
        name: String,
    },
}

fn store_error(error: impl std::fmt::Display) -> Error {
    Error::Store(error.to_string())
}

/// Makes the bucket, or leaves it as it is.
///
/// # Errors
/// [`Error::Store`].
pub async fn provision(context: &Context, config: &Config) -> Result<(), Error> {
    let bucket = StoreConfig {
        bucket: BUCKET.to_owned(),
        description: Some("Bodies that are too big for one message".to_owned()),
        max_age: config.events.max_age + KEPT_LONGER,
        num_replicas: config.nats.replicas,
        ..StoreConfig::default()
    };
    objects::provision(context, bucket)
        .await
        .map_err(store_error)
}

/// Puts a body in, gives its reference: `nats-object:claims/<SHA-256 in hex>`.
///
/// # Errors
/// [`Error::Store`].
pub async fn put(context: &Context, body: &Bytes) -> Result<String, Error> {
    let store = objects::open(context, BUCKET).await.map_err(store_error)?;
    let name = digest(body);
    let is_there = match store.info(&name).await {
        Ok(info) => info.modified.is_some_and(|modified| {
            let age = time_since(modified.unix_timestamp());
            info.size == body.len() && age < REUSED_FOR
        }),
        Err(error) if error.kind() == InfoErrorKind::NotFound => false,
        Err(error) => return Err(store_error(error)),
    };
    if !is_there {
        objects::put(context, &store, &name, body)
            .await
            .map_err(store_error)?;
    }
    Ok(format!("{PREFIX}{name}"))
}

/// The object that a reference names, if it is one of ours.
pub fn object(reference: &str) -> Option<&str> {
    let name = reference.strip_prefix(PREFIX)?;
    let is_digest = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then_some(name)
}

/// The body behind a reference; none when it is not there any more.
///
/// # Errors
/// [`Error`].
pub async fn get(context: &Context, name: &str) -> Result<Option<Bytes>, Error> {
    let store = objects::open(context, BUCKET).await.map_err(store_error)?;
    let Some(body) = objects::get(&store, name).await.map_err(store_error)? else {
        return Ok(None);
    };
    if digest(&body) != name {
        return Err(Error::Changed {
            name: name.to_owned(),
        });
    }
    Ok(Some(body.into()))
}

/// Has the broker overwrite a body; gives whether it was there.
///
/// # Errors
/// [`Error::Store`]; what is left of it is erased by another call.
pub async fn erase(context: &Context, name: &str) -> Result<bool, Error> {
    let store = objects::open(context, BUCKET).await.map_err(store_error)?;
    let erased = objects::erase(context, &store, BUCKET, name).await;
    erased.map_err(store_error)
}

/// Whether a body is there.
///
/// # Errors
/// [`Error::Store`].
pub async fn is_there(context: &Context, name: &str) -> Result<bool, Error> {
    let store = objects::open(context, BUCKET).await.map_err(store_error)?;
    match store.info(name).await {
        Ok(info) => Ok(!info.deleted),
        Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(false),
        Err(error) => Err(store_error(error)),
    }
}

/// Puts the body back into a message that was read, if that was taken out; gives whether the
/// message is whole now. A body that is not in the object store any more stays out, and the
/// message does not decode.
///
/// # Errors
/// [`Error`]: nothing is known about the body.
pub async fn redeem(context: &Context, delivery: &mut Delivery) -> Result<bool, Error> {
    let Some(name) = delivery.headers.as_ref().and_then(taken_out) else {
        return Ok(true);
    };
    if !delivery.payload.is_empty() {
        return Ok(true);
    }
    let body = get(context, name).await?;
    let is_there = body.is_some();
    delivery.payload = body.unwrap_or_default();
    Ok(is_there)
}

/// The object that holds a message's body, by its headers.
pub fn taken_out(headers: &HeaderMap) -> Option<&str> {
    object(headers.get(HEADER)?.as_str())
}

fn digest(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

fn time_since(unix_seconds: i64) -> Duration {
    let now = crate::clock::unix_millis() / 1_000;
    let then = u64::try_from(unix_seconds).unwrap_or(0);
    Duration::from_secs(now.saturating_sub(then))
}
