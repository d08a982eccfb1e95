//! Takes `kafka` of a `[[bridge]]`, gives a topic of a broker that speaks the Kafka protocol.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::Direction;
use crate::config::raw::{RawBridgeKafka, RawKafkaSasl};
use crate::config::resolve::File;
use crate::config::{Error, Secret};
use crate::manifest::Origin;
use crate::manifest::section::Section;

const BROKERS: &str = "at least one address such as \"contoso.servicebus.windows.net:9093\"";
const TOPIC: &str = "the name of a topic: 1 to 249 letters, digits, ., - and _";
const GROUP: &str = "the name of a consumer group, such as \"$Default\" or \"sluicegate\"";
const TOKEN_URL: &str =
    "an https address such as \"https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token\"";
const PROPERTY: &str = "a text, a number or a switch, as librdkafka takes it";
const HOW: &str = "username with password, or token_url with client_id, client_secret and scope";

/// Settings of librdkafka that change how it works and nothing that is promised.
const PROPERTIES: [&str; 33] = [
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "debug",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.instance.id",
    "heartbeat.interval.ms",
    "linger.ms",
    "message.max.bytes",
    "metadata.max.age.ms",
    "partition.assignment.strategy",
    "partitioner",
    "queued.max.messages.kbytes",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "topic.metadata.refresh.interval.ms",
];

/// A topic, and how its broker is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    /// What is read, or written to.
    pub topic: String,
    /// The consumer group of a bridge in, in which its position is kept.
    pub group: String,
    /// Where a group begins that has no position yet.
    pub start: Start,
    /// After so long without a sign of life its partitions are given to others.
    pub session_timeout: Duration,
    /// How a record of a bridge out carries its event.
    pub mode: KafkaMode,
    /// TLS; plain text without.
    pub tls: Option<KafkaTls>,
    /// How the host shows who it is.
    pub sasl: Option<Sasl>,
    /// More settings of the client, by librdkafka's names.
    pub properties: BTreeMap<String, String>,
}

/// How a record carries its event (CloudEvents Kafka binding, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaMode {
    /// Attributes in `ce_*` headers, the data as the record's value.
    Binary,
    /// The value is the event in the JSON event format.
    Structured,
}

/// Where a consumer group without a position begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record that is there.
    Earliest,
    /// With the first that comes.
    Latest,
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KafkaTls {
    /// Whom to trust in place of the system's authorities.
    pub ca: Option<PathBuf>,
    /// The client's certificate; there when `key` is.
    pub cert: Option<PathBuf>,
    /// The client's key.
    pub key: Option<PathBuf>,
}

/// How the host shows who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sasl {
    /// With a name and a password.
    Password {
        /// Which exchange.
        mechanism: Mechanism,
        /// `$ConnectionString` for Event Hubs, an API key for Confluent Cloud.
        username: String,
        /// The connection string, the API key's secret.
        password: Secret,
    },
    /// With a token of OAuth 2.0 client credentials.
    Token {
        /// The token endpoint.
        token_url: String,
        /// Who the host is there.
        client_id: String,
        /// How it shows that.
        client_secret: Secret,
        /// What the token is to be for.
        scope: String,
    },
}

/// An exchange with a name and a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// The password itself.
    Plain,
    /// A proof of it.
    ScramSha256,
    /// A proof of it.
    ScramSha512,
}

impl Mechanism {
    /// As the protocol has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Kafka {
    fn is_local(&self) -> bool {
        let local = ["localhost", "127.0.0.1", "[::1]"];
        let host = |broker: &String| broker.rsplit_once(':').map(|(host, _)| host.to_owned());
        self.brokers
            .iter()
            .all(|broker| host(broker).is_some_and(|host| local.contains(&host.as_str())))
    }
}

fn broker(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    (!host.is_empty() && host.bytes().all(is_host) && is_port).then(|| text.to_owned())
}

fn topic(text: &str) -> Option<String> {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    ((1..=249).contains(&text.len()) && text.bytes().all(ok)).then(|| text.to_owned())
}

impl File<'_> {
    pub(super) fn bridge_kafka(
        &self,
        at: &Spanned<RawBridgeKafka>,
        direction: &Direction,
    ) -> Result<Kafka, Error> {
        let raw = at.get_ref();
        let section = self.section("[[bridge]] kafka");
        only_one_way(section, raw, direction)?;
        let brokers = section.list("brokers", &raw.brokers, BROKERS, broker)?;
        let brokers = brokers.filter(|brokers| !brokers.is_empty());
        let group = section.text("group", &raw.group, GROUP)?;
        let group = match direction {
            Direction::In(_) => group.ok_or_else(|| section.missing_in(at, "group", GROUP))?,
            Direction::Out(_) => String::new(),
        };
        let starts = [("earliest", Start::Earliest), ("latest", Start::Latest)];
        let modes = [
            ("binary", KafkaMode::Binary),
            ("structured", KafkaMode::Structured),
        ];
        let session = Duration::from_secs(6)..=Duration::from_secs(300);
        let kafka = Kafka {
            brokers: brokers.ok_or_else(|| section.missing_in(at, "brokers", BROKERS))?,
            topic: section
                .parsed("topic", &raw.topic, TOPIC, topic)?
                .ok_or_else(|| section.missing_in(at, "topic", TOPIC))?,
            group,
            start: section
                .choice("start", &raw.start, &starts)?
                .unwrap_or(Start::Earliest),
            session_timeout: section
                .duration("session_timeout", &raw.session_timeout, "30s", session)?
                .unwrap_or(Duration::from_secs(30)),
            mode: section
                .choice("mode", &raw.mode, &modes)?
                .unwrap_or(KafkaMode::Binary),
            tls: self.kafka_tls(section, raw)?,
            sasl: raw.sasl.as_ref().map(|sasl| self.sasl(sasl)).transpose()?,
            properties: properties(section, &raw.properties)?,
        };
        if let (Some(sasl), None, false) = (&raw.sasl, &kafka.tls, kafka.is_local()) {
            let reason = "found with security = \"none\", where everybody on the way reads the \
                          secret; expected \"tls\"";
            return Err(section.rule("sasl", Some(sasl), reason).into());
        }
        Ok(kafka)
    }

    fn kafka_tls(
        &self,
        section: Section<'_>,
        raw: &RawBridgeKafka,
    ) -> Result<Option<KafkaTls>, Error> {
        let is_tls = section
            .choice("security", &raw.security, &[("tls", true), ("none", false)])?
            .unwrap_or(true);
        let tls = KafkaTls {
            ca: self.path(section, "ca", &raw.ca)?,
            cert: self.path(section, "cert", &raw.cert)?,
            key: self.path(section, "key", &raw.key)?,
        };
        if !is_tls && tls != KafkaTls::default() {
            let reason = "found with ca, cert or key, expected \"tls\"";
            return Err(section
                .rule("security", raw.security.as_ref(), reason)
                .into());
        }
        if tls.cert.is_some() != tls.key.is_some() {
            let found = raw.cert.as_ref().or(raw.key.as_ref());
            let reason = "found cert without key, or key without cert, expected both";
            return Err(section.rule("cert", found, reason).into());
        }
        Ok(is_tls.then_some(tls))
    }

    fn sasl(&self, at: &Spanned<RawKafkaSasl>) -> Result<Sasl, Error> {
        let raw = at.get_ref();
        let section = self.section("[[bridge]] kafka sasl");
        let mechanisms = [
            ("PLAIN", Some(Mechanism::Plain)),
            ("SCRAM-SHA-256", Some(Mechanism::ScramSha256)),
            ("SCRAM-SHA-512", Some(Mechanism::ScramSha512)),
            ("OAUTHBEARER", None),
        ];
        let mechanism = section
            .choice("mechanism", &raw.mechanism, &mechanisms)?
            .ok_or_else(|| section.missing_in(at, "mechanism", "\"PLAIN\" or \"OAUTHBEARER\""))?;
        let username = section.text("username", &raw.username, "a name")?;
        let password = self.secret(
            section,
            ("password", &raw.password),
            ("password_file", &raw.password_file),
        )?;
        let token_url = section.parsed("token_url", &raw.token_url, TOKEN_URL, |text| {
            let url = Origin::parse(text)?;
            let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&url.host.as_str());
            (url.tls || is_local).then(|| text.to_owned())
        })?;
        let client_id = section.text("client_id", &raw.client_id, "the id of an app")?;
        let client_secret = self.secret(
            section,
            ("client_secret", &raw.client_secret),
            ("client_secret_file", &raw.client_secret_file),
        )?;
        let scope = section.text("scope", &raw.scope, "a scope, or several with blanks")?;
        let password = (username, password);
        let token = (token_url, client_id, client_secret, scope);
        match (mechanism, password, token) {
            (Some(mechanism), (Some(username), Some(password)), (None, None, None, None)) => {
                Ok(Sasl::Password {
                    mechanism,
                    username,
                    password,
                })
            }
            (None, (None, None), (Some(token_url), Some(client_id), Some(secret), Some(scope))) => {
                Ok(Sasl::Token {
                    token_url,
                    client_id,
                    client_secret: secret,
                    scope,
                })
            }
            _ => {
                let reason = format!("expected one of these: {HOW}");
                Err(section
                    .rule("mechanism", raw.mechanism.as_ref(), &reason)
                    .into())
            }
        }
    }
}

/// Keys that mean something in one direction only.
fn only_one_way(
    section: Section<'_>,
    raw: &RawBridgeKafka,
    direction: &Direction,
) -> Result<(), Error> {
    let (way, keys) = match direction {
        Direction::In(_) => ("out", [("mode", &raw.mode), ("", &None), ("", &None)]),
        Direction::Out(_) => (
            "in",
            [
                ("group", &raw.group),
                ("start", &raw.start),
                ("session_timeout", &raw.session_timeout),
            ],
        ),
    };
    for (key, leaf) in keys {
        if let Some(found) = leaf {
            let reason =
                format!("found in a bridge of the other direction, expected only with \"{way}\"");
            return Err(section.rule(key, Some(found), &reason).into());
        }
    }
    Ok(())
}

fn properties(
    section: Section<'_>,
    raw: &BTreeMap<String, Spanned<toml::Value>>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut properties = BTreeMap::new();
    for (name, at) in raw {
        if !PROPERTIES.contains(&name.as_str()) {
            let reason = format!(
                "a setting that is the host's own, or none; expected one of {}",
                PROPERTIES.join(", ")
            );
            return Err(section
                .rule(&format!("properties.{name}"), Some(at), &reason)
                .into());
        }
        let value = match at.get_ref() {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(switch) => switch.to_string(),
            _ => return Err(section.value(name, at, PROPERTY).into()),
        };
        properties.insert(name.clone(), value);
    }
    Ok(properties)
}
