//! Takes `[projection]`, gives the tables of a projection, and what of a manifest does not go with it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::document::{Document, Error, Leaf, List};
use super::raw::{RawCapabilities, RawDelivery, RawLimits, RawPlugin, RawRetry};
use super::section::Section;
use super::{Conflict, Delivery, Manifest, OnExhausted};
use crate::manifest::About;

const TABLE: &str = "a table's name: 1 to 63 lower-case letters, digits and _, no digit first, and \
                     not changes or refused";
/// What stands in a table's place in addresses.
const RESERVED: [&str; 2] = ["changes", "refused"];
const INDEX: &str = "a table and a member of its rows, such as \"customers.country\" or \
                     \"customers.address.city\"";
/// Tables of a projection, and indexes of all of them.
const MOST: usize = 64;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What makes a plug-in a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Its tables; the first one is what is shown when none is named.
    pub tables: Vec<String>,
    /// Members that are looked for quickly.
    pub indexes: Vec<Index>,
    /// For how long it is kept what rows had before; `None`: not at all.
    pub history: Option<Duration>,
}

/// A member of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Index {
    /// One of the projection's tables.
    pub table: String,
    /// `country`, `address.city`.
    pub member: String,
}

#[derive(serde::Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProjection {
    tables: List,
    indexes: List,
    history: Leaf,
}

/// Whether this names a member: words of letters, digits, `_` and `-`, with dots between them.
pub fn is_member(text: &str) -> bool {
    let is_word = |word: &str| {
        let ok = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        (1..=63).contains(&word.len()) && word.bytes().all(ok)
    };
    text.len() <= 255 && text.split('.').all(is_word)
}

fn is_table(text: &str) -> bool {
    let ok = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=63).contains(&text.len())
        && text.bytes().all(ok)
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && !RESERVED.contains(&text)
}

pub(super) fn projection(section: Section<'_>, raw: &RawProjection) -> Result<Projection, Error> {
    let tables = section.list("tables", &raw.tables, TABLE, |text| {
        is_table(text).then(|| text.to_owned())
    })?;
    let tables = tables.filter(|tables| !tables.is_empty());
    let tables = tables.ok_or_else(|| section.missing("tables", &format!("at least {TABLE}")))?;
    let indexes = section.list("indexes", &raw.indexes, INDEX, |text| {
        let (table, member) = text.split_once('.')?;
        (is_table(table) && is_member(member)).then(|| Index {
            table: table.to_owned(),
            member: member.to_owned(),
        })
    })?;
    let indexes = indexes.unwrap_or_default();
    let rule = |key, at, reason: &str| Err(section.rule(key, at, reason));
    if tables.iter().collect::<BTreeSet<_>>().len() < tables.len() {
        return rule("tables", raw.tables.as_ref(), "found a table twice");
    }
    if MOST < tables.len() || MOST < indexes.len() {
        let (key, at) = match MOST < tables.len() {
            true => ("tables", raw.tables.as_ref()),
            false => ("indexes", raw.indexes.as_ref()),
        };
        return rule(key, at, &format!("found more than {MOST}"));
    }
    let stranger = indexes.iter().find(|index| !tables.contains(&index.table));
    if let Some(Index { table, member }) = stranger {
        let reason =
            format!("found \"{table}.{member}\", and {table:?} is not among the tables {tables:?}");
        return rule("indexes", raw.indexes.as_ref(), &reason);
    }
    let ages = Duration::from_secs(1)..=3_650 * DAY;
    let history = section.duration_or_none("history", &raw.history, "30d", ages)?;
    Ok(Projection {
        tables,
        indexes,
        history: history.flatten(),
    })
}

/// What does not go with a projection. It keeps rows and does nothing else, it gets every event in
/// the order of the store, and what it makes of them has to be the same each time.
pub(super) fn conflict(manifest: &Manifest) -> Option<Conflict> {
    manifest.projection.as_ref()?;
    let granted = &manifest.capabilities;
    let usual = Delivery::default();
    let delivery = &manifest.delivery;
    let in_order = "a projection gets its events one after another, in the order of the store";
    let rows = "a projection keeps rows and does nothing else";
    let wrong = [
        ("[capabilities] http", !granted.http.is_empty(), rows),
        ("[capabilities] emit", !granted.emit.is_empty(), rows),
        (
            "[capabilities] state",
            granted.state,
            "what a projection keeps are its rows",
        ),
        ("[capabilities] secrets", !granted.secrets.is_empty(), rows),
        ("[delivery] partitions", delivery.partitions != 1, in_order),
        (
            "[delivery] ordering",
            delivery.ordering != usual.ordering,
            in_order,
        ),
        (
            "[delivery] max_in_flight",
            delivery.max_in_flight != usual.max_in_flight,
            in_order,
        ),
        (
            "[delivery] ttl",
            delivery.ttl.is_some(),
            "a projection that is built anew has to get the same events",
        ),
        (
            "[retry] on_exhausted",
            manifest.retry.on_exhausted == OnExhausted::BlockKey,
            "an event that a projection cannot take is written down as refused, and the next one \
             has its turn",
        ),
        (
            "[limits] state_history",
            manifest.limits.state_history.is_some(),
            "what rows had before is kept by `history` under [projection]",
        ),
        (
            "[plugin] migrate_from",
            manifest.migrate_from.is_some(),
            "a new build of a projection is built anew from the events",
        ),
        (
            "[plugin] state_version",
            manifest.state_version != 1,
            "a new build of a projection is built anew from the events",
        ),
    ];
    let (key, _, reason) = wrong.into_iter().find(|(_, is_wrong, _)| *is_wrong)?;
    Some(Conflict {
        about: About::Projection(key),
        reason: format!("does not go with [projection]: {reason}; take it out"),
    })
}

/// Where the keys of a manifest stand.
pub(super) struct Place<'a> {
    pub(super) document: &'a Document,
    pub(super) plugin: &'a RawPlugin,
    pub(super) tables: (
        &'a RawCapabilities,
        &'a RawDelivery,
        &'a RawRetry,
        &'a RawLimits,
    ),
}

impl Place<'_> {
    /// The error for a key, said with its table, that does not go with a projection.
    pub(super) fn misplaced(&self, key: &str, reason: &str) -> Error {
        let (table, key) = key.split_once(' ').unwrap_or(("[projection]", key));
        let section = Section {
            document: self.document,
            name: table,
        };
        let (granted, delivery, retry, limits) = self.tables;
        let list = match key {
            "http" => granted.http.as_ref(),
            "emit" => granted.emit.as_ref(),
            "secrets" => granted.secrets.as_ref(),
            _ => None,
        };
        let leaf = match key {
            "state" => granted.state.as_ref(),
            "partitions" => delivery.partitions.as_ref(),
            "ordering" => delivery.ordering.as_ref(),
            "max_in_flight" => delivery.max_in_flight.as_ref(),
            "ttl" => delivery.ttl.as_ref(),
            "on_exhausted" => retry.on_exhausted.as_ref(),
            "state_history" => limits.state_history.as_ref(),
            "migrate_from" => self.plugin.migrate_from.as_ref(),
            "state_version" => self.plugin.state_version.as_ref(),
            _ => None,
        };
        match list {
            Some(_) => section.rule(key, list, reason),
            None => section.rule(key, leaf, reason),
        }
    }
}
