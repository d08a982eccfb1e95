//! Takes a message that waits for the broker, gives the bytes that the spool keeps, and back.

use async_nats::HeaderMap;
use async_nats::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use crate::gateway::outgoing::Outgoing;

/// The first byte of a record: which layout the rest has.
const LAYOUT: u8 = 1;

/// One message in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the broker is to have.
    pub outgoing: Outgoing,
    /// Unix milliseconds at which it was spooled.
    pub time: u64,
    /// It was published before and nobody answered: the broker may have it.
    pub uncertain: bool,
}

/// Why bytes of the spool are no record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Written by another version.
    #[error("the record has layout {0:?}; this version reads {LAYOUT}")]
    Layout(Option<u8>),
    /// The bytes break off or say something impossible.
    #[error("the record is damaged: {0}")]
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct Fields<'a> {
    subject: &'a str,
    key: &'a str,
    time: u64,
    uncertain: bool,
    #[serde(borrow)]
    headers: Vec<(&'a str, &'a str)>,
    #[serde(serialize_with = "as_bytes")]
    payload: &'a [u8],
}

/// In one piece, where serde would go byte by byte.
fn as_bytes<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

/// A message as it stands in the spool.
pub fn encode(outgoing: &Outgoing, time: u64, uncertain: bool) -> Vec<u8> {
    let headers = outgoing
        .headers
        .iter()
        .flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            values.iter().map(move |value| (name, value.as_str()))
        })
        .collect();
    let fields = Fields {
        subject: &outgoing.subject,
        key: &outgoing.key,
        time,
        uncertain,
        headers,
        payload: &outgoing.payload,
    };
    let mut bytes = Vec::with_capacity(outgoing.size() + outgoing.key.len());
    bytes.push(LAYOUT);
    // Strings, numbers and lists into memory: there is nothing that could fail.
    postcard::to_extend(&fields, bytes).unwrap_or_default()
}

/// A message from the spool.
///
/// # Errors
/// [`Error`], when the bytes were not written by [`encode`] of this layout.
pub fn decode(bytes: &[u8]) -> Result<Record, Error> {
    let damaged = |error: &dyn std::fmt::Display| Error::Damaged(error.to_string());
    let Some((&LAYOUT, rest)) = bytes.split_first() else {
        return Err(Error::Layout(bytes.first().copied()));
    };
    let fields: Fields<'_> = postcard::from_bytes(rest).map_err(|error| damaged(&error))?;
    let mut headers = HeaderMap::new();
    for (name, value) in fields.headers {
        let name: HeaderName = name.parse().map_err(|error| damaged(&error))?;
        let value: HeaderValue = value.parse().map_err(|error| damaged(&error))?;
        headers.append(name, value);
    }
    Ok(Record {
        outgoing: Outgoing {
            subject: fields.subject.to_owned(),
            headers,
            payload: Bytes::copy_from_slice(fields.payload),
            key: fields.key.to_owned(),
        },
        time: fields.time,
        uncertain: fields.uncertain,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(
            subject in "[a-z.]{0,40}",
            key in any::<String>(),
            headers in proptest::collection::vec(("[A-Za-z-]{1,20}", "[ -~é]{0,40}"), 0..8),
            payload in proptest::collection::vec(any::<u8>(), 0..4000),
            time in any::<u64>(),
            uncertain in any::<bool>(),
        ) {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(name.as_str(), value.as_str());
            }
            let outgoing = Outgoing { subject, headers: map, payload: payload.into(), key };
            let bytes = encode(&outgoing, time, uncertain);
            let record = decode(&bytes).expect("a record");
            prop_assert_eq!(record, Record { outgoing, time, uncertain });
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
            let _ = decode(&[&[LAYOUT], &bytes[..]].concat());
        }
    }

    #[test]
    fn another_layout_is_told_from_damage() {
        assert!(matches!(decode(&[7, 1, 2]), Err(Error::Layout(Some(7)))));
        assert!(matches!(decode(&[]), Err(Error::Layout(None))));
        assert!(matches!(decode(&[LAYOUT, 200]), Err(Error::Damaged(_))));
    }
}
