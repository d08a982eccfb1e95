//! Takes what a plug-in says that it reads and the schemas there are, gives what of it they do not have.

use std::fmt;

use sluicegate_schema::{Known, Shape};

use crate::manifest::Reads;

/// Something that a plug-in reads and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Of events of this type.
    pub event_type: String,
    /// By this version of their schema.
    pub version: u32,
    /// The member; none where there is no such version.
    pub member: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (event_type, version) = (&self.event_type, self.version);
        match &self.member {
            Some(member) => write!(out, "{event_type} version {version} has no {member}"),
            None => write!(out, "{event_type} has no version {version}"),
        }
    }
}

/// What is missing. `versions` gives those of a type by number; a type that has none says
/// nothing. A plug-in is held to the version that it names, and to the newest, which is what
/// comes.
pub fn missing(reads: &[Reads], versions: impl Fn(&str) -> Vec<(u32, Shape)>) -> Vec<Missing> {
    let mut missing = Vec::new();
    for one in reads {
        let known = versions(&one.event_type);
        let Some((newest, _)) = known.iter().max_by_key(|(number, _)| *number) else {
            continue;
        };
        let wanted = [one.version, Some(*newest)].into_iter().flatten();
        let mut looked_at: Vec<u32> = Vec::new();
        for version in wanted {
            if looked_at.contains(&version) {
                continue;
            }
            looked_at.push(version);
            let lacks = |member: Option<String>| Missing {
                event_type: one.event_type.clone(),
                version,
                member,
            };
            let Some((_, shape)) = known.iter().find(|(number, _)| *number == version) else {
                missing.push(lacks(None));
                continue;
            };
            let members = one.members.iter();
            let gone = members.filter(|member| shape.look(member) == Known::Not);
            missing.extend(gone.map(|member| lacks(Some(member.clone()))));
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reads(version: Option<u32>, members: &[&str]) -> Reads {
        Reads {
            event_type: "t".to_owned(),
            version,
            members: members.iter().map(ToString::to_string).collect(),
        }
    }

    fn found(reads: Reads) -> Vec<String> {
        let versions = |event_type: &str| match event_type {
            "t" => vec![
                (1, Shape::of(&json!({ "a": 1, "b": { "c": "x" } }))),
                (2, Shape::of(&json!({ "b": { "c": "x", "d": 1 } }))),
            ],
            _ => Vec::new(),
        };
        let missing = missing(&[reads], versions);
        missing.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_plug_in_is_held_to_its_version_and_to_what_comes() {
        assert_eq!(found(reads(None, &["/b/c", "/b/d"])), Vec::<String>::new());
        assert_eq!(found(reads(None, &["/a"])), ["t version 2 has no /a"]);
        assert_eq!(found(reads(Some(1), &["/a"])), ["t version 2 has no /a"]);
        assert_eq!(
            found(reads(Some(1), &["/b/d"])),
            ["t version 1 has no /b/d"]
        );
        assert_eq!(found(reads(Some(7), &[])), ["t has no version 7"]);
        let mut of_another = reads(None, &["/a"]);
        of_another.event_type = "u".to_owned();
        assert_eq!(found(of_another), Vec::<String>::new());
    }
}
