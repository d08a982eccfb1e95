//! Takes `[[reads]]`, gives which members of which events a plug-in reads: who is to be told when they change.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::document::{Error, Leaf, List};
use super::section::Section;

const TYPE: &str = "a CloudEvents type, such as \"d365.dataverse.account.update\"";
const MEMBER: &str = "a path such as \"/InputParameters/Target/Attributes/creditlimit\"";
/// Tables, and members of one.
const MOST: usize = 256;

/// What a plug-in reads of the events of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// The type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Of this version of its schema; of any when nothing is said.
    #[serde(default)]
    pub version: Option<u32>,
    /// Paths of members; none for all of them.
    #[serde(default)]
    pub members: Vec<String>,
}

impl Reads {
    /// Whether what happens at a path is of concern.
    pub fn concerns(&self, path: &str) -> bool {
        let mut members = self.members.iter();
        self.members.is_empty() || members.any(|one| sluicegate_schema::concerns(path, one))
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReads {
    #[serde(rename = "type")]
    event_type: Leaf,
    version: Leaf,
    members: List,
}

pub(super) fn reads(section: Section<'_>, raw: &[Spanned<RawReads>]) -> Result<Vec<Reads>, Error> {
    let mut all: Vec<Reads> = Vec::new();
    for table in raw {
        let words = table.get_ref();
        let event_type = section.parsed("type", &words.event_type, TYPE, |text| {
            let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '*';
            (!text.is_empty() && text.chars().all(is_plain)).then(|| text.to_owned())
        })?;
        let event_type = event_type.ok_or_else(|| section.missing_in(table, "type", TYPE))?;
        if all.iter().any(|one| one.event_type == event_type) {
            let reason =
                format!("found {event_type:?} twice; expected one [[reads]] for each type");
            return Err(section.rule("type", words.event_type.as_ref(), &reason));
        }
        let members = section.list("members", &words.members, MEMBER, |text| {
            let is_path = text.len() <= 512 && text.starts_with('/') && !text.ends_with('/');
            is_path.then(|| text.to_owned())
        })?;
        let members = members.unwrap_or_default();
        if MOST < members.len() || MOST <= all.len() {
            let reason = format!("found more than {MOST}");
            return Err(section.rule("members", words.members.as_ref(), &reason));
        }
        all.push(Reads {
            event_type,
            version: section.whole("version", &words.version, 1..=u32::MAX)?,
            members,
        });
    }
    Ok(all)
}
