//! The plug-in's own keyspace. Needs `state = true` under `[capabilities]`.
//!
//! A write is staged until the call returns `Ok(())`; a read sees it before that. Then all of
//! it becomes durable in one commit with the outbox and the note that the event is done. When
//! another call changed what this one has read, the host runs this one again: the result is as
//! if calls had run one after another.
//!
//! A key is 1 to 512 bytes of UTF-8. A bad key, a value or a number of writes over the limit
//! ends the call, and the event is dead-lettered with the reason `limit`.

use std::ops::{Deref, DerefMut};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Call, Extract, Failure, host};

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

/// A value of the state as a type of the plug-in's own, kept as JSON.
///
/// As a parameter of the handler it belongs to what the event is about: its key is
/// `<environment>/<partition key>` (the partition key alone, where the source names no
/// environment), since environments that were copied from one another share their records' ids.
/// [`State::at`] reads another key. A key without a value begins with `T::default()`.
///
/// What was changed is put when the `State` goes out of scope, and counts, like every write, only
/// if the call returns `Ok(())`. A value that JSON has no form for (a map with keys that are no
/// text) is a panic there.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sluicegate_guest::*;
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Seen {
///     changes: u64,
/// }
///
/// #[consumer]
/// fn handle(event: Event, mut seen: State<Seen>) -> Outcome {
///     seen.changes += 1;
///     let mut total = State::<u64>::at("total")?;
///     *total += 1;
///     info!("change {} of {}, {} in all", seen.changes, event.subject().unwrap_or("?"), *total);
///     Ok(())
/// }
///
/// let mut host = testing::Host::new();
/// let event = testing::record("account").update().event();
/// host.call(handle, event.clone());
/// host.call(handle, event);
/// assert_eq!(host.state_json::<u64>("total").unwrap(), Some(2));
/// ```
#[derive(Debug)]
pub struct State<T: Serialize> {
    key: String,
    value: T,
    was_there: bool,
    is_changed: bool,
}

impl<T: Serialize + DeserializeOwned + Default> State<T> {
    /// The value of this key.
    ///
    /// # Errors
    /// When the stored value does not fit `T`.
    pub fn at(key: impl Into<String>) -> Result<Self, Error> {
        let key = key.into();
        let stored = get_json(&key)?;
        Ok(Self {
            was_there: stored.is_some(),
            value: stored.unwrap_or_default(),
            key,
            is_changed: false,
        })
    }
}

impl<T: Serialize> State<T> {
    /// The key in the plug-in's keyspace.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether there was a value before this call.
    pub fn was_there(&self) -> bool {
        self.was_there
    }

    /// Stages that the key has no value.
    pub fn delete(mut self) {
        self.is_changed = false;
        delete(&self.key);
    }
}

impl<T: Serialize> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Serialize> DerefMut for State<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.is_changed = true;
        &mut self.value
    }
}

impl<T: Serialize> Drop for State<T> {
    fn drop(&mut self) {
        if !self.is_changed || std::thread::panicking() {
            return;
        }
        if let Err(error) = put_json(&self.key, &self.value) {
            panic!("{}", Failure::from(error).message());
        }
    }
}

impl<T: Serialize + DeserializeOwned + Default> Extract for State<T> {
    fn extract(call: &mut Call) -> Result<Self, Failure> {
        let key = &call.delivery().partition_key;
        let key = match call.event().environment() {
            Some(environment) => format!("{environment}/{key}"),
            None => key.clone(),
        };
        Ok(Self::at(key)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{Event, Outcome, reject, testing};

    fn event() -> Event {
        testing::record("account")
            .id("7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05")
            .event()
    }

    const KEY: &str = "contoso/account/7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05";

    #[test]
    fn what_was_changed_is_kept_and_what_was_looked_at_is_not_written() {
        fn look(seen: State<u64>) -> Outcome {
            assert_eq!((*seen, seen.was_there(), seen.key()), (0, false, KEY));
            Ok(())
        }
        fn count(mut seen: State<u64>) -> Outcome {
            *seen += 1;
            Ok(())
        }
        let mut host = testing::Host::new();
        host.call(look, event()).outcome.unwrap();
        assert_eq!(host.state(KEY), None);
        host.call(count, event()).outcome.unwrap();
        host.call(count, event()).outcome.unwrap();
        assert_eq!(host.state(KEY), Some(&b"2"[..]));
    }

    #[test]
    fn nothing_counts_of_a_call_that_failed() {
        fn fail(mut seen: State<u64>) -> Outcome {
            *seen += 1;
            drop(seen);
            let again = State::<u64>::at(KEY)?;
            assert_eq!(*again, 1, "a read sees what the call has staged");
            Err(reject("no"))
        }
        let mut host = testing::Host::new();
        assert!(host.call(fail, event()).outcome.is_err());
        assert_eq!(host.state(KEY), None);
    }

    #[test]
    fn a_value_goes_and_one_of_another_shape_rejects() {
        fn delete(seen: State<u64>) -> Outcome {
            seen.delete();
            Ok(())
        }
        let mut host = testing::Host::new().with_state(KEY, "7");
        host.call(delete, event()).outcome.unwrap();
        assert_eq!(host.state(KEY), None);
        let mut host = testing::Host::new().with_state(KEY, "seven");
        let failure = host.call(delete, event()).outcome.unwrap_err();
        assert!(failure.message().contains(KEY), "{failure}");
    }

    #[test]
    #[should_panic(expected = "cannot be written as JSON")]
    fn a_value_without_a_json_form_is_a_panic_in_words() {
        fn put(mut seen: State<HashMap<String, Unwritable>>) -> Outcome {
            seen.insert("a".to_owned(), Unwritable);
            Ok(())
        }
        let _ = testing::Host::new().call(put, event());
    }

    #[derive(serde::Deserialize)]
    struct Unwritable;

    impl Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
}
