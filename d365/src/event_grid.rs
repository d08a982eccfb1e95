//! Takes an event in the Event Grid schema, gives its members by name.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::describe;
use crate::json::Plain;
use crate::members::{Reader, Writer};
use crate::{Date, Error, Json, Members, json};

/// `eventType` of the event with which Event Grid asks whether an endpoint wants its events.
const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";
const ACCEPTED_TEXT: &str = "a text that is not blank";

/// An event in the Event Grid schema, one element of what Event Grid posts.
///
/// Source: "Azure Event Grid event schema" in Microsoft's documentation. The CloudEvents
/// schema, Event Grid's other one, is not read here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventGridEvent {
    /// The same whenever the event is delivered again. Not blank.
    pub id: String,
    /// `Microsoft.Storage.BlobCreated`. Not blank.
    pub event_type: String,
    /// The resource that the event comes from, `/subscriptions/…`.
    pub topic: Option<String>,
    /// What the event is about; the publisher says it.
    pub subject: Option<String>,
    /// RFC 3339 as a rule: read it with [`EventGridEvent::time`].
    pub event_time: Option<String>,
    /// What the publisher has to say; any JSON.
    pub data: Option<Json>,
    /// Version of the schema of `data`; often blank.
    pub data_version: Option<String>,
    /// Version of this schema: `1`.
    pub metadata_version: Option<String>,
    /// Every other member as it came, and what is null or of another type.
    pub extra: Members,
}

impl EventGridEvent {
    /// Reads one event. What Event Grid posts is a list of them: see
    /// [`event_grid`](crate::event_grid()).
    ///
    /// # Errors
    /// [`Error::Json`]; [`Error::Shape`] for what is no object, and where `id` or `eventType`
    /// is missing, blank or no text.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        EventGridEvent::from_json(json(body)?)
    }

    /// Reads one event that is JSON already.
    ///
    /// # Errors
    /// As [`EventGridEvent::parse`].
    pub fn from_json(json: Json) -> Result<Self, Error> {
        match json {
            Json::Object(members) => EventGridEvent::from_members(Reader(members)),
            other => Err(not_an_event(&other)),
        }
    }

    pub(crate) fn from_members(mut members: Reader) -> Result<Self, Error> {
        let m = &mut members;
        Ok(EventGridEvent {
            id: required(m, "id")?,
            event_type: required(m, "eventType")?,
            topic: m.text("topic"),
            subject: m.text("subject"),
            event_time: m.text("eventTime"),
            data: m.take("data", |_| true),
            data_version: m.text("dataVersion"),
            metadata_version: m.text("metadataVersion"),
            extra: members.0,
        })
    }

    /// The JSON that this event is read from.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut members = Writer(self.extra.clone());
        let texts = [
            ("id", Some(self.id.as_str())),
            ("eventType", Some(self.event_type.as_str())),
            ("topic", self.topic.as_deref()),
            ("subject", self.subject.as_deref()),
            ("eventTime", self.event_time.as_deref()),
            ("dataVersion", self.data_version.as_deref()),
            ("metadataVersion", self.metadata_version.as_deref()),
        ];
        for (name, value) in texts {
            members.put(name, value);
        }
        members.put("data", self.data.clone());
        Json::Object(members.0)
    }

    /// When it happened, in UTC; `None` unless `eventTime` is RFC 3339.
    #[must_use]
    pub fn time(&self) -> Option<Date> {
        Date::rfc3339_only(self.event_time.as_deref()?)
    }

    /// The code that Event Grid wants back, if this is how it asks whether the endpoint wants
    /// its events: answer 200 with `{"validationResponse": code}`.
    #[must_use]
    pub fn validation_code(&self) -> Option<&str> {
        validation_code(&self.event_type, self.data.as_ref()?)
    }
}

/// The code in the data of an event of this type.
pub(crate) fn validation_code<'a>(event_type: &str, data: &'a Json) -> Option<&'a str> {
    is_validation(event_type)
        .then(|| data.get("validationCode")?.as_str())
        .flatten()
        .filter(|code| !code.trim().is_empty())
}

/// Whether an event of this type is Event Grid's question.
pub(crate) fn is_validation(event_type: &str) -> bool {
    event_type.eq_ignore_ascii_case(VALIDATION)
}

/// The error for an element that is no object.
pub(crate) fn not_an_event(found: &Json) -> Error {
    Error::shape("the event", found, "an object in the Event Grid schema")
}

fn required(members: &mut Reader, name: &str) -> Result<String, Error> {
    let filled = |json: &Json| json.as_str().is_some_and(|text| !text.trim().is_empty());
    match members.take(name, filled) {
        Some(Json::String(text)) => Ok(text),
        _ => Err(Error::Shape {
            at: name.to_owned(),
            found: members
                .0
                .get(name)
                .map_or_else(|| "missing".to_owned(), describe),
            accepted: ACCEPTED_TEXT,
        }),
    }
}

impl Serialize for EventGridEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EventGridEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        EventGridEvent::from_json(Plain::deserialize(deserializer)?.0)
            .map_err(serde::de::Error::custom)
    }
}
