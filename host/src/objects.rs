//! Takes bytes with a name, gives them to an object store of the broker, and back.

use std::ops::ControlFlow;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::object_store::{
    Config, GetErrorKind, InfoErrorKind, ObjectMetadata, ObjectStore,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use tokio::io::AsyncReadExt as _;

use crate::broker::{How, delete, read};

/// Largest piece in one message, in bytes.
const CHUNK: usize = 128 << 10;

/// Why it cannot be used, in the client's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

fn failed(error: impl std::fmt::Display) -> Error {
    Error(error.to_string())
}

/// Makes the store, or leaves it as it is.
///
/// # Errors
/// When the broker refuses it.
pub async fn provision(context: &Context, store: Config) -> Result<(), Error> {
    if context.get_object_store(&store.bucket).await.is_ok() {
        return Ok(());
    }
    let made = context.create_object_store(store).await;
    made.map(|_| ()).map_err(failed)
}

/// Opens a store that is there.
///
/// # Errors
/// When it is not.
pub async fn open(context: &Context, bucket: &str) -> Result<ObjectStore, Error> {
    context.get_object_store(bucket).await.map_err(failed)
}

/// Puts the bytes in, in place of what has the name.
///
/// # Errors
/// When the broker does not take them.
pub async fn put(
    context: &Context,
    store: &ObjectStore,
    name: &str,
    mut bytes: &[u8],
) -> Result<(), Error> {
    let limit = context.client().server_info().max_payload;
    let metadata = ObjectMetadata {
        name: name.to_owned(),
        chunk_size: Some(CHUNK.min(limit / 2).max(1)),
        ..ObjectMetadata::default()
    };
    let put = store.put(metadata, &mut bytes).await;
    put.map(|_| ()).map_err(failed)
}

/// The bytes; none when nothing has the name.
///
/// # Errors
/// When the broker does not give them, or they came out changed.
pub async fn get(store: &ObjectStore, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let mut object = match store.get(name).await {
        Ok(object) => object,
        Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::with_capacity(object.info().size);
    object.read_to_end(&mut bytes).await.map_err(failed)?;
    Ok(Some(bytes))
}

/// Has the broker overwrite what has this name, the pieces first, so that another call finds what
/// this one has left; gives whether it was there.
///
/// # Errors
/// When the broker does not do it.
pub async fn erase(
    context: &Context,
    store: &ObjectStore,
    bucket: &str,
    name: &str,
) -> Result<bool, Error> {
    let info = match store.info(name).await {
        Ok(info) => info,
        Err(error) if error.kind() == InfoErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    let stream_name = format!("OBJ_{bucket}");
    let stream = context.get_stream(&stream_name).await.map_err(failed)?;
    let pieces = format!("$O.{bucket}.C.{}", info.nuid);
    let meta = format!("$O.{bucket}.M.{}", URL_SAFE.encode(name));
    for subject in [pieces, meta] {
        let what = pull::Config {
            filter_subject: subject,
            deliver_policy: DeliverPolicy::All,
            headers_only: true,
            ..pull::Config::default()
        };
        let mut places = Vec::new();
        read(&stream, what, |message| {
            places.extend(message.info().ok().map(|info| info.stream_sequence));
            ControlFlow::Continue(())
        })
        .await
        .map_err(failed)?;
        for place in places {
            let erased = delete(context, &stream_name, place, How::Erase).await;
            erased.map_err(failed)?;
        }
    }
    Ok(true)
}
