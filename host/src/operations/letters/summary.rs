//! Takes the headers of a dead letter, gives what it says of itself, each repeated word kept once.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::fingerprint;
use crate::decode::{attribute_name, decode, decoded, is_structured};
use crate::ledger::dead_letter as facts;

/// A word that many letters say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Arc<str>);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

/// A dead letter in short.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Its number in the stream.
    pub id: u64,
    /// Who could not handle it.
    pub plugin: Text,
    /// Its version.
    pub version: Text,
    /// Its component, `sha256:<hex>`.
    pub digest: Text,
    /// The class of what went wrong.
    pub reason: Text,
    /// What went wrong.
    pub error: Text,
    /// The same for every letter of the plug-in with this reason and, but for what differs
    /// from event to event, this error.
    pub group: Text,
    /// How many attempts were made.
    pub attempts: u32,
    /// Of the original.
    pub subject: Text,
    /// Where the original stands in EVENTS.
    pub sequence: u64,
    /// The place in EVENTS whose key waits for this dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<u64>,
    /// The dead letter that this one took the place of when it was edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited: Option<u64>,
    /// The event's id.
    pub event_id: String,
    /// The event's type.
    pub event_type: Text,
    /// The lane's key.
    pub partition_key: Text,
    /// What the event belongs to.
    pub correlation_id: String,
    /// When the first attempt began, RFC 3339.
    pub first_time: String,
    /// When the last attempt ended, RFC 3339.
    pub last_time: String,
    /// The event's trace.
    pub trace_id: String,
    /// Bytes of the body in the stream.
    pub size: usize,
}

impl Summary {
    /// What the body adds where the event stands in it.
    pub(super) fn read_body(&mut self, headers: &HeaderMap, body: &Bytes) {
        self.size = body.len();
        if !is_structured(headers) {
            return;
        }
        let Ok(event) = decode(Some(headers), body) else {
            return;
        };
        if let Some(correlation) = event.text("correlationid") {
            self.correlation_id = correlation.into_owned();
        }
        self.event_type = Text::from(event.event_type.as_str());
        self.event_id = event.id;
        self.group = self.fingerprint();
    }

    fn fingerprint(&self) -> Text {
        let own = [&*self.event_id, &self.partition_key, &self.correlation_id];
        fingerprint::of(&self.plugin, &self.reason, &self.error, &own)
            .as_str()
            .into()
    }
}

/// The words that were said before, and the group of an error that says nothing of its event.
#[derive(Debug, Default)]
pub(super) struct Words {
    said: HashSet<Text>,
    groups: HashMap<[Text; 3], Text>,
}

impl Words {
    fn keep(&mut self, text: &str) -> Text {
        if let Some(known) = self.said.get(text) {
            return known.clone();
        }
        let text = Text::from(text);
        self.said.insert(text.clone());
        text
    }

    fn group(&mut self, summary: &Summary) -> Text {
        let says = |own: &str| 2 < own.len() && summary.error.contains(own);
        if says(&summary.event_id) || says(&summary.partition_key) || says(&summary.correlation_id)
        {
            return self.keep(&summary.fingerprint());
        }
        let Summary {
            plugin,
            reason,
            error,
            ..
        } = summary;
        let same = [plugin.clone(), reason.clone(), error.clone()];
        if let Some(group) = self.groups.get(&same) {
            return group.clone();
        }
        let group = self.keep(&summary.fingerprint());
        self.groups.insert(same, group.clone());
        group
    }

    /// What these headers say. They are gone through once: of many letters this is what costs.
    pub(super) fn summary(&mut self, id: u64, headers: &HeaderMap) -> Summary {
        let none = || Text::from("");
        let mut summary = Summary {
            id,
            plugin: none(),
            version: none(),
            digest: none(),
            reason: none(),
            error: none(),
            group: none(),
            attempts: 0,
            subject: none(),
            sequence: 0,
            blocks: None,
            edited: None,
            event_id: String::new(),
            event_type: none(),
            partition_key: none(),
            correlation_id: String::new(),
            first_time: String::new(),
            last_time: String::new(),
            trace_id: String::new(),
            size: 0,
        };
        for (name, values) in headers.iter() {
            let Some(value) = values.first() else {
                continue;
            };
            let value = value.as_str();
            match name.as_ref() {
                facts::PLUGIN => summary.plugin = self.keep(value),
                facts::VERSION => summary.version = self.keep(value),
                facts::DIGEST => summary.digest = self.keep(value),
                facts::REASON => summary.reason = self.keep(value),
                facts::ERROR => summary.error = self.keep(value),
                facts::ATTEMPTS => summary.attempts = value.parse().unwrap_or(0),
                facts::SUBJECT => summary.subject = self.keep(value),
                facts::SEQUENCE => summary.sequence = value.parse().unwrap_or(0),
                facts::BLOCKS => summary.blocks = value.parse().ok(),
                facts::EDITED => summary.edited = value.parse().ok(),
                facts::PARTITION_KEY => summary.partition_key = self.keep(value),
                facts::FIRST_TIME => value.clone_into(&mut summary.first_time),
                facts::LAST_TIME => value.clone_into(&mut summary.last_time),
                facts::TRACE_ID => value.clone_into(&mut summary.trace_id),
                "Nats-Msg-Size" => summary.size = value.parse().unwrap_or(0),
                // The event's own, in whatever case its sender has written them.
                other => {
                    let Some(name) = attribute_name(other) else {
                        continue;
                    };
                    let text = || decoded(value).unwrap_or_default();
                    if name.eq_ignore_ascii_case("id") {
                        summary.event_id = text();
                    } else if name.eq_ignore_ascii_case("type") {
                        summary.event_type = self.keep(&text());
                    } else if name.eq_ignore_ascii_case("correlationid") {
                        summary.correlation_id = text();
                    }
                }
            }
        }
        summary.group = self.group(&summary);
        summary
    }
}
