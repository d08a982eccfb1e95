//! The plug-in's own keyspace. Needs `state = true` under `[capabilities]`.
//!
//! A write is staged until the call returns `Ok(())`; a read sees it before that. Then all of
//! it becomes durable in one commit with the outbox and the note that the event is done. When
//! another call changed what this one has read, the host runs this one again: the result is as
//! if calls had run one after another.
//!
//! A key is 1 to 512 bytes of UTF-8. A bad key, a value or a number of writes over the limit
//! ends the call, and the event is dead-lettered with the reason `limit`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host;

/// Why a value could not be read or written as JSON.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is stored is not JSON of the type that was asked for.
    #[error(
        "the state under the key {key:?} is not what this version of the plug-in reads; an older \
         or another one wrote it"
    )]
    Read {
        /// The key.
        key: String,
        /// What the JSON reader found.
        source: serde_json::Error,
    },
    /// The value cannot be written as JSON.
    #[error("the value for the state key {key:?} cannot be written as JSON")]
    Write {
        /// The key.
        key: String,
        /// What the JSON writer found.
        source: serde_json::Error,
    },
}

/// The value of the key, with what this call staged over it; `None` when there is none.
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::state_get(key)
}

/// Stages the value of the key.
pub fn put(key: &str, value: impl AsRef<[u8]>) {
    host::state_put(key, value.as_ref());
}

/// Stages that the key has no value. A key that has none already is fine.
pub fn delete(key: &str) {
    host::state_delete(key);
}

/// Like [`get`], of a value that is JSON.
///
/// Errors when the stored value does not fit `T`.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    let Some(value) = get(key) else {
        return Ok(None);
    };
    serde_json::from_slice(&value)
        .map(Some)
        .map_err(|source| Error::Read {
            key: key.to_owned(),
            source,
        })
}

/// Like [`put`], of a value that is written as JSON.
///
/// Errors when JSON has no form for the value (a map with keys that are no text).
pub fn put_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<(), Error> {
    let value = serde_json::to_vec(value).map_err(|source| Error::Write {
        key: key.to_owned(),
        source,
    })?;
    put(key, value);
    Ok(())
}
