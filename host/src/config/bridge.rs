//! Takes `[[bridge]]`, gives what is exchanged with another broker, in which direction, and how.

use std::collections::BTreeMap;

use toml::Spanned;

use super::raw::RawBridge;
use super::resolve::{File, is_token};
use super::{Error, SecretUse, SourceKind};
use crate::manifest::section::Section;
use crate::manifest::subject::{SUBSCRIPTION, is_subscription};
use crate::manifest::{RESERVED, TypePattern};

pub mod http;
pub mod kafka;
pub mod service_bus;

pub use http::{Handshake, Http, HttpMode};
pub use kafka::{Kafka, KafkaMode, KafkaTls, Sasl, Start};
pub use service_bus::{Credential, ServiceBus};

const NAME: &str = "1 to 63 lower-case letters, digits and -";
const ENVIRONMENT: &str = "1 to 63 lower-case letters, digits, - and _";
const TYPE: &str = "a CloudEvents type such as \"d365.dataverse.account.update\", or its start and one * at the end";
const KINDS: &str =
    "one table that says with what: http = { … }, kafka = { … } or service_bus = { … }";

/// Those of the file, by name.
type Secrets = BTreeMap<String, SecretUse>;

/// One `[[bridge]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Bridge {
    /// `[a-z0-9-]{1,63}`, no plug-in's and no other bridge's.
    pub name: String,
    /// Which way.
    pub direction: Direction,
    /// With what.
    pub peer: Peer,
}

/// Which way events go.
#[derive(Debug, Clone, PartialEq)]
pub enum Direction {
    /// From there into the event store.
    In(Inward),
    /// From the event store to there.
    Out(Outward),
}

/// What comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inward {
    /// Environment in the subject, `[a-z0-9_-]{1,63}`.
    pub environment: String,
    /// Which wire format the bodies have.
    pub format: SourceKind,
}

/// What goes out.
#[derive(Debug, Clone, PartialEq)]
pub struct Outward {
    /// Subjects with NATS wildcards, the slot left out; at least one.
    pub subjects: Vec<String>,
    /// CloudEvents types; empty for any.
    pub types: Vec<TypePattern>,
}

/// With what events are exchanged.
#[derive(Debug, Clone, PartialEq)]
pub enum Peer {
    /// Whoever takes CloudEvents over HTTP: an Event Grid topic, a webhook.
    Http(Http),
    /// A queue, topic or subscription over AMQP 1.0: Azure Service Bus.
    ServiceBus(Box<ServiceBus>),
    /// A topic of a broker that speaks the Kafka protocol.
    Kafka(Kafka),
}

impl File<'_> {
    pub(super) fn bridges(
        &self,
        raw: &[Spanned<RawBridge>],
        secrets: &Secrets,
    ) -> Result<Vec<Bridge>, Error> {
        let mut bridges: Vec<Bridge> = Vec::with_capacity(raw.len());
        for at in raw {
            let bridge = self.bridge(at, secrets)?;
            if bridges.iter().any(|other| other.name == bridge.name) {
                let section = self.section("[[bridge]]");
                let reason = "found a second bridge of this name, expected each name once";
                return Err(section
                    .rule("name", at.get_ref().name.as_ref(), reason)
                    .into());
            }
            bridges.push(bridge);
        }
        Ok(bridges)
    }

    fn bridge(&self, at: &Spanned<RawBridge>, secrets: &Secrets) -> Result<Bridge, Error> {
        let raw = at.get_ref();
        let section = self.section("[[bridge]]");
        let name = section
            .parsed("name", &raw.name, NAME, |text| {
                let ok =
                    |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                ((1..=63).contains(&text.len()) && text.bytes().all(ok)).then(|| text.to_owned())
            })?
            .ok_or_else(|| section.missing_in(at, "name", NAME))?;
        if RESERVED.contains(&name.as_str()) {
            let reason = "found a name that subjects of the ledger use themselves (dead, gateway, out), expected another";
            return Err(section.rule("name", raw.name.as_ref(), reason).into());
        }
        let is_in = section
            .choice("direction", &raw.direction, &[("in", true), ("out", false)])?
            .ok_or_else(|| section.missing_in(at, "direction", "\"in\" or \"out\""))?;
        let direction = if is_in {
            Direction::In(inward(section, at)?)
        } else {
            Direction::Out(outward(section, at)?)
        };
        Ok(Bridge {
            peer: self.peer(section, at, (&direction, secrets))?,
            name,
            direction,
        })
    }

    fn peer(
        &self,
        section: Section<'_>,
        at: &Spanned<RawBridge>,
        (direction, secrets): (&Direction, &Secrets),
    ) -> Result<Peer, Error> {
        let raw = at.get_ref();
        let http = match (&raw.http, &raw.kafka, &raw.service_bus) {
            (Some(http), None, None) => http,
            (None, Some(kafka), None) => {
                return Ok(Peer::Kafka(self.bridge_kafka(kafka, direction)?));
            }
            (None, None, Some(queue)) => {
                let is_in = matches!(direction, Direction::In(_));
                let queue = self.service_bus(queue, is_in)?;
                return Ok(Peer::ServiceBus(Box::new(queue)));
            }
            (None, None, None) => return Err(section.missing_in(at, "http", KINDS).into()),
            _ => {
                let reason = format!("found several tables, expected {KINDS}");
                return Err(section.rule("name", raw.name.as_ref(), &reason).into());
            }
        };
        if let Direction::In(_) = direction {
            let reason = "found in a bridge with direction = \"in\", expected \"out\"; what comes \
                          in over HTTP is the gateway's: [[gateway.source]]";
            return Err(section.rule("http", Some(http), reason).into());
        }
        Ok(Peer::Http(self.bridge_http(http, secrets)?))
    }
}

fn inward(section: Section<'_>, at: &Spanned<RawBridge>) -> Result<Inward, Error> {
    let raw = at.get_ref();
    let kinds = [
        ("dataverse", SourceKind::Dataverse),
        ("fno", SourceKind::Fno),
        ("eventgrid", SourceKind::EventGrid),
        ("cloudevents", SourceKind::CloudEvents),
    ];
    for (key, list) in [("subjects", &raw.subjects), ("types", &raw.types)] {
        if let Some(found) = list {
            let reason = "found in a bridge with direction = \"in\", expected only with \"out\"";
            return Err(section.rule(key, Some(found), reason).into());
        }
    }
    let environment = section.parsed("environment", &raw.environment, ENVIRONMENT, |text| {
        is_token(text, |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit()
        })
    })?;
    let format = section.choice("format", &raw.format, &kinds)?;
    Ok(Inward {
        environment: environment
            .ok_or_else(|| section.missing_in(at, "environment", ENVIRONMENT))?,
        format: format.ok_or_else(|| {
            let formats = "\"dataverse\" or \"fno\" or \"eventgrid\" or \"cloudevents\"";
            section.missing_in(at, "format", formats)
        })?,
    })
}

fn outward(section: Section<'_>, at: &Spanned<RawBridge>) -> Result<Outward, Error> {
    let raw = at.get_ref();
    for (key, leaf) in [("environment", &raw.environment), ("format", &raw.format)] {
        if let Some(found) = leaf {
            let reason = "found in a bridge with direction = \"out\", expected only with \"in\"";
            return Err(section.rule(key, Some(found), reason).into());
        }
    }
    let subjects = section.list("subjects", &raw.subjects, SUBSCRIPTION, |text| {
        is_subscription(text).then(|| text.to_owned())
    })?;
    let subjects = subjects.filter(|subjects| !subjects.is_empty());
    let types = section.list("types", &raw.types, TYPE, TypePattern::parse)?;
    Ok(Outward {
        subjects: subjects.ok_or_else(|| {
            section.missing_in(at, "subjects", &format!("at least {SUBSCRIPTION}"))
        })?,
        types: types.unwrap_or_default(),
    })
}
