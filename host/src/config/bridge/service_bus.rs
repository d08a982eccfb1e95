//! Takes `service_bus` of a `[[bridge]]`, gives a queue, topic or subscription over AMQP 1.0.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use crate::config::raw::RawServiceBus;
use crate::config::resolve::File;
use crate::config::{Error, Secret};

const URL: &str = "an address such as \"amqps://contoso.servicebus.windows.net\"";
const ENTITY: &str = "the name of a queue (queue), or of a topic (topic)";
const HOW: &str = "key_name with key, or user with password, or none of them";

/// A queue, topic or subscription of Azure Service Bus, or of another broker with AMQP 1.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceBus {
    /// Whose it is: `contoso.servicebus.windows.net`.
    pub host: String,
    /// Its port; 5671 with TLS, 5672 without.
    pub port: u16,
    /// Whether the connection is one of TLS.
    pub tls: bool,
    /// Certificates of authorities that are trusted beside the system's, a PEM file.
    pub ca: Option<PathBuf>,
    /// The address of what is read or written: `orders`, `events/Subscriptions/crm`.
    pub entity: String,
    /// Who comes.
    pub credential: Credential,
    /// Sessions that are read at a time; 0 where the queue has none.
    pub sessions: usize,
    /// Messages that are taken and not yet settled.
    pub prefetch: u32,
    /// How often the locks of messages are renewed that wait for the event store.
    pub lock_renewal: Duration,
    /// Whether an event goes out as one JSON object, and not as properties and data.
    pub structured: bool,
}

/// Who comes, and how he shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A shared access key of Service Bus.
    Key {
        /// The policy's name.
        name: String,
        /// Its primary or secondary key.
        key: Secret,
    },
    /// A user of another broker (SASL PLAIN).
    User {
        /// His name.
        name: String,
        /// His password.
        password: Secret,
    },
    /// Anybody (SASL ANONYMOUS).
    Anonymous,
}

/// Scheme, host and port of an address without path and user.
fn place(text: &str) -> Option<(bool, String, u16)> {
    let (scheme, rest) = text.split_once("://")?;
    let (tls, default) = match scheme {
        "amqps" => (true, 5671),
        "amqp" => (false, 5672),
        _ => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (rest, default),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let ok = !host.is_empty() && host.bytes().all(is_host);
    ok.then(|| (tls, host.to_ascii_lowercase(), port))
}

impl File<'_> {
    pub(super) fn service_bus(
        &self,
        at: &Spanned<RawServiceBus>,
        is_in: bool,
    ) -> Result<ServiceBus, Error> {
        let raw = at.get_ref();
        let section = self.section("[[bridge]] service_bus");
        let (tls, host, port) = section
            .parsed("url", &raw.url, URL, place)?
            .ok_or_else(|| section.missing_in(at, "url", URL))?;
        let queue = section.text("queue", &raw.queue, ENTITY)?;
        let topic = section.text("topic", &raw.topic, ENTITY)?;
        let what = "the name of a topic's subscription";
        let subscription = section.text("subscription", &raw.subscription, what)?;
        let entity = match (queue, topic, subscription) {
            (Some(queue), None, None) => queue,
            (None, Some(topic), Some(subscription)) if is_in => {
                format!("{topic}/Subscriptions/{subscription}")
            }
            (None, Some(topic), None) if !is_in => topic,
            _ => {
                let reason = match is_in {
                    true => "expected queue, or topic with subscription",
                    false => "expected queue or topic, and no subscription",
                };
                return Err(section.rule("queue", Some(at), reason).into());
            }
        };
        if !is_in {
            let only_in = [
                ("sessions", &raw.sessions),
                ("prefetch", &raw.prefetch),
                ("lock_renewal", &raw.lock_renewal),
            ];
            for (key, leaf) in only_in {
                if let Some(found) = leaf {
                    let reason =
                        "found in a bridge with direction = \"out\", expected only with \"in\"";
                    return Err(section.rule(key, Some(found), reason).into());
                }
            }
        }
        let modes = [("binary", false), ("structured", true)];
        let structured = section.choice("mode", &raw.mode, &modes)?;
        if let (true, Some(found)) = (is_in, &raw.mode) {
            let reason = "found in a bridge with direction = \"in\", expected only with \"out\"";
            return Err(section.rule("mode", Some(found), reason).into());
        }
        let credential = self.service_bus_credential(at)?;
        let is_local = ["localhost", "127.0.0.1"].contains(&host.as_str());
        if !tls && !is_local && credential != Credential::Anonymous {
            let reason = "found an address without TLS, where everybody on the way reads key or \
                          password; expected amqps";
            return Err(section.rule("url", raw.url.as_ref(), reason).into());
        }
        let renewal = Duration::from_secs(1)..=Duration::from_secs(120);
        Ok(ServiceBus {
            host,
            port,
            tls,
            ca: self.path(section, "ca", &raw.ca)?,
            entity,
            credential,
            sessions: section
                .whole("sessions", &raw.sessions, 0..=256_usize)?
                .unwrap_or(0),
            prefetch: section
                .whole("prefetch", &raw.prefetch, 2..=5_000_u32)?
                .unwrap_or(200),
            lock_renewal: section
                .duration("lock_renewal", &raw.lock_renewal, "10s", renewal)?
                .unwrap_or(Duration::from_secs(10)),
            structured: structured.unwrap_or(false),
        })
    }

    fn service_bus_credential(&self, at: &Spanned<RawServiceBus>) -> Result<Credential, Error> {
        let raw = at.get_ref();
        let section = self.section("[[bridge]] service_bus");
        let what = "the name of a shared access policy";
        let key_name = section.text("key_name", &raw.key_name, what)?;
        let key = ("key", &raw.key);
        let key = self.secret(section, key, ("key_file", &raw.key_file))?;
        let user = section.text("user", &raw.user, "the name of a user")?;
        let password = ("password", &raw.password);
        let password = self.secret(section, password, ("password_file", &raw.password_file))?;
        match (key_name, key, user, password) {
            (Some(name), Some(key), None, None) => Ok(Credential::Key { name, key }),
            (None, None, Some(name), Some(password)) => Ok(Credential::User { name, password }),
            (None, None, None, None) => Ok(Credential::Anonymous),
            _ => {
                let reason = format!("expected one of these: {HOW}");
                Err(section.rule("key_name", Some(at), &reason).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        let at = |tls: bool, host: &str, port| Some((tls, host.to_owned(), port));
        let namespace = "contoso.servicebus.windows.net";
        assert_eq!(
            place("amqps://Contoso.servicebus.windows.net/"),
            at(true, namespace, 5671)
        );
        assert_eq!(place("amqp://127.0.0.1:5700"), at(false, "127.0.0.1", 5700));
        for wrong in [
            "",
            "amqps://",
            "https://a",
            "amqps://a/b",
            "amqps://u:p@a",
            "amqps://a:x",
        ] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
