//! Takes a body and the shape of its type, gives what the body has otherwise.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::kinds::Kinds;
use crate::path::join;
use crate::shape::{ANY_TAG, Content, Members, Shape, TAG, is_data, pairs, tag};

/// Of one body; more say no more.
pub const MAX_FINDINGS: usize = 100;
/// Characters of an example.
const MAX_EXAMPLE: usize = 120;

/// What happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It was not there before.
    Added,
    /// It was in every body, and is not in this one.
    Removed,
    /// It is another kind of value.
    Retyped,
}

impl What {
    /// Each.
    pub const ALL: [Self; 3] = [Self::Added, Self::Removed, Self::Retyped];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Retyped => "retyped",
        }
    }
}

/// One thing that a body has otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Where.
    pub path: String,
    /// What.
    pub kind: What,
    /// What it was: kinds of values, or the class of an object; `absent`.
    pub was: String,
    /// What it is.
    pub is: String,
    /// The value, cut short; empty where there is none.
    pub example: String,
}

impl Shape {
    /// What a body has otherwise, each place once.
    pub fn drift(&self, body: &Value) -> Vec<Drift> {
        self.found(body, Found::default())
    }

    /// What keeps a body from being one of these: a member that was always there is not, or is
    /// something else. Schemas are open, so what they do not know is no hindrance.
    pub fn misfits(&self, body: &Value) -> Vec<Drift> {
        let found = Found {
            passes_added: true,
            ..Found::default()
        };
        self.found(body, found)
    }

    fn found(&self, body: &Value, mut found: Found) -> Vec<Drift> {
        found.value(self, body, "", false);
        found.drifts
    }
}

#[derive(Default)]
struct Found {
    drifts: Vec<Drift>,
    /// What is new is passed over.
    passes_added: bool,
}

impl Found {
    fn add(&mut self, path: String, kind: What, was: String, is: String, value: Option<&Value>) {
        let is_known = |drift: &Drift| drift.path == path && drift.kind == kind;
        if MAX_FINDINGS <= self.drifts.len() || self.drifts.iter().any(is_known) {
            return;
        }
        self.drifts.push(Drift {
            path,
            kind,
            was,
            is,
            example: value.map(example).unwrap_or_default(),
        });
    }

    /// A column that was cleared is null, whatever it is.
    fn value(&mut self, shape: &Shape, value: &Value, path: &str, may_be_null: bool) {
        let kind = Kinds::of(value);
        let is_cleared = may_be_null && kind == Kinds::NULL;
        // What was always null may become anything.
        if is_cleared || Kinds::NULL.has(shape.kinds) {
            return;
        }
        let retyped = !shape.kinds.has(kind) || !is_class_of(shape, value);
        if retyped {
            let path = path.to_owned();
            return self.add(path, What::Retyped, words(shape), class(value), Some(value));
        }
        if shape.opaque {
            return;
        }
        match value {
            Value::Object(object) => {
                let named = |name: &str| object.get(name);
                let all = object.iter().filter(|(name, _)| *name != TAG);
                self.members(&shape.members, named, all, path, false);
            }
            Value::Array(elements) => self.elements(&shape.content, elements, path),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn elements(&mut self, content: &Content, elements: &[Value], path: &str) {
        match content {
            // A list that was always empty says nothing of what may be in it.
            Content::Nothing | Content::Any => {}
            Content::Items(items) => {
                for element in elements {
                    self.value(items, element, &join(path, "*"), false);
                }
            }
            Content::Pairs(members) => match pairs(elements) {
                Some(pairs) => {
                    let named = |name: &str| {
                        let found = pairs.iter().find(|(key, _)| *key == name);
                        found.map(|(_, value)| *value)
                    };
                    let all = pairs.iter().copied();
                    self.members(members, named, all, path, true);
                }
                None => {
                    let (was, is) = ("array of pairs".to_owned(), "array of others".to_owned());
                    let example = elements.first();
                    self.add(path.to_owned(), What::Retyped, was, is, example);
                }
            },
        }
    }

    fn members<'a>(
        &mut self,
        members: &Members,
        named: impl Fn(&str) -> Option<&'a Value>,
        all: impl Iterator<Item = (&'a String, &'a Value)>,
        path: &str,
        may_be_null: bool,
    ) {
        for (name, value) in all {
            let at = join(path, name);
            match (members.named.get(name), &members.rest) {
                (Some(member), _) => self.value(&member.shape, value, &at, may_be_null),
                (None, Some(rest)) if members.is_map || is_data(name) => {
                    self.value(rest, value, &join(path, "*"), may_be_null);
                }
                (None, None) if members.is_map => {}
                (None, _) if is_data(name) || self.passes_added => {}
                (None, _) => {
                    self.add(at, What::Added, "absent".into(), class(value), Some(value));
                }
            }
        }
        for (name, member) in &members.named {
            if member.required && named(name).is_none() {
                let (path, was) = (join(path, name), words(&member.shape));
                self.add(path, What::Removed, was, "absent".into(), None);
            }
        }
    }
}

/// Whether an object is of a class that was seen; one without is, and where none was.
fn is_class_of(shape: &Shape, value: &Value) -> bool {
    let Value::Object(object) = value else {
        return true;
    };
    let is_open = shape.tags.is_empty() || shape.tags.contains(ANY_TAG);
    is_open || tag(object).is_none_or(|tag| shape.tags.contains(&tag))
}

impl Shape {
    /// What it is, in words: kinds of values, or the classes of objects.
    pub fn words(&self) -> String {
        words(self)
    }
}

pub(crate) fn words(shape: &Shape) -> String {
    if shape.tags.is_empty() || shape.tags.contains(ANY_TAG) {
        return shape.kinds.to_string();
    }
    let others = shape.kinds.names().filter(|name| *name != "object");
    let mut all: Vec<&str> = others.collect();
    all.extend(shape.tags.iter().map(|tag| short(tag)));
    all.join(" or ")
}

/// What a value is, in words.
fn class(value: &Value) -> String {
    let tag = |object: &Map<String, Value>| tag(object).filter(|tag| tag != ANY_TAG);
    match value.as_object().and_then(tag) {
        Some(tag) => short(&tag).to_owned(),
        None => Kinds::of(value).to_string(),
    }
}

/// `Money` of `Money:http://schemas.microsoft.com/xrm/2011/Contracts`.
fn short(tag: &str) -> &str {
    tag.split(':').next().unwrap_or(tag)
}

fn example(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= MAX_EXAMPLE {
        return text;
    }
    text.chars().take(MAX_EXAMPLE).chain(['…']).collect()
}
