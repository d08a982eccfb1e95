//! Takes the event store, the schemas and what hosts say of their plug-ins, gives the catalogue of events.
//!
//! What is in it is there: a subject that has events, a schema in the registry, a plug-in that
//! runs. A type that a plug-in waits for and that nobody ever sent is in it too, and says so.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::jetstream::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::fleet;
use crate::broker::{EVENTS, ReadError, open};
use crate::decode;
use crate::manifest::{TypePattern, subject_matches};
use crate::roster::{Answer, Limits};
use crate::route::{REPLAY_PREFIX, SAGA_PREFIX};
use crate::schemas::registry::{self, Version};

pub mod asyncapi;
pub mod page;

/// Messages of the store that are asked for at once.
const AT_ONCE: usize = 16;
/// Subjects, with their slots, that are looked into.
const MAX_SUBJECTS: usize = 50_000;
const SLOT_TOKENS: usize = 7;

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The hosts do not answer.
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    /// The schemas cannot be read.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The event store cannot be read.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// It cannot be asked for its subjects.
    #[error("the event store does not say which subjects it has: {0}")]
    Subjects(String),
    /// There are too many.
    #[error("the event store has more than {MAX_SUBJECTS} subjects, which is too many for a page")]
    TooMany,
}

/// Everything that is known of events.
#[derive(Debug, Default, Serialize)]
pub struct Catalogue {
    /// By type.
    pub events: BTreeMap<String, Entry>,
    /// The plug-ins that run, and the bridges.
    pub plugins: BTreeMap<String, Plugin>,
}

/// What is known of the events of one type.
#[derive(Debug, Default, Serialize)]
pub struct Entry {
    /// Where the store has some, by subject without slot.
    pub channels: BTreeMap<String, Channel>,
    /// The schemas, by number.
    pub versions: BTreeMap<u32, Version>,
    /// Plug-ins that get them.
    pub consumers: BTreeSet<String>,
    /// Plug-ins that may emit them, by what they are granted.
    pub emitters: BTreeSet<String>,
}

/// A subject.
#[derive(Debug, Default, Serialize)]
pub struct Channel {
    /// Events in the store; those of all types, where there are several on it.
    pub events: u64,
    /// Who has sent the newest ones.
    pub sources: BTreeSet<String>,
    /// The subjects with their slots.
    #[serde(skip)]
    subjects: Vec<String>,
}

/// A plug-in as the catalogue has it.
#[derive(Debug, Clone, Serialize)]
pub struct Plugin {
    /// Of the build that runs.
    pub version: String,
    /// What it hears.
    pub subjects: Vec<String>,
    /// And of which types, none for all.
    pub types: Vec<String>,
    /// Where it may send events.
    pub emit: Vec<String>,
    /// The hosts that run it.
    pub hosts: BTreeSet<String>,
}

impl Plugin {
    fn of(version: &str, limits: &Limits) -> Self {
        Self {
            version: version.to_owned(),
            subjects: limits.subjects.clone(),
            types: limits.types.clone().unwrap_or_default(),
            emit: limits.emit.clone(),
            hosts: BTreeSet::new(),
        }
    }

    fn wants(&self, event_type: &str) -> bool {
        let patterns = self.types.iter();
        let mut patterns = patterns.filter_map(|text| TypePattern::parse(text));
        self.types.is_empty() || patterns.any(|pattern| pattern.matches(event_type))
    }

    fn hears(&self, subject: &str) -> bool {
        covers(&self.subjects, subject)
    }

    fn may_emit(&self, channel: &str) -> bool {
        covers(&self.emit, channel)
    }
}

/// Whether one of these, which have no slot, has a subject that may have one.
fn covers(patterns: &[String], subject: &str) -> bool {
    let without = without_slot(subject);
    patterns
        .iter()
        .any(|pattern| subject_matches(pattern, subject) || subject_matches(pattern, without))
}

/// The catalogue of what is there now, and the hosts that did not answer.
///
/// # Errors
/// [`Error`].
pub async fn gather(context: &Context) -> Result<(Catalogue, Vec<String>), Error> {
    let (answers, silent) = fleet::answers(context).await?;
    let mut catalogue = Catalogue {
        plugins: plugins(&answers),
        ..Catalogue::default()
    };
    let store = open(context, EVENTS).await?;
    for (event_type, channels) in seen(&store).await? {
        catalogue.events.entry(event_type).or_default().channels = channels;
    }
    for (event_type, versions) in registry::versions(context, None).await? {
        catalogue.events.entry(event_type).or_default().versions = versions;
    }
    for plugin in catalogue.plugins.values() {
        let exact = plugin.types.iter().filter(|text| !text.ends_with('*'));
        for event_type in exact {
            catalogue.events.entry(event_type.clone()).or_default();
        }
    }
    catalogue.connect();
    Ok((catalogue, silent))
}

fn plugins(answers: &[Answer]) -> BTreeMap<String, Plugin> {
    let mut plugins: BTreeMap<String, Plugin> = BTreeMap::new();
    for answer in answers {
        for entry in &answer.plugins {
            let Some(limits) = &entry.limits else {
                continue;
            };
            let plugin = plugins
                .entry(entry.plugin.clone())
                .or_insert_with(|| Plugin::of(&entry.build.version, limits));
            plugin.hosts.insert(answer.host.clone());
        }
    }
    plugins
}

impl Catalogue {
    /// Says of each type who gets it and who may emit it.
    fn connect(&mut self) {
        for (event_type, entry) in &mut self.events {
            for (name, plugin) in &self.plugins {
                let mut subjects = entry
                    .channels
                    .values()
                    .flat_map(|channel| &channel.subjects);
                let is_named = entry.channels.is_empty() && plugin.types.contains(event_type);
                let hears = is_named || subjects.any(|subject| plugin.hears(subject));
                if hears && plugin.wants(event_type) {
                    entry.consumers.insert(name.clone());
                }
                if entry
                    .channels
                    .keys()
                    .any(|channel| plugin.may_emit(channel))
                {
                    entry.emitters.insert(name.clone());
                }
            }
        }
    }
}

type Channels = BTreeMap<String, Channel>;

/// The types that the store has, by the newest event of each subject and slot.
async fn seen(store: &Stream) -> Result<BTreeMap<String, Channels>, Error> {
    let asked = store.info_with_subjects("d365.>").await;
    let mut asked = asked.map_err(|error| Error::Subjects(error.to_string()))?;
    let mut counts: Vec<(String, u64)> = Vec::new();
    while let Some((subject, count)) = asked
        .try_next()
        .await
        .map_err(|error| Error::Subjects(error.to_string()))?
    {
        let is_own = subject.starts_with(REPLAY_PREFIX) || subject.starts_with(SAGA_PREFIX);
        if !is_own {
            counts.push((subject, count as u64));
        }
        if MAX_SUBJECTS < counts.len() {
            return Err(Error::TooMany);
        }
    }
    let newest = stream::iter(counts).map(|(subject, count)| async move {
        let message = store.get_last_raw_message_by_subject(&subject).await;
        (subject, count, message.ok())
    });
    let mut newest = newest.buffer_unordered(AT_ONCE);
    let mut types: BTreeMap<String, Channels> = BTreeMap::new();
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    while let Some((subject, count, message)) = newest.next().await {
        let place = without_slot(&subject).to_owned();
        *totals.entry(place.clone()).or_default() += count;
        // What left the store meanwhile, and what is no event, has no type.
        let Some((event_type, source)) = message.as_ref().and_then(told) else {
            continue;
        };
        let channels = types.entry(event_type).or_default();
        let channel = channels.entry(place).or_default();
        channel.sources.insert(source);
        channel.subjects.push(subject);
    }
    for channels in types.values_mut() {
        for (place, channel) in channels {
            channel.events = totals.get(place).copied().unwrap_or_default();
        }
    }
    Ok(types)
}

/// Type and source of an event.
fn told(message: &StreamMessage) -> Option<(String, String)> {
    let event = decode::decode(Some(&message.headers), &message.payload).ok()?;
    Some((event.event_type, event.source))
}

/// A subject without its last token, where that is a slot.
fn without_slot(subject: &str) -> &str {
    match subject.rsplit_once('.') {
        Some((place, slot))
            if subject.split('.').count() == SLOT_TOKENS && slot.parse::<u8>().is_ok() =>
        {
            place
        }
        _ => subject,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// Two types, one that nobody sent, and two plug-ins.
    pub(crate) fn catalogue() -> Catalogue {
        let plugin = |subjects: &str, types: &[&str], emit: &[&str]| Plugin {
            version: "1.0.0".to_owned(),
            subjects: vec![subjects.to_owned()],
            types: types.iter().map(ToString::to_string).collect(),
            emit: emit.iter().map(ToString::to_string).collect(),
            hosts: ["host-1".to_owned()].into(),
        };
        let channel = |place: &str, slots: &[&str]| {
            let subjects = slots.iter().map(|slot| format!("{place}.{slot}"));
            let channel = Channel {
                events: 3,
                sources: ["/dataverse/contoso".to_owned()].into(),
                subjects: subjects.collect(),
            };
            (place.to_owned(), channel)
        };
        let version = Version {
            event_type: "d365.dataverse.account.update".to_owned(),
            version: 1,
            origin: "learnt".to_owned(),
            since: "2026-11-30T12:00:00Z".to_owned(),
            seen: 40,
            schema: json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "d365.dataverse.account.update",
                "type": "object",
                "properties": { "Depth": { "type": "number" } },
                "required": ["Depth"],
            }),
        };
        let mut catalogue = Catalogue::default();
        let update = Entry {
            channels: [channel(
                "d365.dataverse.contoso.record.account.update",
                &["0", "7"],
            )]
            .into(),
            versions: [(1, version)].into(),
            ..Entry::default()
        };
        let held = Entry {
            channels: [channel("d365.custom.contoso.business.credit.held", &["3"])].into(),
            ..Entry::default()
        };
        let events = &mut catalogue.events;
        events.insert("d365.dataverse.account.update".to_owned(), update);
        events.insert("d365.custom.credit.held".to_owned(), held);
        events.insert("d365.fno.Never".to_owned(), Entry::default());
        let plugins = &mut catalogue.plugins;
        plugins.insert(
            "credit-hold".to_owned(),
            plugin(
                "d365.dataverse.*.record.account.*",
                &["d365.dataverse.account.update"],
                &["d365.custom.>"],
            ),
        );
        plugins.insert(
            "waits".to_owned(),
            plugin("d365.fno.*.business.*.*", &["d365.fno.Never"], &[]),
        );
        catalogue.connect();
        catalogue
    }

    #[test]
    fn who_gets_what_follows_from_subjects_and_types() {
        let catalogue = catalogue();
        let entry = |name: &str| catalogue.events.get(name).expect(name);
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        let update = entry("d365.dataverse.account.update");
        assert_eq!(names(&update.consumers), ["credit-hold"]);
        assert!(update.emitters.is_empty());
        let held = entry("d365.custom.credit.held");
        assert_eq!(names(&held.emitters), ["credit-hold"]);
        assert!(held.consumers.is_empty(), "it is of another type");
        assert_eq!(names(&entry("d365.fno.Never").consumers), ["waits"]);
    }

    #[test]
    fn the_slot_is_no_part_of_a_channel() {
        let place = "d365.dataverse.contoso.record.account.update";
        assert_eq!(without_slot(&format!("{place}.11")), place);
        assert_eq!(without_slot(place), place);
    }
}
