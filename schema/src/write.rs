//! Takes a shape, gives it as JSON Schema 2020-12 that any validator reads.
//!
//! Schemas are open: what they do not know is allowed. A Dataverse list is a list whose elements
//! are told apart by their `key`. The members `x-…` are for [`Shape::read`] alone; a validator
//! passes them over.

use serde_json::{Map, Value, json};

use crate::kinds::Kinds;
use crate::shape::{ANY_TAG, Content, KEY, Members, Shape, TAG, VALUE};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Names that are data, see `is_data`.
const DATA: &str =
    r"^([0-9]+|\{?[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?|[\s\S]{129,})$";

/// Nothing is known of members and elements.
pub(crate) const HIDDEN: &str = "x-hidden";
/// Only `null` was seen.
pub(crate) const ONLY_NULL: &str = "x-only-null";
/// `null` was not seen, but a column may be cleared.
pub(crate) const NOT_NULL: &str = "x-not-null";
/// Every name is data.
pub(crate) const MAP: &str = "x-map";
/// So many lists had no elements.
pub(crate) const EMPTY: &str = "x-empty";
/// So many objects were seen.
pub(crate) const SEEN: &str = "x-seen";
/// In how many of them each member was.
pub(crate) const SEEN_IN: &str = "x-seen-in";

impl Shape {
    /// As JSON Schema, with this title.
    pub fn schema(&self, title: &str) -> Value {
        let mut schema = Map::new();
        schema.insert("$schema".to_owned(), DIALECT.into());
        schema.insert("title".to_owned(), title.into());
        schema.append(&mut self.write(false));
        Value::Object(schema)
    }

    fn write(&self, is_column: bool) -> Map<String, Value> {
        let mut schema = Map::new();
        let mut put = |name: &str, value: Value| schema.insert(name.to_owned(), value);
        if self.opaque && self.kinds == Kinds::ANY {
            return schema;
        }
        if self.opaque {
            put(HIDDEN, true.into());
        }
        if Kinds::NULL.has(self.kinds) {
            put(ONLY_NULL, true.into());
            return schema;
        }
        let mut kinds = self.kinds;
        if is_column && !kinds.has(Kinds::NULL) {
            put(NOT_NULL, true.into());
            kinds = kinds.with(Kinds::NULL);
        }
        let names: Vec<&str> = kinds.names().collect();
        match names.as_slice() {
            [one] => put("type", (*one).into()),
            several => put("type", several.into()),
        };
        if self.kinds.has(Kinds::OBJECT) && !self.opaque {
            self.write_members(&mut schema);
        }
        if 0 < self.empty {
            schema.insert(EMPTY.to_owned(), self.empty.into());
        }
        if self.kinds.has(Kinds::ARRAY) {
            match &self.content {
                Content::Nothing => {}
                Content::Any => {
                    schema.insert("items".to_owned(), true.into());
                }
                Content::Items(items) => {
                    schema.insert("items".to_owned(), items.write(false).into());
                }
                Content::Pairs(members) => write_pairs(members, &mut schema),
            }
        }
        schema
    }

    fn write_members(&self, schema: &mut Map<String, Value>) {
        let members = &self.members;
        let named = members.named.iter();
        let mut properties: Map<String, Value> = named
            .map(|(name, member)| (name.clone(), member.shape.write(false).into()))
            .collect();
        if self.tags.contains(ANY_TAG) {
            properties.insert(TAG.to_owned(), true.into());
        } else if !self.tags.is_empty() {
            properties.insert(TAG.to_owned(), json!({ "enum": self.tags }));
        }
        schema.insert("properties".to_owned(), properties.into());
        let required = required(members);
        if !required.is_empty() {
            schema.insert("required".to_owned(), required.into());
        }
        if let Some(rest) = &members.rest {
            let rest = rest.write(false);
            match members.is_map {
                true => schema.insert("additionalProperties".to_owned(), rest.into()),
                false => schema.insert("patternProperties".to_owned(), json!({ DATA: rest })),
            };
        }
        write_counts(members, schema);
    }
}

fn write_pairs(members: &Members, schema: &mut Map<String, Value>) {
    let names: Vec<&String> = members.named.keys().collect();
    let mut properties = Map::new();
    properties.insert(KEY.to_owned(), json!({ "type": "string" }));
    let mut items = Map::new();
    items.insert("type".to_owned(), "object".into());
    items.insert("required".to_owned(), json!([KEY, VALUE]));
    let rest = members.rest.as_ref().map(|rest| rest.write(true));
    if members.is_map {
        let rest = rest.unwrap_or_default();
        properties.insert(VALUE.to_owned(), rest.into());
    } else {
        let pair = |key: Value, value: Option<Map<String, Value>>| match value {
            Some(value) => json!({ "properties": { KEY: key, VALUE: value } }),
            None => json!({ "properties": { KEY: key } }),
        };
        let named = members.named.iter();
        let mut each: Vec<Value> = named
            .map(|(name, member)| pair(json!({ "const": name }), Some(member.shape.write(true))))
            .collect();
        let (known, is_data) = (json!({ "enum": names }), json!({ "pattern": DATA }));
        match rest {
            Some(rest) => {
                each.push(pair(is_data.clone(), Some(rest)));
                each.push(pair(json!({ "not": { "anyOf": [known, is_data] } }), None));
            }
            None => each.push(pair(json!({ "not": known }), None)),
        }
        items.insert("anyOf".to_owned(), each.into());
    }
    items.insert("properties".to_owned(), properties.into());
    write_counts(members, &mut items);
    schema.insert("items".to_owned(), items.into());
    let required = required(members);
    if !required.is_empty() {
        let contains = |name: &&str| json!({ "contains": { "properties": { KEY: { "const": name } }, "required": [KEY] } });
        let all: Vec<Value> = required.iter().map(contains).collect();
        // A list is asked for them; what is no list has none.
        schema.insert("allOf".to_owned(), all.into());
    }
}

fn required(members: &Members) -> Vec<&str> {
    let named = members.named.iter();
    named
        .filter(|(_, member)| member.required)
        .map(|(name, _)| name.as_str())
        .collect()
}

fn write_counts(members: &Members, schema: &mut Map<String, Value>) {
    if members.is_map {
        schema.insert(MAP.to_owned(), true.into());
    }
    if members.of == 0 {
        return;
    }
    schema.insert(SEEN.to_owned(), members.of.into());
    let named = members.named.iter();
    let seen: Map<String, Value> = named
        .map(|(name, member)| (name.clone(), member.seen.into()))
        .collect();
    if !seen.is_empty() {
        schema.insert(SEEN_IN.to_owned(), seen.into());
    }
}
