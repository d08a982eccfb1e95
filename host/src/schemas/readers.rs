//! Takes what each host says of its plug-ins, gives those that a change of a type's bodies concerns.

use std::collections::BTreeMap;

use super::drifts::{How, Reader};
use crate::manifest::{TypePattern, subject_matches};
use crate::roster::{Answer, Entry};

/// Those that say they read what is at the path, and those that get the type and say nothing.
/// `subject` is where such an event stands, with its slot.
pub fn readers(answers: &[Answer], (event_type, subject): (&str, &str), path: &str) -> Vec<Reader> {
    let mut found: BTreeMap<&str, How> = BTreeMap::new();
    for entry in answers.iter().flat_map(|answer| &answer.plugins) {
        let said = entry.reads.iter().find(|one| one.event_type == event_type);
        match said {
            Some(reads) if reads.concerns(path) => {
                found.insert(&entry.plugin, How::Reads);
            }
            Some(_) => {}
            None if hears(entry, event_type, subject) => {
                found.entry(&entry.plugin).or_insert(How::Subscribed);
            }
            None => {}
        }
    }
    let reader = |(plugin, how): (&str, How)| Reader {
        plugin: plugin.to_owned(),
        how,
    };
    found.into_iter().map(reader).collect()
}

fn hears(entry: &Entry, event_type: &str, subject: &str) -> bool {
    let Some(limits) = &entry.limits else {
        return false;
    };
    let bare = subject.rsplit_once('.').map_or(subject, |(bare, _)| bare);
    let mut subjects = limits.subjects.iter();
    let mut types = limits.types.iter().flatten().peekable();
    let is_of_type = types.peek().is_none()
        || types.any(|one| TypePattern::parse(one).is_some_and(|one| one.matches(event_type)));
    is_of_type && subjects.any(|pattern| subject_matches(pattern, bare))
}
