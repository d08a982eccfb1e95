//! Takes a row and its columns, gives a request to Dataverse's Web API that writes it, once;
//! or asks for the row ([`Retrieve`]).
//!
//! A plug-in that is granted the environment's origin sends it, and the host adds the token
//! (`docs/calling-dataverse.md`). `?` makes a later call of 429 and of
//! what may pass, and a dead letter of what cannot succeed (see [`http`](crate::http)).
//!
//! ```no_run
//! use sluicegate_guest::dataverse::{Row, Upsert};
//! use sluicegate_guest::*;
//!
//! #[consumer]
//! fn handle(event: Event, delivery: Delivery) -> Outcome {
//!     let order = event.business_event()?;
//!     let number = order.text("SalesId").ok_or_else(|| reject("no SalesId in the event"))?;
//!     Upsert::new(Row::by_key("salesorders", "new_number", number))
//!         .set("new_confirmed", true)
//!         .build()?
//!         .send("https://contoso.crm.dynamics.com")?;
//!     Ok(())
//! }
//! ```
//!
//! Or a [`Request`] leaves as an event's data, for a program that may write to
//! Dataverse: it has only to put the environment's address before the path, and to add its token.
//!
//! ```
//! use sluicegate_guest::dataverse::{Row, Upsert};
//! use sluicegate_guest::*;
//!
//! #[consumer]
//! fn handle(event: Event, delivery: Delivery) -> Outcome {
//!     let order = event.record()?;
//!     let id = order.record_id().ok_or_else(|| reject("no order id in the event"))?;
//!     let mut shipment = Upsert::once("new_shipments", "new_idempotencykey", &delivery)
//!         .set("new_name", order.text("name").unwrap_or("an order without a name"))
//!         .bind("new_Order", Row::by_id("salesorders", id));
//!     if let Some(amount) = order.money("totalamount") {
//!         shipment = shipment.set("new_value", amount);
//!     }
//!     let wanted = Event::builder("d365.custom.write.requested").json(&shipment.build()?)?;
//!     outbox::emit("d365.custom.contoso.business.write.requested", wanted);
//!     Ok(())
//! }
//! ```
//!
//! What the Web API gets, here of a row that is created or changed:
//!
//! ```
//! use sluicegate_guest::d365::Decimal;
//! use sluicegate_guest::dataverse::{Row, Upsert};
//!
//! let request = Upsert::new(Row::by_key("accounts", "accountnumber", "A-1"))
//!     .set("name", "Contoso")
//!     .set("creditlimit", Decimal::new(500_000_001, 4))
//!     .bind("primarycontactid", Row::by_id("contacts", "7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05"))
//!     .build()?;
//! assert_eq!(request.method, "PATCH");
//! assert_eq!(request.path, "/api/data/v9.2/accounts(accountnumber='A-1')");
//! assert_eq!(request.headers["OData-Version"], "4.0");
//! assert_eq!(
//!     request.body.to_string(),
//!     r#"{"creditlimit":50000.0001,"name":"Contoso","#.to_owned()
//!         + r#""primarycontactid@odata.bind":"/contacts(7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05)"}"#
//! );
//! # Ok::<(), sluicegate_guest::dataverse::Error>(())
//! ```
//!
//! # Which write
//!
//! | | request | it is for |
//! |---|---|---|
//! | [`Upsert::new`] | `PATCH` on the key | a row that the outside knows by a number of its own |
//! | [`Upsert::update_only`] | the same with `If-Match: *` | a row that somebody may have deleted on purpose |
//! | [`Upsert::create_only`] | `POST` on the table, the key in the body; by an id, `PATCH` with `If-None-Match: *` | a row that nobody may change by it |
//! | [`Upsert::once`] | as `create_only`, by the idempotency key | one row for one event |
//!
//! A key is one that is defined on the table as an alternate key and whose index is `Active`.
//! Columns of the key are left out of the body of a `PATCH`: Dataverse takes them from the URL.
//! Standard tables are meant; in an elastic table an upsert overwrites the whole row, and
//! virtual tables have no alternate keys.
//!
//! # The idempotency key
//!
//! [`Delivery::idempotency_key`](crate::Delivery::idempotency_key) is 32 hexadecimal digits: a
//! hash of the plug-in's name and of the event's source and id. So it is the same in every
//! attempt, on every host, after a crash, in every version of the plug-in, and when an operator
//! **replays** the event: a replay after a success finds the row, and does not write it again
//! ([`Upsert::create_or_update`] makes it bring the row up to date instead). Another event about
//! the same record has another key, and so has another plug-in, also one that is the old one
//! under a new name.
//!
//! # Answers
//!
//! | status | means | so |
//! |---|---|---|
//! | 204 | created or changed, it does not say which | done |
//! | 201, 200 | created, changed; with [`Upsert::returning`] only | done |
//! | 412 | of a create: a row with this key is there | done, by an attempt before this one |
//! | 404 | of [`Upsert::update_only`]: no such row. Also a wrong entity set name, or a bound row that is not there | reject; retry where that row may still come |
//! | 429 | over the service protection limits | retry after `Retry-After`, in seconds |
//! | 401 | the token is missing or over | retry with a new one |
//! | 500, 502, 503, 504, none at all | unknown whether it was written | retry: the key makes that safe |
//! | 400, 403, 405, 413 | the request cannot succeed | reject |
//!
//! A 412 has `error.code` in its body. `0x80060892` (`DuplicateRecordEntityKey`) is an alternate
//! key, and its message names it: where the table has more than one, see that it is yours.
//! `0x80040333` is a duplicate detection rule, which is off unless the header
//! `MSCRM.SuppressDuplicateDetection: false` asks for it; it is not sent here, for it would make
//! the 412 ambiguous. A `POST` is used for creates because `PATCH` with `If-None-Match: *`,
//! which Microsoft shows with an id, is reported to be answered 404 (`0x80060891`) on an
//! alternate key.
//!
//! # Sources
//!
//! Pages of learn.microsoft.com: "Use Upsert to Create or Update a
//! record", "Work with alternate keys", "Use an alternate key to reference a record", "Define
//! alternate keys using Power Apps", "Perform conditional operations using the Web API",
//! "Compose HTTP requests and handle errors", "Create a table row using the Web API",
//! "Associate and disassociate table rows using the Web API", "Web API Properties", "Web API
//! Navigation Properties", "Choices columns", "Use optional parameters", "Service protection
//! API limits", "Web service error codes", "Troubleshoot Dataverse Web API client errors". None
//! of it was tried on an environment.

mod error;
mod key;
mod name;
mod retrieve;
mod row;
mod upsert;
mod value;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use key::KeyValue;
pub use retrieve::{Retrieve, RetrieveError};
pub use row::Row;
pub use upsert::{Request, Upsert};
pub use value::Value;
