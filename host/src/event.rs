//! The CloudEvent that travels through the host, and the rules that one must keep.
//!
//! The rules are those of CloudEvents 1.0.2 (`spec.md`, "Context Attributes" and
//! "Type System"). Readers ([`crate::decode`]) and the emit path share them, so that
//! what a plug-in sends out is as sound as what it is given.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::digest::first;

pub(crate) mod media;
mod rfc3339;
mod rules;
#[cfg(test)]
mod tests;

pub(crate) use rules::excerpt;
pub use rules::{CORE, Error, is_extension_name, validate};

/// A CloudEvent 1.0. Attribute values are kept as they came: a time keeps its offset
/// and its digits, a URI is not normalised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// With `source`, what makes the event one of a kind. Not empty.
    pub id: String,
    /// URI-reference of the event source, `/dataverse/contoso`. Not empty.
    pub source: String,
    /// The attribute `type`: `d365.dataverse.account.update`. Not empty.
    pub event_type: String,
    /// `account/<record id>`. Not empty when there.
    pub subject: Option<String>,
    /// RFC 3339.
    pub time: Option<String>,
    /// Media type of `data`, RFC 2046.
    pub datacontenttype: Option<String>,
    /// URI of the schema that `data` follows.
    pub dataschema: Option<String>,
    /// Every other attribute, names unique and `[a-z0-9]{1,}`.
    pub extensions: Vec<(String, AttributeValue)>,
    /// The source's body, byte for byte.
    pub data: Option<Bytes>,
}

/// The value of an extension attribute. Binary mode carries text only, so that the two
/// other kinds come from JSON or from a plug-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number of 32 bits, the only size that CloudEvents knows.
    Integer(i32),
    /// Everything else; URIs, times and base64 are text here.
    Text(String),
}

/// The canonical string of the CloudEvents type system, as binary mode carries it.
impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

impl Event {
    /// The value of any attribute, `specversion` and extensions included, as text.
    /// `None` when the event does not have it.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let core = match name {
            "specversion" => Some("1.0"),
            "id" => Some(self.id.as_str()),
            "source" => Some(self.source.as_str()),
            "type" => Some(self.event_type.as_str()),
            "subject" => self.subject.as_deref(),
            "time" => self.time.as_deref(),
            "datacontenttype" => self.datacontenttype.as_deref(),
            "dataschema" => self.dataschema.as_deref(),
            extension => {
                return self.extension(extension).map(|value| match value {
                    AttributeValue::Text(text) => Cow::Borrowed(text.as_str()),
                    AttributeValue::Boolean(_) | AttributeValue::Integer(_) => {
                        Cow::Owned(value.to_string())
                    }
                });
            }
        };
        core.map(Cow::Borrowed)
    }

    /// The value of one extension attribute, with its type.
    pub fn extension(&self, name: &str) -> Option<&AttributeValue> {
        self.extensions
            .iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// What orders the event: the extension `partitionkey` when it is text and not
    /// empty, else the subject, else the id.
    pub fn partition_key(&self) -> &str {
        match self.extension("partitionkey") {
            Some(AttributeValue::Text(key)) if !key.is_empty() => key,
            _ => self.subject.as_deref().unwrap_or(&self.id),
        }
    }

    /// By which the broker drops an event that it has seen within `events.dedup_window`.
    pub fn message_id(&self) -> String {
        format!("{}#{}", self.source, self.id)
    }

    /// What the inbox remembers of an event: the first 16 bytes of SHA-256 over source,
    /// a zero byte, id. Neither may hold a zero byte (see [`validate`]), so no two
    /// pairs give the same input.
    pub fn inbox_id(&self) -> [u8; 16] {
        let digest = Sha256::new()
            .chain_update(self.source.as_bytes())
            .chain_update([0])
            .chain_update(self.id.as_bytes())
            .finalize();
        first(&digest)
    }

    /// Whether `data` is JSON by its media type: subtype `json` or suffix `+json`.
    /// An event without `datacontenttype` says nothing, so the answer is no.
    pub fn is_json(&self) -> bool {
        self.datacontenttype.as_deref().is_some_and(media::is_json)
    }
}
