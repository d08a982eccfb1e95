//! Takes one body, gives its shape.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::kinds::Kinds;

/// Names of members that one object may have before its names are taken for data.
pub const MAX_MEMBERS: usize = 1_024;
/// Nothing is known of what lies deeper.
pub const MAX_DEPTH: usize = 16;
/// Members of a whole shape; beyond, its deepest are let go of.
pub const MAX_NODES: usize = 4_000;
/// Characters of a name; a longer one is taken for data.
pub(crate) const MAX_NAME: usize = 128;
/// Values of `__type` at one place.
pub(crate) const MAX_TAGS: usize = 8;
/// What stands for more than those.
pub(crate) const ANY_TAG: &str = "*";

/// Where Dataverse names the class of an object.
pub(crate) const TAG: &str = "__type";
/// What the pairs of a Dataverse list have.
pub(crate) const KEY: &str = "key";
pub(crate) const VALUE: &str = "value";

/// Its names are columns, its values texts in the language of whoever made the change: data.
const TEXTS: &str = "FormattedValues";
/// The operation that led to this one, whichever that was.
const PARENT: &str = "ParentContext";

/// What was seen at one place of the bodies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// Which kinds of values.
    pub kinds: Kinds,
    /// The values of `__type` of the objects; `*` for too many.
    pub tags: BTreeSet<String>,
    /// The members of the objects.
    pub members: Members,
    /// The elements of the lists.
    pub content: Content,
    /// So many lists had none.
    pub empty: u64,
    /// Nothing is known of members and elements.
    pub opaque: bool,
}

/// The members of the objects at one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// So many objects.
    pub of: u64,
    /// By name.
    pub named: BTreeMap<String, Member>,
    /// What stands under names that are data: ids, and all of them where there are too many.
    pub rest: Option<Box<Shape>>,
    /// Every name is data.
    pub is_map: bool,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// What it is.
    pub shape: Shape,
    /// So many of the objects have it.
    pub seen: u64,
    /// Every object has to have it.
    pub required: bool,
}

/// The elements of the lists at one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Content {
    /// None was seen.
    #[default]
    Nothing,
    /// `{"key","value"}`, each key once: members, as Dataverse writes them.
    Pairs(Members),
    /// Others.
    Items(Box<Shape>),
    /// Now these, now those.
    Any,
}

impl Shape {
    /// Of one body.
    pub fn of(body: &Value) -> Self {
        let mut shape = Self::at(body, 0);
        shape.prune();
        shape
    }

    fn at(value: &Value, depth: usize) -> Self {
        let mut shape = Self {
            kinds: Kinds::of(value),
            ..Self::default()
        };
        match value {
            Value::Object(_) | Value::Array(_) if MAX_DEPTH <= depth => shape.opaque = true,
            Value::Object(object) => {
                shape.tags.extend(tag(object));
                let members = object.iter().filter(|(name, _)| *name != TAG);
                shape.members = Members::seen(members, depth, false);
            }
            Value::Array(elements) => {
                shape.empty = elements.is_empty().into();
                shape.content = match pairs(elements) {
                    _ if elements.is_empty() => Content::Nothing,
                    Some(pairs) => Content::Pairs(Members::seen(pairs.into_iter(), depth, false)),
                    None => {
                        let mut all = Self::default();
                        for element in elements {
                            all.absorb_unbounded(Self::at(element, depth + 1));
                        }
                        Content::Items(Box::new(all))
                    }
                };
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        shape
    }

    /// What stands under a name of which only the kind is told.
    fn under(name: &str, value: &Value, depth: usize) -> Self {
        match (name, value) {
            (PARENT, _) => Self {
                kinds: Kinds::of(value),
                opaque: matches!(value, Value::Object(_)),
                ..Self::default()
            },
            (TEXTS, Value::Array(elements)) => Self {
                kinds: Kinds::ARRAY,
                empty: elements.is_empty().into(),
                content: match pairs(elements) {
                    _ if elements.is_empty() => Content::Nothing,
                    Some(pairs) => Content::Pairs(Members::seen(pairs.into_iter(), depth, true)),
                    None => Content::Any,
                },
                ..Self::default()
            },
            (_, value) => Self::at(value, depth + 1),
        }
    }
}

impl Members {
    fn seen<'a, I>(members: I, depth: usize, is_map: bool) -> Self
    where
        I: Iterator<Item = (&'a String, &'a Value)>,
    {
        let mut all = Self {
            of: 1,
            is_map,
            ..Self::default()
        };
        for (name, value) in members {
            let shape = Shape::under(name, value, depth);
            if is_map || is_data(name) {
                all.rest.get_or_insert_default().absorb_unbounded(shape);
                continue;
            }
            let member = Member {
                shape,
                seen: 1,
                required: false,
            };
            all.named.insert(name.clone(), member);
        }
        all.bound();
        all
    }

    /// Too many names are taken for data.
    pub(crate) fn bound(&mut self) {
        if self.is_map || MAX_MEMBERS < self.named.len() {
            self.is_map = true;
            for (_, member) in std::mem::take(&mut self.named) {
                let rest = self.rest.get_or_insert_default();
                rest.absorb_unbounded(member.shape);
            }
        }
    }
}

/// The class of an object.
pub(crate) fn tag(object: &Map<String, Value>) -> Option<String> {
    let tag = object.get(TAG)?.as_str().unwrap_or(ANY_TAG);
    let fits = tag.len() <= MAX_NAME;
    Some(if fits { tag } else { ANY_TAG }.to_owned())
}

/// The pairs of a list, where it is one of them.
pub(crate) fn pairs(elements: &[Value]) -> Option<Vec<(&String, &Value)>> {
    let found = elements.iter().map(|element| pair(element.as_object()?));
    let found: Vec<(&String, &Value)> = found.collect::<Option<_>>()?;
    let keys: BTreeSet<&String> = found.iter().map(|(key, _)| *key).collect();
    (keys.len() == found.len()).then_some(found)
}

fn pair(pair: &Map<String, Value>) -> Option<(&String, &Value)> {
    let is_more = |name: &String| ![KEY, VALUE, TAG].contains(&name.as_str());
    match (pair.get(KEY)?, pair.get(VALUE)?) {
        (Value::String(key), value) if !pair.keys().any(is_more) => Some((key, value)),
        _ => None,
    }
}

/// Whether a name is an id, or too long for a name.
pub(crate) fn is_data(name: &str) -> bool {
    let bare = name.strip_prefix('{').unwrap_or(name);
    let bare = bare.strip_suffix('}').unwrap_or(bare);
    let is_guid = bare.len() == 36
        && bare.bytes().enumerate().all(|(index, byte)| {
            let is_dash = matches!(index, 8 | 13 | 18 | 23);
            (is_dash && byte == b'-') || (!is_dash && byte.is_ascii_hexdigit())
        });
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    MAX_NAME < name.chars().count() || is_guid || is_number
}
