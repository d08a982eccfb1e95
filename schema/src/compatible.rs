//! Takes two versions of a schema and a rule, gives what breaks the rule.

use serde::Serialize;

use crate::drift::words;
use crate::kinds::Kinds;
use crate::path::join;
use crate::shape::{ANY_TAG, Content, Members, Shape};

/// Who has to be able to read what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Who knows the new version reads what was written by the old one: history can be replayed.
    Backward,
    /// Who knows the old version reads what is written by the new one: plug-ins that run go on.
    Forward,
    /// Both.
    Full,
}

/// One place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Where.
    pub path: String,
    /// What is wrong there, in words.
    pub why: String,
}

/// What breaks the rule between an old version and a new one; nothing where they are compatible.
pub fn incompatible(rule: Rule, old: &Shape, new: &Shape) -> Vec<Broken> {
    let mut found = Vec::new();
    if matches!(rule, Rule::Backward | Rule::Full) {
        let sides = Sides {
            reader: "the new version",
            writer: "the old one",
        };
        sides.shape(new, old, "", &mut found);
    }
    if matches!(rule, Rule::Forward | Rule::Full) {
        let sides = Sides {
            reader: "the old version",
            writer: "the new one",
        };
        sides.shape(old, new, "", &mut found);
    }
    found
}

struct Sides {
    reader: &'static str,
    writer: &'static str,
}

impl Sides {
    fn shape(&self, reader: &Shape, writer: &Shape, path: &str, found: &mut Vec<Broken>) {
        let Self {
            reader: reads,
            writer: writes,
        } = self;
        let is_open = |shape: &Shape| shape.tags.is_empty() || shape.tags.contains(ANY_TAG);
        let is_of_class = is_open(reader) || reader.tags.is_superset(&writer.tags);
        let is_unsaid = Kinds::NULL.has(reader.kinds);
        if !is_unsaid && (!reader.kinds.has(writer.kinds) || !is_of_class) {
            found.push(Broken {
                path: path.to_owned(),
                why: format!(
                    "{reads} expects {}, {writes} has {}",
                    words(reader),
                    words(writer)
                ),
            });
        }
        if reader.opaque || writer.opaque {
            return;
        }
        self.members(&reader.members, &writer.members, path, found);
        match (&reader.content, &writer.content) {
            (Content::Pairs(reader), Content::Pairs(writer)) => {
                self.members(reader, writer, path, found);
            }
            (Content::Items(reader), Content::Items(writer)) => {
                self.shape(reader, writer, &join(path, "*"), found);
            }
            (Content::Pairs(_), Content::Items(_) | Content::Any)
            | (Content::Items(_), Content::Pairs(_) | Content::Any) => found.push(Broken {
                path: path.to_owned(),
                why: format!("{reads} expects other elements than {writes} has"),
            }),
            (Content::Any | Content::Nothing, _) | (_, Content::Nothing) => {}
        }
    }

    fn members(&self, reader: &Members, writer: &Members, path: &str, found: &mut Vec<Broken>) {
        for (name, wanted) in &reader.named {
            let at = join(path, name);
            let given = writer.named.get(name);
            if let Some(given) = given {
                self.shape(&wanted.shape, &given.shape, &at, found);
            }
            let is_given = given.is_some_and(|given| given.required);
            // Where no object was ever seen, nothing is known of it.
            let is_known = !writer.named.is_empty() || writer.rest.is_some() || 0 < writer.of;
            if wanted.required && !is_given && is_known {
                found.push(Broken {
                    path: at,
                    why: format!(
                        "{} requires it, {} does not have it always",
                        self.reader, self.writer
                    ),
                });
            }
        }
        if let (Some(reader), Some(writer)) = (&reader.rest, &writer.rest) {
            self.shape(reader, writer, &join(path, "*"), found);
        }
    }
}
