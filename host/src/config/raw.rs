//! The tables of `sluice.toml` as they are written.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use toml::Spanned;

use crate::manifest::document::{Leaf, List};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    #[serde(default)]
    pub(super) nats: RawNats,
    #[serde(default)]
    pub(super) host: RawHost,
    #[serde(default)]
    pub(super) events: RawEvents,
    #[serde(default)]
    pub(super) ledger: RawLedger,
    #[serde(default)]
    pub(super) gateway: RawGateway,
    #[serde(default)]
    pub(super) admin: RawAdmin,
    #[serde(default)]
    pub(super) telemetry: RawTelemetry,
    #[serde(default)]
    pub(super) http: RawHttp,
    #[serde(default)]
    pub(super) projections: RawProjections,
    #[serde(default)]
    pub(super) schemas: RawSchemas,
    #[serde(default)]
    pub(super) secret: BTreeMap<String, Spanned<RawSecret>>,
    #[serde(default)]
    pub(super) plugins: RawPlugins,
    #[serde(default)]
    pub(super) bridge: Vec<Spanned<RawBridge>>,
    #[serde(default)]
    pub(super) plugin: BTreeMap<String, Spanned<RawOverride>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNats {
    pub(super) url: Leaf,
    pub(super) credentials: Leaf,
    #[serde(default)]
    pub(super) tls: RawTls,
    pub(super) replicas: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) ca: Leaf,
    pub(super) cert: Leaf,
    pub(super) key: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHost {
    pub(super) name: Leaf,
    pub(super) data_dir: Leaf,
    pub(super) plugins_dir: Leaf,
    pub(super) shutdown_grace: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEvents {
    pub(super) max_bytes: Leaf,
    pub(super) max_age: Leaf,
    pub(super) dedup_window: Leaf,
    #[serde(default)]
    pub(super) keep: RawKeep,
    #[serde(default)]
    pub(super) sources: Vec<RawStreamSource>,
}

/// The kinds of events.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKeep {
    pub(super) record: Leaf,
    pub(super) business: Leaf,
    pub(super) custom: Leaf,
    pub(super) system: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStreamSource {
    pub(super) stream: Leaf,
    pub(super) filter: Leaf,
    pub(super) to: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLedger {
    pub(super) mode: Leaf,
    pub(super) dedup_window: Leaf,
    pub(super) commit_events: Leaf,
    pub(super) commit_delay: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGateway {
    pub(super) listen: Leaf,
    pub(super) spool: Leaf,
    pub(super) spool_max_bytes: Leaf,
    pub(super) tls: Option<Spanned<RawGatewayTls>>,
    #[serde(default)]
    pub(super) source: Vec<Spanned<RawGatewaySource>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGatewaySource {
    pub(super) environment: Leaf,
    pub(super) kind: Leaf,
    pub(super) auth: Option<Spanned<RawAuth>>,
    pub(super) max_in_flight: Leaf,
    pub(super) subscriptions: List,
    pub(super) origins: List,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGatewayTls {
    pub(super) cert: Leaf,
    pub(super) key: Leaf,
}

/// A word, or a table with the key.
pub(super) enum RawAuth {
    Word(String),
    Key(RawKey),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKey {
    pub(super) query: Leaf,
    pub(super) header: Leaf,
    pub(super) key: Leaf,
    pub(super) key_file: Leaf,
}

impl<'de> Deserialize<'de> for RawAuth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AuthVisitor)
    }
}

struct AuthVisitor;

impl<'de> Visitor<'de> for AuthVisitor {
    type Value = RawAuth;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(super::access::AUTH)
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<RawAuth, E> {
        Ok(RawAuth::Word(word.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawAuth, A::Error> {
        RawKey::deserialize(MapAccessDeserializer::new(map)).map(RawAuth::Key)
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdmin {
    pub(super) listen: Leaf,
    pub(super) token: Leaf,
    pub(super) token_file: Leaf,
    pub(super) tls: Option<Spanned<RawAdminTls>>,
    #[serde(default)]
    pub(super) user: Vec<Spanned<RawUser>>,
    pub(super) mask: List,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdminTls {
    pub(super) cert: Leaf,
    pub(super) key: Leaf,
    pub(super) client_ca: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUser {
    pub(super) name: Leaf,
    pub(super) role: Leaf,
    pub(super) token: Leaf,
    pub(super) token_file: Leaf,
    pub(super) certificate: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTelemetry {
    pub(super) log: Leaf,
    pub(super) otlp: Leaf,
    pub(super) events: Leaf,
    pub(super) journal: Leaf,
    pub(super) journal_max_bytes: Leaf,
    pub(super) sample: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttp {
    pub(super) ca: Leaf,
    pub(super) private: List,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProjections {
    pub(super) store: Leaf,
    pub(super) url: Leaf,
    pub(super) ca: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSchemas {
    pub(super) policy: Leaf,
    #[serde(default)]
    pub(super) types: BTreeMap<String, Leaf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPlugins {
    pub(super) require_signature: Leaf,
    pub(super) trusted_keys: List,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBridge {
    pub(super) name: Leaf,
    pub(super) direction: Leaf,
    pub(super) environment: Leaf,
    pub(super) format: Leaf,
    pub(super) subjects: List,
    pub(super) types: List,
    pub(super) http: Option<Spanned<RawBridgeHttp>>,
    pub(super) service_bus: Option<Spanned<RawServiceBus>>,
    pub(super) kafka: Option<Spanned<RawBridgeKafka>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBridgeHttp {
    pub(super) url: Leaf,
    pub(super) secret: Leaf,
    pub(super) mode: Leaf,
    pub(super) batch_events: Leaf,
    pub(super) batch_bytes: Leaf,
    pub(super) linger: Leaf,
    pub(super) origin: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawServiceBus {
    pub(super) url: Leaf,
    pub(super) queue: Leaf,
    pub(super) topic: Leaf,
    pub(super) subscription: Leaf,
    pub(super) key_name: Leaf,
    pub(super) key: Leaf,
    pub(super) key_file: Leaf,
    pub(super) user: Leaf,
    pub(super) password: Leaf,
    pub(super) password_file: Leaf,
    pub(super) ca: Leaf,
    pub(super) sessions: Leaf,
    pub(super) prefetch: Leaf,
    pub(super) lock_renewal: Leaf,
    pub(super) mode: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBridgeKafka {
    pub(super) brokers: List,
    pub(super) topic: Leaf,
    pub(super) group: Leaf,
    pub(super) start: Leaf,
    pub(super) session_timeout: Leaf,
    pub(super) mode: Leaf,
    pub(super) security: Leaf,
    pub(super) ca: Leaf,
    pub(super) cert: Leaf,
    pub(super) key: Leaf,
    pub(super) sasl: Option<Spanned<RawKafkaSasl>>,
    #[serde(default)]
    pub(super) properties: BTreeMap<String, Spanned<toml::Value>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKafkaSasl {
    pub(super) mechanism: Leaf,
    pub(super) username: Leaf,
    pub(super) password: Leaf,
    pub(super) password_file: Leaf,
    pub(super) token_url: Leaf,
    pub(super) client_id: Leaf,
    pub(super) client_secret: Leaf,
    pub(super) client_secret_file: Leaf,
    pub(super) scope: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecret {
    pub(super) origin: Leaf,
    pub(super) header: Leaf,
    pub(super) value: Leaf,
    pub(super) value_file: Leaf,
    pub(super) bearer: Leaf,
    pub(super) bearer_file: Leaf,
    pub(super) token_url: Leaf,
    pub(super) client_id: Leaf,
    pub(super) client_secret: Leaf,
    pub(super) client_secret_file: Leaf,
    pub(super) scope: Leaf,
}

/// The keys of a manifest's `[delivery]`, `[retry]`, `[limits]` and `[capabilities]`
/// side by side.
#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOverride {
    pub(super) ordering: Leaf,
    pub(super) max_in_flight: Leaf,
    pub(super) partitions: Leaf,
    pub(super) timeout: Leaf,
    pub(super) ttl: Leaf,
    pub(super) max_attempts: Leaf,
    pub(super) initial: Leaf,
    pub(super) factor: Leaf,
    pub(super) max: Leaf,
    pub(super) jitter: Leaf,
    pub(super) on_exhausted: Leaf,
    pub(super) memory: Leaf,
    pub(super) isolation: Leaf,
    pub(super) state_history: Leaf,
    pub(super) http: List,
    pub(super) emit: List,
    pub(super) state: Leaf,
    pub(super) secrets: List,
    pub(super) digest: Leaf,
    #[serde(default)]
    pub(super) config: BTreeMap<String, Spanned<toml::Value>>,
}
