//! Takes an event as the host gives it, gives its attributes and its data by type.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::d365::{self, BusinessEvent, RemoteExecutionContext};
use crate::{Attribute, EventBuilder};

/// Why the data of an event is not what the plug-in expects.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data does not fit the type that was asked for.
    #[error("the data of the event is not the JSON that the plug-in reads ({found})")]
    Json {
        /// How much data there is, and of what media type.
        found: String,
        /// What the JSON reader found, and where.
        source: serde_json::Error,
    },
    /// The data is no Dataverse execution context, or no Finance and Operations business event.
    #[error("the data of the event is not the Dynamics 365 body that the plug-in reads")]
    D365(#[from] d365::Error),
    /// The own members of a business event are not what the plug-in reads.
    #[error("the members of the business event {id:?} do not fit {wanted}")]
    Members {
        /// The business event's id.
        id: String,
        /// The Rust type that was asked for.
        wanted: &'static str,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// A value cannot be written as the JSON data of a new event.
    #[error("the data of the event {event_type:?} cannot be written as JSON")]
    Write {
        /// Type of the event that was being built.
        event_type: String,
        /// What the JSON writer found.
        source: serde_json::Error,
    },
}

/// A CloudEvent 1.0: its attributes, and the body of its source byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) event_type: String,
    pub(crate) subject: Option<String>,
    pub(crate) time: Option<String>,
    pub(crate) data_content_type: Option<String>,
    pub(crate) data_schema: Option<String>,
    pub(crate) extensions: Vec<(String, Attribute)>,
    pub(crate) data: Option<Vec<u8>>,
}

impl Event {
    /// Begins an event to emit, or one to test with, of a type such as
    /// `d365.custom.credit-hold.raised`.
    pub fn builder(event_type: impl Into<String>) -> EventBuilder {
        EventBuilder::new(event_type.into())
    }

    /// With the source, what makes the event one of a kind.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the event is from: `/dataverse/<environment>`, `/fno/<environment>/<legal entity>`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The Dynamics 365 environment: the second part of the source, percent-decoded.
    ///
    /// In a subject it is a token: [`d365::token`] spells it so.
    pub fn environment(&self) -> Option<Cow<'_, str>> {
        self.source_part(1)
    }

    /// The legal entity of Finance and Operations: the third part of the source,
    /// percent-decoded.
    pub fn legal_entity(&self) -> Option<Cow<'_, str>> {
        self.source_part(2)
    }

    /// What happened: `d365.dataverse.account.update`, `d365.fno.<BusinessEventId>`.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// What it happened to: `account/<record id>`.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// When it happened, RFC 3339.
    pub fn time(&self) -> Option<&str> {
        self.time.as_deref()
    }

    /// Media type of the data, `application/json`.
    pub fn data_content_type(&self) -> Option<&str> {
        self.data_content_type.as_deref()
    }

    /// URI of the schema that the data follows.
    pub fn data_schema(&self) -> Option<&str> {
        self.data_schema.as_deref()
    }

    /// The body as the source sent it; empty when there is none.
    pub fn data(&self) -> &[u8] {
        self.data.as_deref().unwrap_or_default()
    }

    /// An extension attribute (`partitionkey`, `correlationid`, `d365depth`, …) as it came.
    ///
    /// Events that came over NATS or in HTTP's binary mode have text only; [`Attribute::integer`]
    /// and [`Attribute::boolean`] read both.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        let mut extensions = self.extensions.iter();
        extensions
            .find(|(own, _)| own == name)
            .map(|(_, value)| value)
    }

    /// Any attribute in its text form, by its CloudEvents name: `type`, `time`, `d365depth`, …
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let core = match name {
            "specversion" => Some("1.0"),
            "id" => Some(self.id()),
            "source" => Some(self.source()),
            "type" => Some(self.event_type()),
            "subject" => self.subject(),
            "time" => self.time(),
            "datacontenttype" => self.data_content_type(),
            "dataschema" => self.data_schema(),
            _ => return self.attribute(name).map(Attribute::text),
        };
        core.map(Cow::Borrowed)
    }

    /// Every extension attribute, in the order in which they came.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &Attribute)> {
        self.extensions
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The data as a type of the plug-in's own; it may borrow from the event.
    ///
    /// An amount keeps its digits in [`d365::Number`] or `serde_json::value::RawValue`; in an
    /// `f64` it does not.
    ///
    /// Errors when the data is no JSON, or does not fit.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_slice(self.data()).map_err(|source| Error::Json {
            found: format!(
                "{} bytes of {}",
                self.data().len(),
                self.data_content_type().unwrap_or("no stated media type")
            ),
            source,
        })
    }

    /// The data as Dataverse's execution context: a record's change, a custom API's call, or a
    /// data event of Finance and Operations.
    ///
    /// Errors when it is something else.
    pub fn record(&self) -> Result<RemoteExecutionContext, Error> {
        Ok(RemoteExecutionContext::parse(self.data())?)
    }

    /// The data as a business event of Finance and Operations.
    ///
    /// Errors when it is something else.
    pub fn business_event(&self) -> Result<BusinessEvent, Error> {
        Ok(BusinessEvent::parse(self.data())?)
    }

    fn source_part(&self, index: usize) -> Option<Cow<'_, str>> {
        let path = self.source.strip_prefix('/')?;
        let part = path.split('/').nth(index).filter(|part| !part.is_empty())?;
        Some(percent_decode_str(part).decode_utf8_lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_by_their_cloudevents_names() {
        let event = Event::builder("d365.dataverse.account.update")
            .id("1")
            .source("/dataverse/contoso")
            .attribute("d365depth", 2)
            .attribute("d365truncated", true)
            .attribute("d365controlnumber", "5637611083")
            .build();
        assert_eq!(
            event.text("type").as_deref(),
            Some("d365.dataverse.account.update")
        );
        assert_eq!(event.text("specversion").as_deref(), Some("1.0"));
        assert_eq!(event.text("d365depth").as_deref(), Some("2"));
        assert_eq!(event.text("d365truncated").as_deref(), Some("true"));
        assert_eq!(event.text("subject"), None);
        assert_eq!(event.attribute("d365depth"), Some(&Attribute::Integer(2)));
        assert_eq!(event.attribute("type"), None);
        assert_eq!(event.attributes().count(), 3);
    }

    #[test]
    fn the_source_names_environment_and_legal_entity() {
        let from = |source: &str| Event::builder("t").source(source).build();
        let fno = from("/fno/contoso/us%20mf");
        assert_eq!(fno.environment().as_deref(), Some("contoso"));
        assert_eq!(fno.legal_entity().as_deref(), Some("us mf"));
        assert_eq!(from("/dataverse/contoso").legal_entity(), None);
        for other in ["", "/", "/dataverse", "/dataverse/", "urn:x"] {
            assert_eq!(from(other).environment(), None, "{other}");
        }
    }

    #[test]
    fn data_that_does_not_fit_says_how_much_of_what_it_was() {
        let event = Event::builder("t").data("text/plain", "hello").build();
        let error = event.json::<u8>().unwrap_err();
        assert!(
            error.to_string().contains("5 bytes of text/plain"),
            "{error}"
        );
        assert!(event.record().is_err());
        assert!(event.business_event().is_err());
        assert!(Event::builder("t").build().json::<u8>().is_err());
    }

    #[test]
    fn json_may_borrow_from_the_event() {
        let event = Event::builder("t").json(&["a", "b"]).unwrap().build();
        assert_eq!(event.data_content_type(), Some("application/json"));
        assert_eq!(event.json::<Vec<&str>>().unwrap(), ["a", "b"]);
    }
}
