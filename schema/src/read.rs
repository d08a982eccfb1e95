//! Takes JSON Schema, gives the shape that it describes, as far as a shape can tell.
//!
//! What `Shape::schema` wrote is read back whole. Of other schemas, types, members, what is
//! required, lists, `$ref` into the same document, and what `allOf`, `anyOf` and `oneOf` put
//! together are taken; conditions on values are not.

use serde_json::{Map, Value};

use crate::kinds::Kinds;
use crate::learn::REQUIRED_AFTER;
use crate::shape::{ANY_TAG, Content, KEY, MAX_DEPTH, Member, Members, Shape, TAG, VALUE};
use crate::write::{EMPTY, HIDDEN, MAP, NOT_NULL, ONLY_NULL, SEEN, SEEN_IN};

/// References and alternatives that are followed in one document.
const MAX_STEPS: usize = 20_000;

/// Why a text gives no shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A schema is an object, or true.
    #[error("{place}: found {found}, expected a JSON Schema: an object, or true")]
    NoSchema {
        /// Where.
        place: String,
        /// What is there.
        found: String,
    },
    /// No kind of values is called so.
    #[error(
        "{place}/type: found {found}, expected null, boolean, number, integer, string, array or object"
    )]
    Type {
        /// Where.
        place: String,
        /// What is there.
        found: String,
    },
    /// It leads nowhere, or out of the document.
    #[error(
        "{place}/$ref: found {found}, expected a reference into the same document, such as \"#/$defs/Line\""
    )]
    Reference {
        /// Where.
        place: String,
        /// What is there.
        found: String,
    },
    /// It is bigger than anything that is sent.
    #[error("the schema is too big: more than {MAX_STEPS} schemas in it")]
    TooBig,
    /// It is not what it was said to be.
    #[error("{0}")]
    Other(String),
}

impl Shape {
    /// The shape that a JSON Schema describes.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(schema: &Value) -> Result<Self, Error> {
        Self::read_in(schema, schema)
    }

    /// The same for a schema inside a document.
    pub(crate) fn read_in(root: &Value, schema: &Value) -> Result<Self, Error> {
        let mut reading = Reading { root, steps: 0 };
        let mut shape = reading.schema(schema, "#", 0, false)?;
        shape.prune();
        Ok(shape)
    }
}

struct Reading<'a> {
    root: &'a Value,
    steps: usize,
}

impl Reading<'_> {
    fn schema(
        &mut self,
        schema: &Value,
        place: &str,
        depth: usize,
        is_column: bool,
    ) -> Result<Shape, Error> {
        self.steps += 1;
        if MAX_STEPS < self.steps {
            return Err(Error::TooBig);
        }
        let schema = match schema {
            Value::Bool(true) => return Ok(Shape::anything()),
            Value::Object(schema) => schema,
            other => {
                return Err(Error::NoSchema {
                    place: place.to_owned(),
                    found: short(other),
                });
            }
        };
        // What refers to itself ends here.
        if MAX_DEPTH < depth {
            return Ok(Shape::anything());
        }
        if let Some(reference) = schema.get("$ref") {
            let found = reference.as_str().and_then(|text| text.strip_prefix('#'));
            let found = found.and_then(|pointer| self.root.pointer(pointer));
            let found = found.ok_or_else(|| Error::Reference {
                place: place.to_owned(),
                found: short(reference),
            })?;
            return self.schema(&found.clone(), &short(reference), depth + 1, is_column);
        }
        if is_true(schema, ONLY_NULL) {
            return Ok(Shape {
                kinds: Kinds::NULL,
                opaque: is_true(schema, HIDDEN),
                ..Shape::default()
            });
        }
        let mut shape = Shape {
            kinds: kinds(schema, place)?,
            ..Shape::default()
        };
        if is_column && is_true(schema, NOT_NULL) {
            shape.kinds = Kinds::NULL.missing_of(shape.kinds);
        }
        shape.empty = schema.get(EMPTY).and_then(Value::as_u64).unwrap_or(0);
        let mut is_known = !shape.kinds.is_empty();
        if let Some(Value::Object(properties)) = schema.get("properties") {
            is_known = true;
            self.properties(&mut shape, (schema, properties), place, depth)?;
        }
        self.rest(&mut shape.members, schema, place, depth)?;
        if let Some(items) = schema.get("items") {
            is_known = true;
            shape.content = self.items((items, schema), place, depth)?;
        }
        let is_empty = shape.members.of == 0 && shape.members.named.is_empty();
        let is_unsaid = is_empty && shape.members.rest.is_none() && !shape.members.is_map;
        for word in ["allOf", "anyOf", "oneOf"] {
            let Some(Value::Array(schemas)) = schema.get(word) else {
                continue;
            };
            // Those of a list of pairs say which of them there must be.
            if matches!(shape.content, Content::Pairs(_)) && word == "allOf" {
                continue;
            }
            is_known |= !schemas.is_empty();
            self.several(&mut shape, schemas, (word, place), depth)?;
        }
        if !is_known {
            return Ok(Shape::anything());
        }
        if shape.kinds.is_empty() {
            shape.kinds = Kinds::OBJECT;
        }
        let has_members = 0 < shape.members.of || !shape.members.named.is_empty();
        let is_unsaid = is_unsaid && !has_members && schema.get("properties").is_none();
        shape.opaque |= is_true(schema, HIDDEN)
            || (shape.kinds.has(Kinds::OBJECT) && is_unsaid && shape.content == Content::Nothing);
        Ok(shape)
    }

    fn properties(
        &mut self,
        shape: &mut Shape,
        (schema, properties): (&Map<String, Value>, &Map<String, Value>),
        place: &str,
        depth: usize,
    ) -> Result<(), Error> {
        let required = |name: &str| {
            let all = schema.get("required").and_then(Value::as_array);
            all.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(name)))
        };
        shape.members.of = seen(schema);
        for (name, property) in properties {
            let tags = property.get("enum").and_then(Value::as_array);
            match (name == TAG, tags) {
                (true, Some(tags)) => {
                    let tags = tags.iter().filter_map(Value::as_str);
                    shape.tags.extend(tags.map(str::to_owned));
                }
                (true, None) => drop(shape.tags.insert(ANY_TAG.to_owned())),
                (false, _) => {
                    let at = format!("{place}/properties/{name}");
                    let required = required(name);
                    let member = Member {
                        shape: self.schema(property, &at, depth + 1, false)?,
                        seen: seen_in(schema, name, required),
                        required,
                    };
                    shape.members.named.insert(name.clone(), member);
                }
            }
        }
        shape.members.bound();
        Ok(())
    }

    fn rest(
        &mut self,
        members: &mut Members,
        schema: &Map<String, Value>,
        place: &str,
        depth: usize,
    ) -> Result<(), Error> {
        members.is_map |= is_true(schema, MAP);
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let pattern = patterns.and_then(|patterns| patterns.values().next());
        let additional = schema.get("additionalProperties");
        let additional = additional.filter(|_| members.named.is_empty());
        if let Some(rest) = additional.or(pattern)
            && rest.is_object()
        {
            members.is_map |= additional.is_some();
            let at = format!("{place}/additionalProperties");
            members.rest = Some(Box::new(self.schema(rest, &at, depth + 1, false)?));
        }
        Ok(())
    }

    fn items(
        &mut self,
        (items, list): (&Value, &Map<String, Value>),
        place: &str,
        depth: usize,
    ) -> Result<Content, Error> {
        if *items == Value::Bool(true) {
            return Ok(Content::Any);
        }
        let at = format!("{place}/items");
        let each = items.get("anyOf").and_then(Value::as_array);
        let key = |branch: &Value| branch.pointer("/properties/key").cloned();
        let is_pairs =
            each.is_some_and(|each| !each.is_empty() && each.iter().all(|one| key(one).is_some()));
        let none = Map::new();
        let inner = items.as_object().unwrap_or(&none);
        let is_map = is_true(inner, MAP) && items.pointer("/properties/key").is_some();
        if !is_pairs && !is_map {
            return Ok(Content::Items(Box::new(self.schema(
                items,
                &at,
                depth + 1,
                false,
            )?)));
        }
        let mut members = Members {
            of: seen(inner),
            is_map,
            ..Members::default()
        };
        let required: Vec<&str> = list
            .get("allOf")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|one| one.pointer("/contains/properties/key/const")?.as_str())
            .collect();
        for branch in each.into_iter().flatten() {
            let key = key(branch).unwrap_or_default();
            let Some(value) = branch.pointer("/properties/value") else {
                continue;
            };
            let at = format!("{at}/{}", short(&key));
            let shape = self.schema(value, &at, depth + 1, true)?;
            match key.get("const").and_then(Value::as_str) {
                Some(name) => {
                    let required = required.contains(&name);
                    let member = Member {
                        shape,
                        seen: seen_in(inner, name, required),
                        required,
                    };
                    members.named.insert(name.to_owned(), member);
                }
                None => members.rest = Some(Box::new(shape)),
            }
        }
        if let Some(value) = items.pointer("/properties").and_then(|all| all.get(VALUE)) {
            let at = format!("{at}/{KEY}");
            let rest = self.schema(value, &at, depth + 1, true)?;
            members.rest = (rest != Shape::anything()).then(|| Box::new(rest));
        }
        members.bound();
        Ok(Content::Pairs(members))
    }

    /// All together for `allOf`, one or the other for the others.
    fn several(
        &mut self,
        shape: &mut Shape,
        schemas: &[Value],
        (word, place): (&str, &str),
        depth: usize,
    ) -> Result<(), Error> {
        let mut all: Option<Shape> = None;
        for (index, schema) in schemas.iter().enumerate() {
            let at = format!("{place}/{word}/{index}");
            let one = self.schema(schema, &at, depth + 1, false)?;
            match &mut all {
                None => all = Some(one),
                Some(all) if word == "allOf" => all.join(one),
                Some(all) => {
                    all.absorb_unbounded(one);
                    all.settle(REQUIRED_AFTER);
                }
            }
        }
        let Some(all) = all else { return Ok(()) };
        if shape.kinds.is_empty() && !shape.opaque && shape.members.named.is_empty() {
            *shape = all;
        } else {
            shape.join(all);
        }
        Ok(())
    }
}

impl Shape {
    /// A value that is both.
    fn join(&mut self, other: Self) {
        if other == Self::anything() {
            return;
        }
        if *self == Self::anything() {
            *self = other;
            return;
        }
        self.opaque &= other.opaque;
        self.members.of = self.members.of.max(other.members.of);
        for (name, member) in other.members.named {
            self.members.named.entry(name).or_insert(member);
        }
        if self.content == Content::Nothing {
            self.content = other.content;
        }
    }
}

fn kinds(schema: &Map<String, Value>, place: &str) -> Result<Kinds, Error> {
    let wrong = |found: &Value| Error::Type {
        place: place.to_owned(),
        found: short(found),
    };
    let named = |value: &Value| {
        let found = value.as_str().and_then(Kinds::named);
        found.ok_or_else(|| wrong(value))
    };
    match schema.get("type") {
        Some(Value::Array(all)) => all
            .iter()
            .try_fold(Kinds::default(), |kinds, one| Ok(kinds.with(named(one)?))),
        Some(one) => named(one),
        None => {
            let values = schema.get("enum").and_then(Value::as_array);
            let values = values.into_iter().flatten().chain(schema.get("const"));
            Ok(values.fold(Kinds::default(), |kinds, value| {
                kinds.with(Kinds::of(value))
            }))
        }
    }
}

fn is_true(schema: &Map<String, Value>, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

fn seen(schema: &Map<String, Value>) -> u64 {
    let seen = schema.get(SEEN).and_then(Value::as_u64);
    seen.unwrap_or(REQUIRED_AFTER)
}

fn seen_in(schema: &Map<String, Value>, name: &str, required: bool) -> u64 {
    let seen = schema.get(SEEN_IN).and_then(|all| all.get(name)?.as_u64());
    // Of a schema that nobody counted for.
    seen.unwrap_or(if required { self::seen(schema) } else { 0 })
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}
