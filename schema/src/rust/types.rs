//! Takes members of a shape, gives the structs that hold them.

use super::names::{self, Names, comment};
use crate::kinds::Kinds;
use crate::path::join;
use crate::shape::{Member, Members, Shape};

/// What a field is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    /// Any number, every digit of it.
    Decimal,
    /// The number of a choice.
    Integer,
    /// Of several kinds, or not known.
    Json,
    List(Box<Self>),
    /// Of objects whose names are data.
    Map(Box<Self>),
    Money,
    /// One of the structs.
    Named(String),
    Option(Box<Self>),
    /// A lookup.
    Reference,
    Text,
}

/// How a value gets to its field: as JSON, or as a column of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Row,
}

/// Where something stands in a body, and what a struct for it is called.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) name: String,
}

/// What has a name in the source.
#[derive(Debug)]
pub(super) struct Item {
    /// Lines above it.
    pub(super) doc: Vec<String>,
    pub(super) name: String,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Struct(Vec<Field>),
    /// What has no members of its own is another name of a type.
    Alias(Type),
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) doc: String,
    /// In the body.
    pub(super) wire: String,
    /// In the struct.
    pub(super) name: String,
    pub(super) of: Type,
}

/// The items so far, each before those that it is made of.
#[derive(Debug, Default)]
pub(super) struct Types {
    pub(super) items: Vec<Item>,
    names: Names,
}

impl Type {
    pub(super) fn optional(self) -> Self {
        match self {
            Self::Option(_) => self,
            plain => Self::Option(Box::new(plain)),
        }
    }

    pub(super) fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }
}

impl Place {
    /// Of a member.
    fn below(&self, name: &str) -> Self {
        Self {
            path: join(&self.path, name),
            name: format!("{}{}", self.name, names::pascal(name)),
        }
    }

    /// Of any element, or of any member whose name is data.
    pub(super) fn any(&self) -> Self {
        Self {
            path: join(&self.path, "*"),
            name: self.name.clone(),
        }
    }
}

impl Types {
    /// A place whose name nothing else has.
    pub(super) fn claim(&mut self, path: &str, name: &str) -> Place {
        Place {
            path: path.to_owned(),
            name: self.names.claim(name),
        }
    }

    /// Puts an item before all that is made for it.
    pub(super) fn item(
        &mut self,
        place: &Place,
        doc: Vec<String>,
        make: impl FnOnce(&mut Self) -> What,
    ) {
        let at = self.items.len();
        let what = make(self);
        let name = place.name.clone();
        self.items.insert(at, Item { doc, name, what });
    }

    /// The members of an object: fields, or a map where their names are data.
    pub(super) fn members(&mut self, members: &Members, place: &Place, format: Format) -> What {
        if members.named.is_empty() {
            return What::Alias(self.map(members, place, format));
        }
        let names = names::fields(members.named.keys());
        let fields = members.named.iter().zip(names);
        let fields = fields.map(|((wire, member), name)| {
            let place = place.below(wire);
            Field {
                doc: format!(
                    "`{}`: {}",
                    comment(&place.path),
                    comment(&member.shape.words())
                ),
                wire: wire.clone(),
                name,
                of: self.member(member, &place, format),
            }
        });
        What::Struct(fields.collect())
    }

    /// The type of an object's members: one of the structs, or a map.
    pub(super) fn object(&mut self, members: &Members, place: &Place, format: Format) -> Type {
        if members.named.is_empty() {
            return self.map(members, place, format);
        }
        let place = self.claim(&place.path, &place.name);
        let mut doc = vec![format!("`{}`", comment(&place.path))];
        if members.rest.is_some() {
            doc.extend([
                String::new(),
                "Members whose names are data are not in it.".to_owned(),
            ]);
        }
        self.item(&place, doc, |types| types.members(members, &place, format));
        Type::Named(place.name)
    }

    /// A value that is always there; null where that was seen.
    pub(super) fn value(&mut self, shape: &Shape, place: &Place, format: Format) -> Type {
        let of = match format {
            Format::Json => self.json(shape, place),
            Format::Row => self.column(shape, place),
        };
        match shape.kinds.has(Kinds::NULL) && of != Type::Json {
            true => of.optional(),
            false => of,
        }
    }

    fn member(&mut self, member: &Member, place: &Place, format: Format) -> Type {
        let of = self.value(&member.shape, place, format);
        // A column may be cleared whatever was seen of it, and an update has those submitted.
        match member.required && format == Format::Json {
            true => of,
            false => of.optional(),
        }
    }

    fn map(&mut self, members: &Members, place: &Place, format: Format) -> Type {
        let rest = members.rest.as_deref();
        let of = rest.map_or(Type::Json, |rest| self.value(rest, &place.any(), format));
        Type::Map(Box::new(match format {
            Format::Json => of,
            Format::Row => of.optional(),
        }))
    }
}
