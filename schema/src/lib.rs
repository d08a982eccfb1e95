//! Takes JSON bodies, gives their shape: learnt, as JSON Schema, and what another body has otherwise.
//!
//! Dynamics 365 changes what it sends without a word: a column is added, a field becomes a choice.
//! A [`Shape`] is what was seen of the bodies of one type, as one value: which members there are,
//! in how many of how many bodies, and of which kinds. [`Shape::of`] makes one of a body,
//! [`Shape::absorb`] puts two together in any order, [`Shape::schema`] and [`Shape::read`] write
//! and read it as JSON Schema 2020-12, [`Shape::drift`] holds a body against it, [`incompatible`]
//! another shape, an [`Upcast`] makes a body of one version one of the next, and [`rust()`] writes
//! types for a plug-in that reads such bodies. No I/O and no clock; everything is bounded, since
//! bodies come from outside.
//!
//! A path is a JSON pointer in which the pairs of a Dataverse list, `{"key","value"}`, are named by
//! their keys, and the elements of any other list by `*`:
//! `/InputParameters/Target/Attributes/creditlimit`, `/Lines/*/Amount`.

mod compatible;
mod drift;
mod import;
mod kinds;
mod learn;
mod look;
mod path;
mod read;
mod rust;
mod shape;
mod structure;
#[cfg(test)]
mod tests;
mod upcast;
mod write;

pub use compatible::{Broken, Rule, incompatible};
pub use drift::{Drift, MAX_FINDINGS, What};
pub use import::{Imported, asyncapi, dataverse, fno};
pub use kinds::Kinds;
pub use learn::REQUIRED_AFTER;
pub use look::Known;
pub use path::concerns;
pub use read::Error;
pub use rust::rust;
pub use shape::{Content, MAX_DEPTH, MAX_MEMBERS, MAX_NODES, Member, Members, Shape};
pub use structure::structure;
pub use upcast::{Kind, MAX_STEPS, Step, Upcast, UpcastError};
