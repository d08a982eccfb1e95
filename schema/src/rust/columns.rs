//! Takes the shape of a Dataverse column, gives the type that the SDK reads it into.
//!
//! The SDK gives the columns of a record to serde by their classes: `Money` as its number, a choice
//! as the number of its option, a lookup with its members, a record as its columns. A date is a
//! text here, and to a shape too; a field that is changed to `Date` reads it as well.

use super::types::{Format, Place, Type, Types};
use crate::import::CLASS;
use crate::kinds::Kinds;
use crate::shape::{Content, Members, Shape};

/// What the class of a boxed .NET primitive ends with, `{"__type":"Guid:#System","__value":…}`.
const BOXED: &str = ":#System";

/// The columns of a record, where they are known.
pub(super) fn of_record(record: &Shape) -> Option<&Members> {
    match &record.members.named.get("Attributes")?.shape.content {
        Content::Pairs(columns) => Some(columns),
        Content::Nothing | Content::Items(_) | Content::Any => None,
    }
}

impl Types {
    /// What it is where it was not cleared.
    pub(super) fn column(&mut self, shape: &Shape, place: &Place) -> Type {
        let before = self.items.len();
        let mut all: Vec<Type> = Vec::new();
        let kinds = shape.kinds;
        for (kind, of) in [
            (Kinds::BOOLEAN, Type::Bool),
            (Kinds::NUMBER, Type::Decimal),
            (Kinds::STRING, Type::Text),
        ] {
            all.extend(kinds.has(kind).then_some(of));
        }
        if kinds.has(Kinds::ARRAY) {
            all.push(self.column_list(&shape.content, place));
        }
        if kinds.has(Kinds::OBJECT) && shape.tags.is_empty() {
            all.push(Type::Json);
        }
        for tag in &shape.tags {
            all.push(self.class(tag, shape, place));
        }
        all.dedup();
        let is_number = |of: &Type| matches!(of, Type::Decimal | Type::Integer | Type::Money);
        match all.as_slice() {
            [one] => one.clone(),
            [_, ..] if all.iter().all(is_number) => Type::Decimal,
            _ => {
                self.items.truncate(before);
                Type::Json
            }
        }
    }

    /// Choices, or whatever else stands in a list.
    fn column_list(&mut self, content: &Content, place: &Place) -> Type {
        match content {
            Content::Items(items) => Type::list(self.value(items, &place.any(), Format::Row)),
            Content::Nothing => Type::list(Type::Json),
            // The SDK tells a dictionary from a list by what a shape does not know.
            Content::Pairs(_) | Content::Any => Type::Json,
        }
    }

    /// An object of a class.
    fn class(&mut self, tag: &str, shape: &Shape, place: &Place) -> Type {
        let named = |name: &str| Some(&shape.members.named.get(name)?.shape);
        if tag.ends_with(BOXED) {
            return match named("__value") {
                Some(value) => self.column(value, place),
                None => Type::Json,
            };
        }
        match tag.strip_suffix(CLASS) {
            Some("Money") => Type::Money,
            Some("OptionSetValue") => Type::Integer,
            Some("EntityReference") => Type::Reference,
            Some("Relationship") => Type::Text,
            Some("Entity") => self.record(shape, place),
            Some("EntityCollection") => {
                let of = match named("Entities").map(|entities| &entities.content) {
                    Some(Content::Items(records)) => self.record(records, &place.any()),
                    _ => Type::Json,
                };
                Type::list(of)
            }
            _ => Type::Json,
        }
    }

    fn record(&mut self, record: &Shape, place: &Place) -> Type {
        match of_record(record) {
            Some(columns) => self.object(columns, place, Format::Row),
            None => Type::Json,
        }
    }
}
