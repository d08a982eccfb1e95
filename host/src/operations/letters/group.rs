//! Takes dead letters, gives them in groups of one plug-in, reason and error.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::{Summary, Text};

/// Types and versions that are named; more are only counted in.
const NAMED: usize = 5;

/// Dead letters that died of the same.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// By which `--where group=…` chooses them.
    pub group: Text,
    /// Who could not handle them.
    pub plugin: Text,
    /// The class of what went wrong.
    pub reason: Text,
    /// What went wrong with the newest.
    pub error: Text,
    /// How many.
    pub count: usize,
    /// How many of them keep their key waiting.
    pub blocking: usize,
    /// Types of their events, some.
    pub types: BTreeSet<Text>,
    /// Versions of the plug-in, some.
    pub versions: BTreeSet<Text>,
    /// When the first of them died, RFC 3339.
    pub first_time: String,
    /// When the last of them died, RFC 3339.
    pub last_time: String,
    /// Number of the newest.
    pub newest: u64,
}

/// The groups, the one with the newest letter first.
pub fn groups<'a>(letters: impl IntoIterator<Item = &'a Summary>) -> Vec<Group> {
    let mut groups: HashMap<&str, Group> = HashMap::new();
    for letter in letters {
        let group = groups.entry(&letter.group).or_insert_with(|| Group {
            group: letter.group.clone(),
            plugin: letter.plugin.clone(),
            reason: letter.reason.clone(),
            error: letter.error.clone(),
            count: 0,
            blocking: 0,
            types: BTreeSet::new(),
            versions: BTreeSet::new(),
            first_time: letter.last_time.clone(),
            last_time: String::new(),
            newest: 0,
        });
        group.count += 1;
        group.blocking += usize::from(letter.blocks.is_some());
        for (named, word) in [
            (&mut group.types, &letter.event_type),
            (&mut group.versions, &letter.version),
        ] {
            if named.len() < NAMED && !named.contains(word) {
                named.insert(word.clone());
            }
        }
        if group.last_time <= letter.last_time {
            group.last_time.clone_from(&letter.last_time);
        }
        group.newest = group.newest.max(letter.id);
        if group.newest == letter.id {
            group.error = letter.error.clone();
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.newest));
    groups
}
