//! Takes the shape of a JSON value, gives the type that serde reads it into.

use super::types::{Format, Place, Type, Types};
use crate::kinds::Kinds;
use crate::shape::{Content, Shape};

/// Whether there are objects and nothing else, and their members are known.
pub(super) fn is_object(shape: &Shape) -> bool {
    shape.kinds == Kinds::OBJECT && !shape.opaque
}

impl Types {
    /// What it is where it is not null.
    pub(super) fn json(&mut self, shape: &Shape, place: &Place) -> Type {
        match Kinds::NULL.missing_of(shape.kinds) {
            Kinds::BOOLEAN => Type::Bool,
            Kinds::NUMBER => Type::Decimal,
            Kinds::STRING => Type::Text,
            Kinds::ARRAY => Type::list(match &shape.content {
                Content::Items(items) => self.value(items, &place.any(), Format::Json),
                // The values of pairs are of as many types as there are keys.
                Content::Pairs(_) | Content::Nothing | Content::Any => Type::Json,
            }),
            Kinds::OBJECT if !shape.opaque => self.object(&shape.members, place, Format::Json),
            _ => Type::Json,
        }
    }
}
