//! Takes the text of a `plugin.toml`, gives a Manifest: what a plug-in is called, what
//! it subscribes to and what it may do.
//!
//! The author's word; the operator's is put over it by [`crate::config::Config::apply`].

use std::collections::BTreeMap;
use std::time::Duration;

mod conflict;
pub(crate) mod document;
mod environment;
pub(crate) mod origin;
pub mod projection;
pub(crate) mod raw;
pub mod reads;
pub mod saga;
pub(crate) mod section;
pub(crate) mod subject;
#[cfg(test)]
mod tests;
mod type_pattern;

pub(crate) use conflict::{About, Conflict};
use document::Document;
use raw::{CapabilitiesWords, DeliveryWords, LimitsWords, RawManifest, RetryWords};
use section::Section;

pub use document::Error;
pub use origin::Origin;
pub use projection::Projection;
pub use reads::Reads;
pub use subject::{reduce, subject_matches};
pub use type_pattern::TypePattern;

/// A plug-in's manifest with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// `[a-z0-9-]{1,63}`.
    pub name: String,
    /// Of the author's choosing, 1 to 63 of `[A-Za-z0-9.+-]`.
    pub version: String,
    /// Of its state; another one starts clean. 1 when nothing is said.
    pub state_version: u16,
    /// The version whose state is carried over to it, by the plug-in's export `migrate`.
    pub migrate_from: Option<u16>,
    /// Which events the plug-in gets.
    pub subscribe: Subscribe,
    /// How it gets them.
    pub delivery: Delivery,
    /// What happens when it asks for another attempt.
    pub retry: Retry,
    /// What one instance may use.
    pub limits: Limits,
    /// What it may reach outside the sandbox.
    pub capabilities: Capabilities,
    /// What the import `config` gives it.
    pub config: BTreeMap<String, String>,
    /// What makes it a saga; none where it is a consumer.
    pub saga: Option<saga::Saga>,
    /// What makes it a projection, if it is one.
    pub projection: Option<Projection>,
    /// Which members of which events it reads, as far as it says so.
    pub reads: Vec<Reads>,
}

/// Which events a plug-in gets: those that match all three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Subjects with NATS wildcards, the slot left out; at least one.
    pub subjects: Vec<String>,
    /// CloudEvents types; empty for any.
    pub types: Vec<TypePattern>,
    /// The text of `where`, a CloudEvents SQL expression. Not checked here.
    pub filter: Option<String>,
}

/// How a plug-in gets its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Which events wait for each other.
    pub ordering: Ordering,
    /// Calls at a time, 1 to 10,000.
    pub max_in_flight: usize,
    /// 1, 2, 4, 8 or 16 shares of the slots, each with a position and state of its own.
    pub partitions: u8,
    /// Longest time of one call, 1 ms to 10 minutes.
    pub timeout: Duration,
    /// Events that are older are not handled any more; `None`: however old.
    pub ttl: Option<Duration>,
}

/// Which events wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// Those of one partition key.
    Key,
    /// None.
    None,
    /// All of a partition.
    Strict,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            ordering: Ordering::Key,
            max_in_flight: 64,
            partitions: 1,
            timeout: Duration::from_secs(5),
            ttl: None,
        }
    }
}

/// The policy for an event that has to be tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Attempts in all, the first included; at least 1.
    pub max_attempts: u32,
    /// Delay before the second attempt.
    pub initial: Duration,
    /// What each delay is multiplied by, 1.0 to 100.0.
    pub factor: f64,
    /// No delay is longer; not less than `initial`.
    pub max: Duration,
    /// Share of a delay that chance may add or take, 0.0 to 1.0.
    pub jitter: f64,
    /// What becomes of the event after the last attempt.
    pub on_exhausted: OnExhausted,
}

/// What becomes of an event whose attempts are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExhausted {
    /// It becomes a dead letter; its key goes on.
    DeadLetter,
    /// Its key waits for an operator.
    BlockKey,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 8,
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(300),
            jitter: 0.2,
            on_exhausted: OnExhausted::DeadLetter,
        }
    }
}

/// What one instance of a plug-in may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory, 64 KiB to 4 GiB.
    pub memory: usize,
    /// Whether instances are used again.
    pub isolation: Isolation,
    /// How long it is kept what state keys had before; `None`: not at all.
    pub state_history: Option<Duration>,
}

/// Whether an instance handles more than one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Yes, until it traps or grows old.
    Warm,
    /// No.
    Fresh,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 32 << 20,
            isolation: Isolation::Warm,
            state_history: None,
        }
    }
}

/// What a plug-in may reach outside the sandbox. By default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Origins for outgoing HTTP, lower case, without default port: `https://contoso.crm.dynamics.com`.
    pub http: Vec<String>,
    /// Subjects to emit to, with NATS wildcards, without slot; see [`subject_matches`].
    pub emit: Vec<String>,
    /// A keyspace of its own.
    pub state: bool,
    /// Names of secrets that the host puts into outgoing requests.
    pub secrets: Vec<String>,
}

/// Parses a manifest. `origin` is the file's name in errors.
///
/// # Errors
/// The first thing that is wrong: [`Error`] names file, line, key, what was found and
/// what is allowed.
pub fn parse(text: &str, origin: &str) -> Result<Manifest, Error> {
    let (document, raw) = Document::read::<RawManifest>(origin, text)?;
    let at = |name: &'static str| Section {
        document: &document,
        name,
    };

    let raw_plugin = raw.plugin.unwrap_or_default();
    let (name, version) = identity(at("[plugin]"), &raw_plugin)?;
    let (state_version, migrate_from) = state(at("[plugin]"), &raw_plugin)?;
    let raw_subscribe = raw.subscribe.unwrap_or_default();
    let manifest = Manifest {
        name,
        version,
        state_version,
        migrate_from,
        subscribe: subscribe(at("[subscribe]"), &raw_subscribe)?,
        delivery: DeliveryWords::read(at("[delivery]"), &raw.delivery)?.over(Delivery::default()),
        retry: RetryWords::read(at("[retry]"), &raw.retry)?.over(Retry::default()),
        limits: LimitsWords::read(at("[limits]"), &raw.limits)?.over(Limits::default()),
        capabilities: CapabilitiesWords::read(at("[capabilities]"), &raw.capabilities)?
            .over(Capabilities::default()),
        config: raw::config(at("[config]"), &raw.config)?,
        saga: saga::Saga::read(at("[saga]"), raw.saga.as_ref())?,
        projection: match &raw.projection {
            Some(raw) => Some(projection::projection(at("[projection]"), raw)?),
            None => None,
        },
        reads: reads::reads(at("[[reads]]"), &raw.reads)?,
    };
    match manifest.conflict() {
        None => Ok(manifest),
        Some(Conflict {
            about: About::Subjects,
            reason,
        }) => Err(at("[subscribe]").rule("subjects", raw_subscribe.subjects.as_ref(), &reason)),
        Some(Conflict {
            about: About::Retry,
            reason,
        }) => {
            let leaf = raw.retry.max.as_ref().or(raw.retry.initial.as_ref());
            Err(at("[retry]").rule("max", leaf, &reason))
        }
        Some(Conflict {
            about: About::Blocking,
            reason,
        }) => Err(at("[retry]").rule("on_exhausted", raw.retry.on_exhausted.as_ref(), &reason)),
        Some(Conflict {
            about: About::Saga(key),
            reason,
        }) => Err(at("").rule(key, raw.saga.as_ref(), &reason)),
        Some(Conflict {
            about: About::Projection(key),
            reason,
        }) => {
            let tables = (&raw.capabilities, &raw.delivery, &raw.retry, &raw.limits);
            let place = projection::Place {
                document: &document,
                plugin: &raw_plugin,
                tables,
            };
            Err(place.misplaced(key, &reason))
        }
    }
}

/// `ledger.<name>.…` and `dead.<name>.…` with these are not a plug-in's.
pub(crate) const RESERVED: [&str; 3] = ["dead", "gateway", "out"];

fn identity(section: Section<'_>, raw: &raw::RawPlugin) -> Result<(String, String), Error> {
    const NAME: &str = "1 to 63 lower-case letters, digits and -";
    const VERSION: &str = "a version such as \"1.2.0\" (1 to 63 letters, digits, ., + and -)";
    let is_short = |text: &str| (1..=63).contains(&text.len());
    let name = section.parsed("name", &raw.name, NAME, |text| {
        let ok = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (is_short(text) && text.bytes().all(ok)).then(|| text.to_owned())
    })?;
    if name.as_deref().is_some_and(|name| RESERVED.contains(&name)) {
        let reason = "found a name that subjects of the ledger use themselves (dead, gateway, out), expected another";
        return Err(section.rule("name", raw.name.as_ref(), reason));
    }
    let version = section.parsed("version", &raw.version, VERSION, |text| {
        let ok = |byte: u8| byte.is_ascii_alphanumeric() || b".+-".contains(&byte);
        (is_short(text) && text.bytes().all(ok)).then(|| text.to_owned())
    })?;
    Ok((
        name.ok_or_else(|| section.missing("name", NAME))?,
        version.ok_or_else(|| section.missing("version", VERSION))?,
    ))
}

/// The version of the state, and the one that it is carried over from.
fn state(section: Section<'_>, raw: &raw::RawPlugin) -> Result<(u16, Option<u16>), Error> {
    let version = section.whole("state_version", &raw.state_version, 1..=u16::MAX)?;
    let version = version.unwrap_or(1);
    let from = section.whole("migrate_from", &raw.migrate_from, 1..=u16::MAX)?;
    if from == Some(version) {
        let reason = format!("found the plug-in's own state_version, {version}, expected another");
        return Err(section.rule("migrate_from", raw.migrate_from.as_ref(), &reason));
    }
    Ok((version, from))
}

fn subscribe(section: Section<'_>, raw: &raw::RawSubscribe) -> Result<Subscribe, Error> {
    let subjects = section.list("subjects", &raw.subjects, subject::SUBSCRIPTION, |text| {
        subject::is_subscription(text).then(|| text.to_owned())
    })?;
    let missing = || section.missing("subjects", &format!("at least {}", subject::SUBSCRIPTION));
    Ok(Subscribe {
        subjects: subjects.filter(|subjects| !subjects.is_empty()).ok_or_else(missing)?,
        types: section
            .list(
                "types",
                &raw.types,
                "a CloudEvents type such as \"d365.dataverse.account.update\", or its start and one * at the end",
                TypePattern::parse,
            )?
            .unwrap_or_default(),
        filter: section.text("where", &raw.filter, "a CloudEvents SQL expression")?,
    })
}

impl Manifest {
    /// The subjects of one share of the slots (each 0 to 15), as filters for a consumer:
    /// with the slot, and without those that another one contains. A subject ending in
    /// `>` stays as it is: its last token is not known to be a slot, so it is only
    /// allowed with one partition.
    pub fn filter_subjects(&self, slots: &[u8]) -> Vec<String> {
        let subjects = &self.subscribe.subjects;
        reduce(
            subjects
                .iter()
                .flat_map(|subject| subject::concrete(subject, slots))
                .collect(),
        )
    }

    /// What is wrong with the manifest as a whole. Also asked after the operator's
    /// overrides.
    pub(crate) fn conflict(&self) -> Option<Conflict> {
        if let Some(conflict) = projection::conflict(self) {
            return Some(conflict);
        }
        let all: Vec<u8> = (0..16).collect();
        let concrete: Vec<String> = self
            .subscribe
            .subjects
            .iter()
            .flat_map(|subject| subject::concrete(subject, &all))
            .collect();
        let partitions = self.delivery.partitions;
        let open = self
            .subscribe
            .subjects
            .iter()
            .find(|subject| subject::is_open(subject));
        if let (2.., Some(subject)) = (partitions, open) {
            return Some(Conflict {
                about: About::Subjects,
                reason: format!(
                    "\"{subject}\" has no token for the slot, so {partitions} partitions would each get all of its events; write it out with * up to the action, or set partitions = 1"
                ),
            });
        }
        if let Some((one, other)) = subject::first_clash(&concrete) {
            return Some(Conflict {
                about: About::Subjects,
                reason: format!(
                    "\"{one}\" and \"{other}\" (with their slots) overlap and neither contains the other, which the broker refuses; make one narrower, or write one that contains both and pick by types"
                ),
            });
        }
        if let Some(conflict) = saga::conflict(self) {
            return Some(conflict);
        }
        let blocks = self.retry.on_exhausted == OnExhausted::BlockKey;
        if blocks && self.delivery.ordering == Ordering::None {
            return Some(Conflict {
                about: About::Blocking,
                reason: "found \"block-key\" where delivery.ordering is \"none\": no event waits for another there; expected \"dead-letter\", or the ordering \"key\" or \"strict\"".to_owned(),
            });
        }
        (self.retry.max < self.retry.initial).then(|| Conflict {
            about: About::Retry,
            reason: format!(
                "found {}, which is less than initial = {}; expected at least that",
                humantime::format_duration(self.retry.max),
                humantime::format_duration(self.retry.initial),
            ),
        })
    }
}
