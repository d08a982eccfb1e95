//! Takes the raw tables of a manifest, gives their values; no default is filled in here.
//!
//! The same keys stand in the operator's `[plugin.<name>]`, so each group of them is
//! read into a `…Words` struct: what was said, to be put over what was there before.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::document::{Error, Leaf, List};
use super::origin::{ORIGIN, Origin};
use super::projection::RawProjection;
use super::reads::RawReads;
use super::saga::RawSaga;
use super::section::Section;
use super::{Capabilities, Delivery, Isolation, Limits, OnExhausted, Ordering, Retry, subject};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawManifest {
    pub(super) plugin: Option<RawPlugin>,
    pub(super) subscribe: Option<RawSubscribe>,
    #[serde(default)]
    pub(super) delivery: RawDelivery,
    #[serde(default)]
    pub(super) retry: RawRetry,
    #[serde(default)]
    pub(super) limits: RawLimits,
    #[serde(default)]
    pub(super) capabilities: RawCapabilities,
    #[serde(default)]
    pub(super) config: BTreeMap<String, Spanned<toml::Value>>,
    pub(super) saga: Option<Spanned<RawSaga>>,
    pub(super) projection: Option<RawProjection>,
    #[serde(default)]
    pub(super) reads: Vec<Spanned<RawReads>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPlugin {
    pub(super) name: Leaf,
    pub(super) version: Leaf,
    pub(super) state_version: Leaf,
    pub(super) migrate_from: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSubscribe {
    pub(super) subjects: List,
    pub(super) types: List,
    #[serde(rename = "where")]
    pub(super) filter: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDelivery {
    pub(crate) ordering: Leaf,
    pub(crate) max_in_flight: Leaf,
    pub(crate) partitions: Leaf,
    pub(crate) timeout: Leaf,
    pub(crate) ttl: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRetry {
    pub(crate) max_attempts: Leaf,
    pub(crate) initial: Leaf,
    pub(crate) factor: Leaf,
    pub(crate) max: Leaf,
    pub(crate) jitter: Leaf,
    pub(crate) on_exhausted: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLimits {
    pub(crate) memory: Leaf,
    pub(crate) isolation: Leaf,
    pub(crate) state_history: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCapabilities {
    pub(crate) http: List,
    pub(crate) emit: List,
    pub(crate) state: Leaf,
    pub(crate) secrets: List,
}

/// What a file says about delivery.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DeliveryWords {
    ordering: Option<Ordering>,
    max_in_flight: Option<usize>,
    partitions: Option<u8>,
    timeout: Option<Duration>,
    ttl: Option<Option<Duration>>,
}

impl DeliveryWords {
    pub(crate) fn read(section: Section<'_>, raw: &RawDelivery) -> Result<Self, Error> {
        Ok(Self {
            ordering: section.choice(
                "ordering",
                &raw.ordering,
                &[
                    ("key", Ordering::Key),
                    ("none", Ordering::None),
                    ("strict", Ordering::Strict),
                ],
            )?,
            max_in_flight: section.whole("max_in_flight", &raw.max_in_flight, 1..=10_000)?,
            partitions: partitions(section, &raw.partitions)?,
            timeout: section.duration(
                "timeout",
                &raw.timeout,
                "5s",
                Duration::from_millis(1)..=Duration::from_secs(600),
            )?,
            ttl: section.duration_or_none(
                "ttl",
                &raw.ttl,
                "7d",
                Duration::from_secs(1)..=TEN_YEARS,
            )?,
        })
    }

    pub(crate) fn over(&self, under: Delivery) -> Delivery {
        Delivery {
            ordering: self.ordering.unwrap_or(under.ordering),
            max_in_flight: self.max_in_flight.unwrap_or(under.max_in_flight),
            partitions: self.partitions.unwrap_or(under.partitions),
            timeout: self.timeout.unwrap_or(under.timeout),
            ttl: self.ttl.unwrap_or(under.ttl),
        }
    }
}

fn partitions(section: Section<'_>, leaf: &Leaf) -> Result<Option<u8>, Error> {
    let partitions = section.whole("partitions", leaf, 1..=16_u8)?;
    match (partitions, leaf) {
        (Some(1 | 2 | 4 | 8 | 16) | None, _) | (_, None) => Ok(partitions),
        (Some(_), Some(at)) => Err(section.value("partitions", at, "1, 2, 4, 8 or 16")),
    }
}

/// What a file says about retries.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RetryWords {
    max_attempts: Option<u32>,
    initial: Option<Duration>,
    factor: Option<f64>,
    max: Option<Duration>,
    jitter: Option<f64>,
    on_exhausted: Option<OnExhausted>,
}

impl RetryWords {
    pub(crate) fn read(section: Section<'_>, raw: &RawRetry) -> Result<Self, Error> {
        let millisecond = Duration::from_millis(1);
        Ok(Self {
            max_attempts: section.whole("max_attempts", &raw.max_attempts, 1..=u32::MAX)?,
            initial: section.duration("initial", &raw.initial, "1s", millisecond..=DAY)?,
            factor: section.number("factor", &raw.factor, 1.0..=100.0)?,
            max: section.duration("max", &raw.max, "5m", millisecond..=30 * DAY)?,
            jitter: section.number("jitter", &raw.jitter, 0.0..=1.0)?,
            on_exhausted: section.choice(
                "on_exhausted",
                &raw.on_exhausted,
                &[
                    ("dead-letter", OnExhausted::DeadLetter),
                    ("block-key", OnExhausted::BlockKey),
                ],
            )?,
        })
    }

    pub(crate) fn over(&self, under: Retry) -> Retry {
        Retry {
            max_attempts: self.max_attempts.unwrap_or(under.max_attempts),
            initial: self.initial.unwrap_or(under.initial),
            factor: self.factor.unwrap_or(under.factor),
            max: self.max.unwrap_or(under.max),
            jitter: self.jitter.unwrap_or(under.jitter),
            on_exhausted: self.on_exhausted.unwrap_or(under.on_exhausted),
        }
    }
}

/// What a file says about limits.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LimitsWords {
    memory: Option<usize>,
    isolation: Option<Isolation>,
    state_history: Option<Option<Duration>>,
}

impl LimitsWords {
    pub(crate) fn read(section: Section<'_>, raw: &RawLimits) -> Result<Self, Error> {
        let memory = section.size("memory", &raw.memory, "32MiB", 64 * 1024..=4 << 30)?;
        Ok(Self {
            // No loss: 4 GiB fit in the 64 bits of every target that the host runs on.
            memory: memory.and_then(|bytes| usize::try_from(bytes).ok()),
            isolation: section.choice(
                "isolation",
                &raw.isolation,
                &[("warm", Isolation::Warm), ("fresh", Isolation::Fresh)],
            )?,
            state_history: section.duration_or_none(
                "state_history",
                &raw.state_history,
                "30d",
                Duration::from_secs(1)..=TEN_YEARS,
            )?,
        })
    }

    pub(crate) fn over(&self, under: Limits) -> Limits {
        Limits {
            memory: self.memory.unwrap_or(under.memory),
            isolation: self.isolation.unwrap_or(under.isolation),
            state_history: self.state_history.unwrap_or(under.state_history),
        }
    }
}

/// What a file says about capabilities.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CapabilitiesWords {
    pub(crate) http: Option<Vec<String>>,
    pub(crate) emit: Option<Vec<String>>,
    pub(crate) state: Option<bool>,
    pub(crate) secrets: Option<Vec<String>>,
}

impl CapabilitiesWords {
    pub(crate) fn read(section: Section<'_>, raw: &RawCapabilities) -> Result<Self, Error> {
        Ok(Self {
            http: section.list("http", &raw.http, ORIGIN, |text| {
                Origin::parse(text).map(|origin| origin.to_string())
            })?,
            emit: section.list("emit", &raw.emit, subject::EMIT, |text| {
                subject::is_emit(text).then(|| text.to_owned())
            })?,
            state: section.switch("state", &raw.state)?,
            secrets: section.list(
                "secrets",
                &raw.secrets,
                "a name of 1 to 63 letters, digits, - and _",
                |text| is_word(text).then(|| text.to_owned()),
            )?,
        })
    }

    pub(crate) fn over(&self, under: Capabilities) -> Capabilities {
        Capabilities {
            http: self.http.clone().unwrap_or(under.http),
            emit: self.emit.clone().unwrap_or(under.emit),
            state: self.state.unwrap_or(under.state),
            secrets: self.secrets.clone().unwrap_or(under.secrets),
        }
    }
}

/// Values of `[config]`; a plug-in reads each as text.
pub(crate) fn config(
    section: Section<'_>,
    raw: &BTreeMap<String, Spanned<toml::Value>>,
) -> Result<BTreeMap<String, String>, Error> {
    raw.iter()
        .map(|(key, at)| match at.get_ref() {
            toml::Value::String(text) => Ok((key.clone(), text.clone())),
            _ => Err(section.value(key, at, "a string, such as \"50000\"")),
        })
        .collect()
}

fn is_word(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
