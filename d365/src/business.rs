//! Takes a Finance and Operations business event, gives its envelope and its own members.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::describe;
use crate::json::Plain;
use crate::members::{Reader, Writer};
use crate::{Date, Decimal, Error, Json, Members, exact, guid, json, map};

/// A business event: a flat object, the envelope's members and the event's own side by side.
///
/// Fields hold the wire's text; the methods give meaning to it. The message that F&O sends
/// when an endpoint is activated is one too, with blank or zero ids.
/// Source: Microsoft's business events developer documentation, and captured bodies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BusinessEvent {
    /// `CustomerChangedBusinessEvent`, `Workflow_…`; may be blank, or null, in a test message.
    pub business_event_id: String,
    /// The company: `usmf`.
    pub business_event_legal_entity: Option<String>,
    /// What the event is about; often blank.
    pub context_record_subject: Option<String>,
    /// What the parents of that record are about.
    pub parent_context_record_subjects: Vec<Json>,
    /// Grows with time and has gaps: tells old from new, counts nothing. 64 bits.
    pub control_number: Option<i64>,
    /// A GUID in upper case.
    pub event_id: Option<String>,
    /// `/Date(ms)/`, to the second.
    pub event_time: Option<String>,
    /// To 100 ns; missing in older versions.
    pub event_time_iso8601: Option<String>,
    /// `{GUID}` in upper case, with braces. [`BusinessEvent::user`] is without.
    pub initiating_user_aad_object_id: Option<String>,
    /// The contract's major version; usually 0, also when the contract changed.
    pub major_version: Option<i64>,
    /// The contract's minor version; usually 0, also when the contract changed.
    pub minor_version: Option<i64>,
    /// The event's own members as they came; of the envelope, what is null, empty or of
    /// another type.
    pub extra: Members,
}

impl BusinessEvent {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::NotAnObject`], [`Error::Unrecognised`] without a
    /// `BusinessEventId`, [`Error::Shape`] for a list that is none.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        BusinessEvent::from_json(json(body)?)
    }

    /// Reads a body that is JSON already.
    ///
    /// # Errors
    /// As [`BusinessEvent::parse`].
    pub fn from_json(json: Json) -> Result<Self, Error> {
        let Json::Object(members) = json else {
            return Err(Error::NotAnObject {
                found: describe(&json),
            });
        };
        let mut members = Reader(members);
        let business_event_id = match members.text("BusinessEventId") {
            Some(id) => id,
            None if members.0.get("BusinessEventId").is_some_and(Json::is_null) => String::new(),
            None => return Err(map::unrecognised(&members.0)),
        };
        let m = &mut members;
        Ok(BusinessEvent {
            business_event_id,
            business_event_legal_entity: m.text("BusinessEventLegalEntity"),
            context_record_subject: m.text("ContextRecordSubject"),
            parent_context_record_subjects: m.list(
                "ParentContextRecordSubjects",
                "a list, or null",
                Ok,
            )?,
            control_number: m.integer("ControlNumber"),
            event_id: m.text("EventId"),
            event_time: m.text("EventTime"),
            event_time_iso8601: m.text("EventTimeIso8601"),
            initiating_user_aad_object_id: m.text("InitiatingUserAADObjectId"),
            major_version: m.integer("MajorVersion"),
            minor_version: m.integer("MinorVersion"),
            extra: members.0,
        })
    }

    /// The JSON that this event is read from.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut members = Writer(self.extra.clone());
        let m = &mut members;
        let id = self.business_event_id.as_str();
        if !(id.is_empty() && m.0.contains_key("BusinessEventId")) {
            m.put("BusinessEventId", Some(id));
        }
        let texts = [
            (
                "BusinessEventLegalEntity",
                self.business_event_legal_entity.as_deref(),
            ),
            (
                "ContextRecordSubject",
                self.context_record_subject.as_deref(),
            ),
            ("EventId", self.event_id.as_deref()),
            ("EventTime", self.event_time.as_deref()),
            ("EventTimeIso8601", self.event_time_iso8601.as_deref()),
            (
                "InitiatingUserAADObjectId",
                self.initiating_user_aad_object_id.as_deref(),
            ),
        ];
        for (name, value) in texts {
            m.put(name, value);
        }
        let subjects = &self.parent_context_record_subjects;
        m.list("ParentContextRecordSubjects", subjects, Json::clone);
        m.put("ControlNumber", self.control_number);
        m.put("MajorVersion", self.major_version);
        m.put("MinorVersion", self.minor_version);
        Json::Object(members.0)
    }

    /// The event's id in lower case without braces; `None` when blank or zero.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        guid::lower(self.event_id.as_deref())
    }

    /// The company; `None` when blank.
    #[must_use]
    pub fn legal_entity(&self) -> Option<&str> {
        filled(self.business_event_legal_entity.as_deref())
    }

    /// What the event is about; `None` when blank.
    #[must_use]
    pub fn context_subject(&self) -> Option<&str> {
        filled(self.context_record_subject.as_deref())
    }

    /// The user who caused the event, by id in Microsoft Entra, lower case without braces.
    #[must_use]
    pub fn user(&self) -> Option<String> {
        guid::lower(self.initiating_user_aad_object_id.as_deref())
    }

    /// When it happened: to 100 ns where the body says so, else to the second.
    #[must_use]
    pub fn time(&self) -> Option<Date> {
        date(self.event_time_iso8601.as_deref()).or_else(|| date(self.event_time.as_deref()))
    }

    /// `major.minor`; `None` when the body says neither.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        if self.major_version.is_none() && self.minor_version.is_none() {
            return None;
        }
        let part = |part: Option<i64>| part.unwrap_or_default();
        let (major, minor) = (part(self.major_version), part(self.minor_version));
        Some(format!("{major}.{minor}"))
    }

    /// A member of the event's own.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Json> {
        self.extra.get(name)
    }

    /// A member that is a text; enumerations are the symbol's name.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.member(name)?.as_str()
    }

    /// A member that is a boolean, which F&O writes as `Yes` and `No`.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.member(name)? {
            Json::Bool(flag) => Some(*flag),
            Json::String(text) if text.eq_ignore_ascii_case("yes") => Some(true),
            Json::String(text) if text.eq_ignore_ascii_case("no") => Some(false),
            _ => None,
        }
    }

    /// A member that is a number, exactly.
    #[must_use]
    pub fn decimal(&self, name: &str) -> Option<Decimal> {
        match self.member(name)? {
            Json::Number(number) => exact(number),
            _ => None,
        }
    }

    /// A member that is a date; `None` for 1900-01-01, which F&O writes for "no date".
    #[must_use]
    pub fn when(&self, name: &str) -> Option<Date> {
        date(self.text(name))
    }

    /// A member that is a GUID, without braces; `None` when zero.
    #[must_use]
    pub fn guid(&self, name: &str) -> Option<&str> {
        guid::known(self.text(name)?)
    }
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

fn date(text: Option<&str>) -> Option<Date> {
    Date::parse(text?).ok().filter(|date| !date.is_null_date())
}

impl Serialize for BusinessEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BusinessEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BusinessEvent::from_json(Plain::deserialize(deserializer)?.0)
            .map_err(serde::de::Error::custom)
    }
}
