//! A process of many steps over hours or weeks, each of which can be undone. Needs `[saga]` in
//! plugin.toml.
//!
//! A saga is a type that says what is kept, and one `impl` of it under `#[saga]`. A method that
//! takes `&mut Saga` is a step and says what is [`Next`]. A method that takes `&Undo` is a
//! compensation: it undoes what a step has done. The saga starts with the step `begin`.
//!
//! ```
//! use std::time::Duration;
//!
//! use serde::{Deserialize, Serialize};
//! use sluicegate_guest::saga::{Next, Saga, Step, Undo};
//! use sluicegate_guest::*;
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Order {
//!     number: Option<String>,
//! }
//!
//! #[derive(Deserialize)]
//! struct Created {
//!     number: String,
//! }
//!
//! #[saga]
//! impl Order {
//!     /// An opportunity was updated.
//!     fn begin(&mut self, saga: &mut Saga, event: Event) -> Step {
//!         if event.record()?.choice("statecode") != Some(1) {
//!             return Ok(Next::ignore());
//!         }
//!         let create = Event::builder("d365.custom.salesorder.create").json(saga.key())?;
//!         outbox::emit("d365.custom.contoso.business.salesorder.create", create);
//!         Ok(Next::wait_for("d365.custom.salesorder.created", Self::CREATED)
//!             .or_for("d365.custom.salesorder.refused", Self::REFUSED)
//!             .at_most(Duration::from_secs(3600), Self::NOBODY_ANSWERED))
//!     }
//!
//!     fn created(&mut self, saga: &mut Saga, created: Data<Created>) -> Step {
//!         saga.undo_with(Self::CANCEL_ORDER, &created.number)?;
//!         self.number = Some(created.0.number);
//!         Ok(Next::done())
//!     }
//!
//!     fn refused(&mut self, _: &mut Saga) -> Step {
//!         Ok(Next::fail("Finance and Operations refused the order"))
//!     }
//!
//!     fn nobody_answered(&mut self, _: &mut Saga) -> Step {
//!         Ok(Next::fail("no answer within an hour"))
//!     }
//!
//!     fn cancel_order(&mut self, undo: &Undo, number: String) -> Outcome {
//!         info!("{number} is cancelled, since {}", undo.why());
//!         let cancel = Event::builder("d365.custom.salesorder.cancel").json(&number)?;
//!         outbox::emit("d365.custom.contoso.business.salesorder.cancel", cancel);
//!         Ok(())
//!     }
//! }
//!
//! let mut host = testing::sagas::<Order>()
//!     .starts("d365.dataverse.opportunity.update", "subject")
//!     .on("d365.custom.salesorder.created", "partitionkey");
//! let won = testing::record("opportunity").set("statecode", testing::choice(1)).event();
//! let key = won.subject().unwrap_or_default().to_owned();
//! host.event(won);
//! assert_eq!(host.status(&key), Some(testing::Status::Running));
//! host.passes(Duration::from_secs(3600));
//! assert_eq!(host.status(&key), Some(testing::Status::Compensated));
//! ```
//!
//! # Steps
//!
//! For every method but `begin` there is a constant of its name in capitals, `Self::CREATED`, by
//! which it is referred to: a step that is not there does not compile, a step without an event
//! cannot be given one that needs it, and a compensation gets data of the type that it takes. The
//! method's own name is what is written down of it, so it is not to be changed while sagas run.
//!
//! ```compile_fail
//! # use std::time::Duration;
//! # use sluicegate_guest::saga::{Next, Saga, Step};
//! # use sluicegate_guest::*;
//! # #[derive(Default, serde::Serialize, serde::Deserialize)]
//! # struct Order;
//! #[saga]
//! impl Order {
//!     fn begin(&mut self, _: &mut Saga) -> Step {
//!         // A time has no event that the step could be given.
//!         Ok(Next::after(Duration::from_secs(60), Self::CREATED))
//!     }
//!
//!     fn created(&mut self, _: &mut Saga, _: Event) -> Step {
//!         Ok(Next::done())
//!     }
//! }
//! ```
//!
//! After `&mut self` and `saga: &mut Saga` a step takes nothing, or up to four parameters of its
//! event that are [`Extract`](crate::Extract): [`Event`], [`Data<T>`](crate::Data),
//! [`Record<T>`](crate::Record), [`BusinessEvent<T>`](crate::BusinessEvent). A compensation takes
//! after `&mut self` and `undo: &Undo` nothing, or its data.
//!
//! What the type keeps is written as JSON with every step, in one commit with what was emitted and
//! what undoes it. A step that fails with [`retry`](crate::retry) is called again; one that fails
//! with [`reject`](crate::reject) makes the saga fail, and what was done is undone. A
//! compensation that fails with [`reject`](crate::reject) waits for a person. There is no
//! [`state`](crate::state) in a saga.

mod call;
mod next;

pub(crate) use call::{About, Advance, advance, compensate};
pub use call::{Saga, Steps, Undo};
pub(crate) use next::Kind;
pub use next::{Compensation, EventStep, Next, PlainStep, Target, Waiting};

use std::time::Duration;

use crate::{Event, Failure};

/// How a step ended: with what is next, or not.
pub type Step = Result<Next, Failure>;

/// What the expansion of `#[saga]` needs; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use super::call::{data_of, taken, unknown, without_event};
    pub use crate::extract::Call;

    use crate::{Delivery, Event};

    /// The call that the parameters of a step are taken from.
    pub fn call(event: Event, delivery: Delivery) -> Call {
        Call::new(event, delivery)
    }
}

/// The event of a step, if it has one.
pub(crate) type Given = Option<Event>;

/// A time, in whole milliseconds and not shorter.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
