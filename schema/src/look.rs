//! Takes a shape and a path, gives what is known of the member there.

use crate::drift::words;
use crate::path::names;
use crate::shape::{Content, Members, Shape};

/// What is known of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It is there, and is this.
    Is(String),
    /// It is not.
    Not,
    /// Nothing is known of what lies there.
    Hidden,
}

impl Shape {
    /// The member at a path; `*` is any element of a list.
    pub fn look(&self, path: &str) -> Known {
        let mut at = self;
        for name in names(path) {
            let below = at.below_named(&name);
            at = match below {
                Ok(shape) => shape,
                Err(known) => return known,
            };
        }
        Known::Is(words(at))
    }

    fn below_named(&self, name: &str) -> Result<&Self, Known> {
        if self.opaque {
            return Err(Known::Hidden);
        }
        let among = |members: &'_ Members| members.is_map;
        if let Some(member) = self.members.named.get(name) {
            return Ok(&member.shape);
        }
        if let Content::Pairs(members) = &self.content
            && let Some(member) = members.named.get(name)
        {
            return Ok(&member.shape);
        }
        let is_map = among(&self.members)
            || matches!(&self.content, Content::Pairs(members) if among(members));
        match &self.content {
            Content::Items(items) if name == "*" => Ok(items),
            Content::Any => Err(Known::Hidden),
            _ if is_map => Err(Known::Hidden),
            Content::Items(_) | Content::Pairs(_) | Content::Nothing => Err(Known::Not),
        }
    }
}
