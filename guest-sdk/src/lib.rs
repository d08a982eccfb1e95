//! What the author of a Sluicegate plug-in imports.
//!
//! A plug-in is one function from an event to an outcome. This is a whole one:
//!
//! ```
//! use sluicegate_guest::*;
//!
//! #[consumer]
//! fn handle(event: Event) -> Outcome {
//!     let context = event.record()?;
//!     let name = context.text("name").unwrap_or("an account without a name");
//!     info!("{} of {name}", context.message());
//!     Ok(())
//! }
//! ```
//!
//! What it needs of a call it takes as parameters, in any order ([`Extract`]): here the columns of
//! an account as a type of its own, and a value that is kept for each account.
//!
//! ```
//! use serde::Deserialize;
//! use sluicegate_guest::d365::Decimal;
//! use sluicegate_guest::*;
//!
//! #[derive(Deserialize)]
//! struct Account {
//!     creditlimit: Option<Decimal>,
//! }
//!
//! #[consumer]
//! fn handle(account: Record<Account>, mut highest: State<Decimal>) -> Outcome {
//!     if let Some(limit) = account.row.creditlimit {
//!         *highest = limit.max(*highest);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! With plain state, an emitted event, and a failure that a later call can mend:
//!
//! ```
//! use sluicegate_guest::*;
//!
//! #[consumer]
//! fn handle(event: Event, delivery: Delivery) -> Outcome {
//!     if config::get("paused").as_deref() == Some("yes") {
//!         return Err(retry("paused by the operator"));
//!     }
//!     let environment = event.environment().ok_or_else(|| reject("no environment in source"))?;
//!     let seen = state::get_json::<u64>(&delivery.partition_key)?.unwrap_or(0) + 1;
//!     state::put_json(&delivery.partition_key, &seen)?;
//!     let environment = d365::token(&environment);
//!     let counted = Event::builder("d365.custom.counted.raised").json(&seen)?;
//!     outbox::emit(&format!("d365.custom.{environment}.business.counted.raised"), counted);
//!     Ok(())
//! }
//! ```
//!
//! # Failure
//!
//! `Ok(())` makes what the call staged take effect, all of it, once. [`retry`] and
//! [`retry_after`] ask for another call, [`reject`] for a dead letter; nothing staged takes
//! effect then. `?` turns any [`std::error::Error`] into a rejection: see [`Failure`] for the
//! rule. A panic ends the call as a failed attempt; its message and place are logged first.
//!
//! # Native builds
//!
//! The imports exist inside the host only. Natively the crate compiles, so that a plug-in can be
//! tested with `cargo test`: [`testing`] plays the host there. Without it a log line goes to
//! stderr, and everything in [`state`], [`outbox`], [`config`] and [`http`] panics and says why.
//! `sluice test` runs the built component with the real limits.

// What the macros expand to names the crate, here too.
#[cfg(test)]
extern crate self as sluicegate_guest;

#[cfg(target_family = "wasm")]
mod bindings;

/// The standard library's allocator in a newer version, which uses the memory that a module begins
/// with before it asks for more. `sluice build` has it begin with enough for most events: to
/// grow, and to shrink again for the next event, costs a new instance more than all else.
#[cfg(all(target_family = "wasm", target_os = "unknown", feature = "allocator"))]
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

mod host;

mod attribute;
mod builder;
mod delivery;
pub mod event;
mod extract;
mod failure;
mod record;

pub mod config;
pub mod dataverse;
pub mod http;
pub mod log;
pub mod outbox;
pub mod rows;
pub mod saga;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use attribute::Attribute;
pub use builder::EventBuilder;
pub use delivery::Delivery;
pub use event::Event;
pub use extract::{Call, Data, Extract, Handler};
pub use failure::{Failure, Migrated, Outcome, reject, retry, retry_after};
pub use record::{BusinessEvent, Error as RecordError, Record};
pub use sluicegate_d365 as d365;
/// # Example
///
/// ```
/// use sluicegate_guest::*;
///
/// /// Version 1 kept a plain number, version 2 keeps an object.
/// #[migrate]
/// fn carry(_from: u16, key: String, value: Vec<u8>) -> Migrated {
///     let total: u64 = std::str::from_utf8(&value)?.parse()?;
///     Ok(vec![(key, format!(r#"{{"total":{total}}}"#).into_bytes())])
/// }
///
/// let carried = carry(1, "account/7".to_owned(), b"42".to_vec())?;
/// assert_eq!(carried, [("account/7".to_owned(), br#"{"total":42}"#.to_vec())]);
/// # Ok::<(), Failure>(())
/// ```
pub use sluicegate_guest_macros::migrate;
/// # Example
///
/// ```
/// use sluicegate_guest::*;
///
/// /// How many changes each record has seen, and the last one's place in the store.
/// #[projection]
/// fn apply(event: Event, delivery: Delivery) -> Outcome {
///     let key = event.subject().unwrap_or("?");
///     let seen = rows::get_json::<serde_json::Value>("records", key)?;
///     let changes = seen.and_then(|row| row["changes"].as_u64()).unwrap_or(0) + 1;
///     let row = serde_json::json!({ "changes": changes, "last": delivery.sequence });
///     rows::put_json("records", key, &row)?;
///     Ok(())
/// }
///
/// let mut host = testing::Host::new();
/// host.call(apply, testing::record("account").id("7").event()).outcome.unwrap();
/// assert_eq!(host.row("records", "account/7"), Some(&br#"{"changes":1,"last":1}"#[..]));
/// ```
pub use sluicegate_guest_macros::projection;
pub use sluicegate_guest_macros::{consumer, saga};
pub use state::State;

/// What `#[consumer]` expands to needs these; they are no part of the interface.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::*;
    pub use crate::host::{apply, compensate, handle, migrate, step};
}

/// What `#[consumer]` says of a function natively.
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub fn __is_handler<P>(_: &impl Handler<P>) {}

/// What `#[consumer]` says of each parameter, so that the compiler points at the wrong one.
#[doc(hidden)]
pub const fn __is_extract<P: Extract>() {}

/// What `#[consumer]` expands to.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($handler:expr) => {
        struct Plugin;

        impl $crate::__private::exports::sluicegate::plugin::consumer::Guest for Plugin {
            fn handle(
                event: $crate::__private::sluicegate::plugin::types::Event,
                delivery: $crate::__private::sluicegate::plugin::types::Delivery,
            ) -> Result<(), $crate::__private::sluicegate::plugin::types::Failure> {
                $crate::__private::handle(event, delivery, $handler)
            }
        }

        $crate::__private::export_consumer!(Plugin with_types_in $crate::__private);
    };
}

/// What `#[projection]` expands to.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_projection {
    ($projection:expr) => {
        struct Projecting;

        impl $crate::__private::projection::exports::sluicegate::plugin::projector::Guest
            for Projecting
        {
            fn apply(
                event: $crate::__private::sluicegate::plugin::types::Event,
                delivery: $crate::__private::sluicegate::plugin::types::Delivery,
            ) -> Result<(), $crate::__private::sluicegate::plugin::types::Failure> {
                $crate::__private::apply(event, delivery, $projection)
            }
        }

        $crate::__private::projection::export_projector!(
            Projecting with_types_in $crate::__private::projection
        );
    };
}

/// What `#[projection]` expands to: natively, a use of the function and no export.
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_projection {
    ($projection:expr) => {
        const _: fn() = || $crate::__is_handler(&$projection);
    };
}

/// What `#[migrate]` expands to.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_migration {
    ($migration:expr) => {
        struct Migrating;

        impl $crate::__private::migration::exports::sluicegate::plugin::migration::Guest
            for Migrating
        {
            fn migrate(
                from_version: u16,
                key: String,
                value: Vec<u8>,
            ) -> Result<Vec<(String, Vec<u8>)>, String> {
                $crate::__private::migrate(from_version, key, value, $migration)
            }
        }

        $crate::__private::migration::export_migration!(
            Migrating with_types_in $crate::__private::migration
        );
    };
}

/// What `#[migrate]` expands to: natively, a use of the function and no export.
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_migration {
    ($migration:expr) => {
        const _: fn(u16, String, Vec<u8>) -> $crate::Migrated = $migration;
    };
}

/// What `#[consumer]` expands to: natively, a use of the handler and no export.
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($handler:expr) => {
        const _: fn() = || $crate::__is_handler(&$handler);
    };
}

/// What `#[saga]` expands to.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_saga {
    ($saga:ty) => {
        const _: () = {
            struct Plugin;

            impl $crate::__private::saga::exports::sluicegate::plugin::steps::Guest for Plugin {
                fn step(
                    name: String,
                    saga: $crate::__private::saga::exports::sluicegate::plugin::steps::Saga,
                    event: Option<$crate::__private::sluicegate::plugin::types::Event>,
                    delivery: $crate::__private::sluicegate::plugin::types::Delivery,
                ) -> Result<
                    $crate::__private::saga::exports::sluicegate::plugin::steps::Advance,
                    $crate::__private::sluicegate::plugin::types::Failure,
                > {
                    $crate::__private::step::<$saga>(&name, saga, event, delivery)
                }

                fn compensate(
                    name: String,
                    saga: $crate::__private::saga::exports::sluicegate::plugin::steps::Saga,
                    data: Vec<u8>,
                    delivery: $crate::__private::sluicegate::plugin::types::Delivery,
                ) -> Result<Vec<u8>, $crate::__private::sluicegate::plugin::types::Failure>
                {
                    $crate::__private::compensate::<$saga>(&name, saga, &data, delivery)
                }
            }

            $crate::__private::saga::export_saga!(
                Plugin with_types_in $crate::__private::saga
            );
        };
    };
}

/// What `#[saga]` expands to: natively, a use of the saga and no export.
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_saga {
    ($saga:ty) => {
        const _: fn() = || {
            let _ = <$saga as $crate::saga::Steps>::__step;
            let _ = <$saga as $crate::saga::Steps>::__compensate;
            let _ = <$saga as ::core::default::Default>::default;
        };
    };
}

/// The plug-in in the README is compiled like every other example.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
