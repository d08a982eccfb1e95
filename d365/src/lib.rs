//! Takes the body of a Dynamics 365 event, gives typed values and its CloudEvents attributes.
//!
//! Nothing here does I/O, reads a clock or panics on input, and all of it compiles for
//! `wasm32-unknown-unknown`: the host maps bodies with it, and a plug-in reads them with it.
//!
//! ```
//! use sluicegate_d365::{Decimal, RemoteExecutionContext};
//! # let body = br#"{"MessageName":"Update","PrimaryEntityName":"account","InputParameters":[{"key":"Target","value":{
//! #   "__type":"Entity:http:\/\/schemas.microsoft.com\/xrm\/2011\/Contracts","LogicalName":"account",
//! #   "Id":"5b0e7a54-11aa-4c1e-9b7e-0f6a2c9d1e01","Attributes":[{"key":"creditlimit","value":{
//! #   "__type":"Money:http:\/\/schemas.microsoft.com\/xrm\/2011\/Contracts","Value":75000.0000}}]}}]}"#;
//! let context = RemoteExecutionContext::parse(body)?;
//! if context.changed("creditlimit") {
//!     let limit = context.money("creditlimit").expect("the column was not cleared");
//!     assert_eq!(limit.text(), "75000.0000");
//!     assert!(limit.decimal().is_some_and(|limit| limit > Decimal::from(50_000)));
//! }
//! # Ok::<(), sluicegate_d365::Error>(())
//! ```
//!
//! [`map`] gives a body's CloudEvents attributes, [`event_grid()`] those of each event that Event
//! Grid delivers.
//!
//! How strict the reading is: a body must be one JSON object that says what it is, and its
//! lists of keys and values must be such lists; anything else is an [`Error`] that says where.
//! All the rest is kept: a member that is unknown, null, empty or of another type than
//! expected stays in `extra` of the part that it belongs to, and a value of an unknown
//! `__type` stays as JSON. Writing a value gives the JSON back that it was read from, number
//! by number and digit by digit. Member names are matched exactly, and without regard to case
//! only when that finds nothing (middleware is known to change it); it is written in the case
//! that the format gives it.
//!
//! With the feature `xml`, `xml::json_of_xml` turns a context in text XML into the JSON that
//! all of this reads.

// In the order in which data flows: bytes, members, values, records, envelopes, attributes.
mod error;
mod json;
mod members;
mod scan;

mod guid;

mod date;
mod money;

mod pairs;
mod value;

mod entity;

mod business;
mod context;
mod event_grid;
mod from;
mod record;
mod row;
mod serde;

mod attribute;
mod facts;
mod glance;
mod map;
mod subject;

mod delivery;

// Before all of them: another form of the same body.
#[cfg(feature = "xml")]
pub mod xml;

pub use business::BusinessEvent;
pub use context::RemoteExecutionContext;
pub use date::Date;
pub use delivery::{EventGridItem, event_grid};
pub use entity::{Entity, EntityCollection, EntityReference, Image, Relationship};
pub use error::Error;
pub use event_grid::EventGridEvent;
pub use json::json;
#[doc(hidden)]
pub use map::map_by_types;
pub use map::{Mapped, map};
pub use members::Members;
pub use money::{Money, exact};
pub use pairs::{Pair, Pairs};
pub use row::RowError;
pub use subject::{Kind, Origin, SLOTS, Subject, slot, token};
pub use value::{Choice, Value};

/// An exact decimal number: 28 digits, no binary rounding.
pub use rust_decimal::Decimal;
/// A JSON number that keeps the digits it was written with.
pub use serde_json::Number;
/// JSON as it came, where no type of this crate fits.
pub use serde_json::Value as Json;
