//! Takes the parts of an event one by one, gives the event.

use serde::Serialize;

use crate::event::Error;
use crate::{Attribute, Event};

/// An event under construction, to emit or to test with.
///
/// What is left out the host fills: `id` (the same whenever the call is repeated), `source`,
/// `time`, `partitionkey`, `correlationid`, `causationid`.
#[derive(Debug, Clone)]
#[must_use = "give it to outbox::emit"]
pub struct EventBuilder(Event);

impl EventBuilder {
    pub(crate) fn new(event_type: String) -> Self {
        Self(Event {
            id: String::new(),
            source: String::new(),
            event_type,
            subject: None,
            time: None,
            data_content_type: None,
            data_schema: None,
            extensions: Vec::new(),
            data: None,
        })
    }

    /// An id of the plug-in's own. With the source it must be one of a kind: of events with
    /// the same id, whoever subscribes handles the first one only (within the ledger's dedup
    /// window).
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.id = id.into();
        self
    }

    /// A source of the plug-in's own, as URI-reference.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.0.source = source.into();
        self
    }

    /// What it is about: `account/<record id>`.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.0.subject = Some(subject.into());
        self
    }

    /// When it happened, RFC 3339.
    pub fn time(mut self, time: impl Into<String>) -> Self {
        self.0.time = Some(time.into());
        self
    }

    /// URI of the schema that the data follows.
    pub fn data_schema(mut self, uri: impl Into<String>) -> Self {
        self.0.data_schema = Some(uri.into());
        self
    }

    /// What the event is to be kept in order by; the key of the event being handled when left
    /// out.
    pub fn partition_key(self, key: impl Into<String>) -> Self {
        self.attribute("partitionkey", key.into())
    }

    /// An extension attribute, in place of one of that name. CloudEvents names are lower-case
    /// ASCII letters and digits.
    pub fn attribute(mut self, name: &str, value: impl Into<Attribute>) -> Self {
        self.0.extensions.retain(|(own, _)| own != name);
        self.0.extensions.push((name.to_owned(), value.into()));
        self
    }

    /// The data as bytes of a media type.
    pub fn data(mut self, media_type: &str, data: impl Into<Vec<u8>>) -> Self {
        self.0.data_content_type = Some(media_type.to_owned());
        self.0.data = Some(data.into());
        self
    }

    /// The data as JSON.
    ///
    /// Errors when JSON has no form for the value (a map with keys that are no text).
    pub fn json<T: Serialize + ?Sized>(self, data: &T) -> Result<Self, Error> {
        match serde_json::to_vec(data) {
            Ok(data) => Ok(self.data("application/json", data)),
            Err(source) => Err(Error::Write {
                event_type: self.0.event_type,
                source,
            }),
        }
    }

    /// The event.
    pub fn build(self) -> Event {
        self.0
    }
}

impl From<EventBuilder> for Event {
    fn from(builder: EventBuilder) -> Self {
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_replaces_the_one_before() {
        let event = Event::builder("t")
            .partition_key("a")
            .partition_key("b")
            .build();
        assert_eq!(event.text("partitionkey").as_deref(), Some("b"));
        assert_eq!(event.attributes().count(), 1);
    }

    #[test]
    fn what_json_cannot_say_is_an_error_that_names_the_type() {
        let data = std::collections::HashMap::from([((1, 2), 3)]);
        let error = Event::builder("d365.custom.x").json(&data).unwrap_err();
        assert!(error.to_string().contains("d365.custom.x"), "{error}");
    }
}
