//! Takes a request's body, gives its bytes, bounded in size and time.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::problem::{MAX_BODY, Problem};

/// A sender that is slower than this is not waited for. Dataverse gives up after 60 s.
const BODY_SECONDS: u64 = 20;
/// KiB of all bodies together: what the gateway may hold in memory.
const MEMORY_KIB: usize = 128 << 10;

/// What all bodies that are held may take together.
#[derive(Debug)]
pub(super) struct Memory(Semaphore);

impl Default for Memory {
    fn default() -> Self {
        Self(Semaphore::new(MEMORY_KIB))
    }
}

/// A body, and its share of the memory.
pub(super) struct Read<'a> {
    /// The bytes.
    pub(super) bytes: Bytes,
    _share: SemaphorePermit<'a>,
}

/// Reads the body to its end.
///
/// # Errors
/// [`Problem::TooLarge`], [`Problem::TooSlow`], [`Problem::Broken`], [`Problem::Busy`].
pub(super) async fn read<'a>(
    memory: &'a Memory,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Read<'a>, Problem> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| MAX_BODY < length) {
        return Err(Problem::TooLarge);
    }
    let kib = announced.unwrap_or(MAX_BODY).div_ceil(1 << 10);
    let kib = u32::try_from(kib).unwrap_or(u32::MAX);
    let share = memory.0.try_acquire_many(kib);
    let share = share.map_err(|_| Problem::Busy("the gateway holds as many bodies as it may"))?;
    let collecting = Limited::new(body, MAX_BODY).collect();
    let collected = timeout(Duration::from_secs(BODY_SECONDS), collecting)
        .await
        .map_err(|_elapsed| Problem::TooSlow(BODY_SECONDS))?;
    match collected {
        Ok(collected) => Ok(Read {
            bytes: collected.to_bytes(),
            _share: share,
        }),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::TooLarge),
        Err(error) => Err(Problem::Broken(error.to_string())),
    }
}
