//! Takes the table `[saga]` of a manifest, gives what makes a plug-in a saga: which events begin
//! one, which belong to it, and where their key stands.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::document::{Error, Leaf};
use super::section::Section;
use super::{Conflict, Delivery, Manifest, OnExhausted, Ordering, TypePattern};
use crate::event::{CORE, Event, is_extension_name};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Bytes of a saga's key: it is a state key too.
pub const MAX_KEY: usize = 512;

/// What makes a plug-in a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saga {
    /// Events that begin one.
    pub starts: Vec<Correlated>,
    /// Events that belong to one that has begun.
    pub on: Vec<Correlated>,
    /// How long one that has ended is remembered.
    pub keep: Duration,
    /// What becomes of those that run when another build comes.
    pub running: Running,
    /// Whether another one begins after one with its key has ended.
    pub again: bool,
}

/// Events of a type, and where each has its saga's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlated {
    /// Which.
    pub event_type: TypePattern,
    /// Where.
    pub key: Selector,
}

/// A place in an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// An attribute.
    Attribute(String),
    /// A JSON pointer into the data.
    Data(String),
}

/// What becomes of sagas that run when another build comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// They end on the build that they began with.
    Finish,
    /// They go on with the newest.
    Migrate,
}

/// How an event belongs to a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Belongs {
    /// Not at all.
    No,
    /// It begins one.
    Begins(String),
    /// It is of one that has begun.
    Goes(String),
    /// It is to begin one, and has no key.
    Keyless(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSaga {
    keep: Leaf,
    running: Leaf,
    again: Leaf,
    #[serde(default)]
    start: Vec<Spanned<RawCorrelated>>,
    #[serde(default)]
    on: Vec<Spanned<RawCorrelated>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCorrelated {
    #[serde(rename = "type")]
    event_type: Leaf,
    key: Leaf,
}

impl Selector {
    fn parse(text: &str) -> Option<Self> {
        if let Some(pointer) = text.strip_prefix("data:") {
            let is_pointer = pointer.starts_with('/') && pointer.len() < 256;
            return is_pointer.then(|| Self::Data(pointer.to_owned()));
        }
        let is_attribute = CORE.contains(&text) || is_extension_name(text);
        is_attribute.then(|| Self::Attribute(text.to_owned()))
    }

    /// What stands there, where that is a text or a number.
    pub fn of<'a>(&self, event: &'a Event) -> Option<Cow<'a, str>> {
        let found = match self {
            Self::Attribute(name) if name == "partitionkey" => event.partition_key().into(),
            Self::Attribute(name) => event.text(name)?,
            Self::Data(pointer) => {
                let data: Value = serde_json::from_slice(event.data.as_deref()?).ok()?;
                match data.pointer(pointer)? {
                    Value::String(text) => text.clone().into(),
                    Value::Number(number) => number.to_string().into(),
                    Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                        return None;
                    }
                }
            }
        };
        let is_key = (1..=MAX_KEY).contains(&found.len()) && !found.contains(char::is_control);
        is_key.then_some(found)
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Attribute(name) => out.write_str(name),
            Self::Data(pointer) => write!(out, "data:{pointer}"),
        }
    }
}

impl Saga {
    pub(super) fn read(
        section: Section<'_>,
        raw: Option<&Spanned<RawSaga>>,
    ) -> Result<Option<Self>, Error> {
        let Some(table) = raw else {
            return Ok(None);
        };
        let raw = table.get_ref();
        let of = |name, tables: &[Spanned<RawCorrelated>]| {
            let section = Section { name, ..section };
            let read = tables.iter().map(|table| correlated(section, table));
            read.collect::<Result<Vec<_>, Error>>()
        };
        let starts = of("[[saga.start]]", &raw.start)?;
        if starts.is_empty() {
            let expected = "at least one table [[saga.start]] with the type of the events that begin a saga, and where their key stands";
            return Err(section.missing_in(table, "start", expected));
        }
        let words = [("finish", Running::Finish), ("migrate", Running::Migrate)];
        let range = Duration::from_secs(1)..=YEARS;
        Ok(Some(Self {
            starts,
            on: of("[[saga.on]]", &raw.on)?,
            keep: section
                .duration("keep", &raw.keep, "30d", range)?
                .unwrap_or(30 * DAY),
            running: section
                .choice("running", &raw.running, &words)?
                .unwrap_or(Running::Finish),
            again: section.switch("again", &raw.again)?.unwrap_or(false),
        }))
    }

    /// Whether an event is of a type that belongs to a saga which has begun.
    pub fn goes(&self, event: &Event) -> bool {
        let mut on = self.on.iter();
        on.any(|one| one.event_type.matches(&event.event_type))
    }

    /// How an event belongs to a saga of this plug-in.
    pub fn belongs(&self, event: &Event) -> Belongs {
        let is_of = |one: &&Correlated| one.event_type.matches(&event.event_type);
        if let Some(start) = self.starts.iter().find(is_of) {
            return match start.key.of(event) {
                Some(key) => Belongs::Begins(key.into_owned()),
                None => Belongs::Keyless(start.key.to_string()),
            };
        }
        let mut on = self.on.iter().filter(is_of);
        // A type may have its key in several places.
        match on.find_map(|one| one.key.of(event)) {
            Some(key) => Belongs::Goes(key.into_owned()),
            None => Belongs::No,
        }
    }
}

fn correlated(section: Section<'_>, table: &Spanned<RawCorrelated>) -> Result<Correlated, Error> {
    const TYPE: &str = "a CloudEvents type such as \"d365.dataverse.opportunity.update\", or its start and one * at the end";
    const KEY: &str = "an attribute such as \"subject\", or a JSON pointer into the data such as \"data:/OpportunityId\"";
    let raw = table.get_ref();
    let event_type = section.parsed("type", &raw.event_type, TYPE, TypePattern::parse)?;
    let key = section.parsed("key", &raw.key, KEY, Selector::parse)?;
    Ok(Correlated {
        event_type: event_type.ok_or_else(|| section.missing_in(table, "type", TYPE))?,
        key: key.ok_or_else(|| section.missing_in(table, "key", KEY))?,
    })
}

/// What a saga cannot have beside it.
pub(super) fn conflict(manifest: &Manifest) -> Option<Conflict> {
    manifest.saga.as_ref()?;
    let Delivery {
        partitions,
        ordering,
        ..
    } = manifest.delivery;
    let (key, reason) = if manifest.projection.is_some() {
        (
            "saga",
            "found it beside [projection]: a plug-in is one of the two; take one table out"
                .to_owned(),
        )
    } else if partitions != 1 {
        (
            "partitions",
            format!(
                "found {partitions} partitions beside [saga]; expected 1: the events of one saga have different partition keys, and would be in different partitions"
            ),
        )
    } else if ordering == Ordering::None {
        ("ordering", "found \"none\" beside [saga]; expected \"key\": the events of one saga run one after another".to_owned())
    } else if manifest.capabilities.state {
        (
            "state",
            "found true beside [saga]; expected false: a saga's state is what its steps give"
                .to_owned(),
        )
    } else if manifest.retry.on_exhausted == OnExhausted::BlockKey {
        ("on_exhausted", "found \"block-key\" beside [saga]; expected \"dead-letter\": a saga whose step fails is undone, and one whose compensation fails waits for a person".to_owned())
    } else if manifest.delivery.ttl.is_some() {
        ("ttl", "found one beside [saga]; expected none: an answer that expires leaves its saga waiting; say in the step how long it waits".to_owned())
    } else if manifest.state_version != 1 {
        ("state_version", "found one beside [saga]; expected none: sagas that run would not be found any more; set running = \"migrate\" in [saga] instead, and read both forms of what they keep".to_owned())
    } else if manifest.migrate_from.is_some() {
        ("migrate_from", "found one beside [saga]; set running = \"migrate\" in [saga] instead: the steps see the version that a saga began with".to_owned())
    } else {
        return None;
    };
    Some(Conflict::of_saga(key, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::AttributeValue;

    const HEAD: &str = "[plugin]\nname = \"otc\"\nversion = \"1\"\n[subscribe]\n\
                        subjects = [\"d365.custom.>\"]\n";
    const START: &str = "[saga]\n[[saga.start]]\ntype = \"won\"\nkey = \"subject\"\n";

    fn parse(more: &str) -> Result<Manifest, Error> {
        crate::manifest::parse(&format!("{HEAD}{more}"), "plugin.toml")
    }

    fn event(event_type: &str, data: &str) -> Event {
        Event {
            id: "1".to_owned(),
            source: "/x".to_owned(),
            event_type: event_type.to_owned(),
            extensions: vec![("order".to_owned(), AttributeValue::Text("SO-1".to_owned()))],
            data: Some(data.to_owned().into()),
            ..Event::default()
        }
    }

    #[test]
    fn the_key_is_an_attribute_or_a_place_in_the_data() {
        let more = "[[saga.on]]\ntype = \"paid*\"\nkey = \"data:/order/id\"\n\
                    [[saga.on]]\ntype = \"paid*\"\nkey = \"order\"\n";
        let saga = parse(&format!("{START}{more}")).unwrap().saga.unwrap();
        assert_eq!((saga.keep, saga.again), (30 * DAY, false));
        let goes = |key: &str| Belongs::Goes(key.to_owned());
        let number = event("paid.in-full", r#"{"order":{"id":17}}"#);
        assert_eq!(saga.belongs(&number), goes("17"));
        assert_eq!(saga.belongs(&event("paid", "[]")), goes("SO-1"));
        assert_eq!(saga.belongs(&event("refused", "{}")), Belongs::No);
        assert_eq!(
            saga.belongs(&event("won", "{}")),
            Belongs::Keyless("subject".to_owned())
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (more, part) in [
            ("[saga]\n", "plugin.toml:6: [saga] start is missing"),
            (
                "[saga]\n[[saga.start]]\ntype = \"a\"\n",
                "[[saga.start]] key is missing",
            ),
            (
                "[saga]\nkeep = \"x\"\n[[saga.start]]\ntype = \"a\"\nkey = \"id\"\n",
                "[saga] keep",
            ),
            (
                "[saga]\n[[saga.start]]\ntype = \"a\"\nkey = \"data:x\"\n",
                "data:/OpportunityId",
            ),
            ("[saga]\nrow = 1\n", "unknown key \"row\" in [saga]"),
        ] {
            let error = parse(more).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_a_saga_cannot_have_is_refused() {
        for (more, key) in [
            ("[delivery]\npartitions = 4\n", "partitions"),
            ("[delivery]\nordering = \"none\"\n", "ordering"),
            ("[capabilities]\nstate = true\n", "state"),
            ("[retry]\non_exhausted = \"block-key\"\n", "on_exhausted"),
            ("[delivery]\nttl = \"1h\"\n", "ttl"),
        ] {
            let subjects = "[plugin]\nname = \"otc\"\nversion = \"1\"\n[subscribe]\n\
                            subjects = [\"d365.custom.*.business.*.*\"]\n";
            let text = format!("{subjects}{START}{more}");
            let error = crate::manifest::parse(&text, "plugin.toml")
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(key) && error.contains("beside [saga]"),
                "{error}"
            );
        }
    }
}
