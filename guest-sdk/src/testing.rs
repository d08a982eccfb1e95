//! A host for `cargo test`: runs the handler natively, with state, configuration, answers to its
//! requests, and events as Dynamics 365 sends them.
//!
//! ```
//! use sluicegate_guest::d365::Decimal;
//! use sluicegate_guest::*;
//!
//! #[consumer]
//! fn handle(event: Event) -> Outcome {
//!     let account = event.record()?;
//!     let bound: Decimal = config::parse("limit")?;
//!     if account.decimal("creditlimit").is_some_and(|limit| limit > bound) {
//!         let raised = Event::builder("d365.custom.limit.raised").json(&bound)?;
//!         outbox::emit("d365.custom.contoso.business.limit.raised", raised);
//!     }
//!     Ok(())
//! }
//!
//! let mut host = testing::Host::new().with_config("limit", "50000");
//! let event = testing::record("account").update().set("creditlimit", testing::money("75000.0000"));
//! let called = host.call(handle, event.event());
//! assert_eq!(called.outcome, Ok(()));
//! assert_eq!(called.emitted[0].subject, "d365.custom.contoso.business.limit.raised");
//! ```
//!
//! What the real host does beside that is not here: the limits, the manifest's grants, and what it
//! fills into emitted events. `sluice test` runs the built component with all of it.
//!
//! Native builds only: the module is not there in WebAssembly.

mod business;
mod events;
mod http;
mod record;
mod saga;

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use business::{BusinessEventBuilder, business_event};
pub use events::{choice, date, event_of, lookup, money};
pub use http::Answer;
pub(crate) use http::Answers;
pub use record::{RecordBuilder, record};
pub use saga::{Entry, Sagas, Status, What, sagas};

use crate::extract::{Call, Handler};
use crate::host::{self, Fake};
use crate::log::Level;
use crate::{Delivery, Event, Outcome, http as request};

/// What plays the host: it keeps the state from call to call, as the real one does.
#[derive(Debug, Default)]
pub struct Host {
    fake: Fake,
    delivery: Option<Delivery>,
    calls: u64,
}

/// What one call did.
#[derive(Debug)]
pub struct Called {
    /// What the handler returned.
    pub outcome: Outcome,
    /// What it emitted, in this order. Of a call that failed nothing leaves the real host; it is
    /// here to be looked at. What the builder left out the host fills later.
    pub emitted: Vec<Emitted>,
    /// What it logged.
    pub logs: Vec<Line>,
    /// The requests that it sent.
    pub requests: Vec<request::Request>,
    /// What it wrote to the state: `None` for a key that was deleted.
    pub writes: BTreeMap<String, Option<Vec<u8>>>,
    /// The rows that it wrote, by table and key: `None` for one that was deleted.
    pub rows: BTreeMap<(String, String), Option<Vec<u8>>>,
}

/// An event that a call emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The NATS subject, without the slot.
    pub subject: String,
    /// The event as it was built.
    pub event: Event,
}

/// A line that a call logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// Its text.
    pub message: String,
}

impl Host {
    /// A host without state and configuration, where every request is unanswered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value of `[config]`.
    pub fn with_config(mut self, key: &str, value: impl ToString) -> Self {
        self.fake.config.insert(key.to_owned(), value.to_string());
        self
    }

    /// Begins with this value in the state.
    pub fn with_state(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        self.fake.state.insert(key.to_owned(), value);
        self
    }

    /// Begins with this value, as JSON, in the state.
    ///
    /// # Panics
    /// When JSON has no form for the value.
    pub fn with_json_state<T: Serialize + ?Sized>(self, key: &str, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(value) => self.with_state(key, value),
            Err(error) => panic!("the state under {key:?} cannot be written as JSON: {error}"),
        }
    }

    /// Begins with this row in a table of a projection.
    pub fn with_row(mut self, table: &str, key: &str, row: impl AsRef<[u8]>) -> Self {
        let place = (table.to_owned(), key.to_owned());
        self.fake.rows.insert(place, row.as_ref().to_vec());
        self
    }

    /// Answers the handler's requests.
    ///
    /// ```
    /// use sluicegate_guest::testing::{self, Answer};
    /// use sluicegate_guest::*;
    ///
    /// fn handle(_: Event) -> Outcome {
    ///     http::get("https://api.contoso.com/rates").send()?;
    ///     Ok(())
    /// }
    ///
    /// let mut busy = testing::Host::new().with_answers(|request| {
    ///     assert_eq!(request.url(), "https://api.contoso.com/rates");
    ///     Answer::status(429).header("retry-after", 7)
    /// });
    /// let called = busy.call(handle, testing::record("account").event());
    /// assert!(called.outcome.unwrap_err().to_string().starts_with("retry after 7s: answered 429"));
    /// ```
    pub fn with_answers(
        mut self,
        answers: impl FnMut(&request::Request) -> Answer + 'static,
    ) -> Self {
        self.fake.answers = Some(http::Answers(Box::new(answers)));
        self
    }

    /// What the next calls are told about themselves. Without it each is a first attempt, its
    /// partition key the event's.
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// Calls the handler with the event. What it wrote counts if it returns `Ok(())`.
    pub fn call<P>(&mut self, handler: impl Handler<P>, event: impl Into<Event>) -> Called {
        let event = event.into();
        self.calls += 1;
        let delivery = self.delivery.clone();
        let delivery = delivery.unwrap_or_else(|| events::delivery(&event, self.calls));
        let fake = std::mem::take(&mut self.fake);
        let (outcome, fake) = host::with(fake, || handler.handle(Call::new(event, delivery)));
        self.fake = fake;
        let staged = std::mem::take(&mut self.fake.staged);
        if outcome.is_ok() {
            for (key, value) in &staged.writes {
                match value {
                    Some(value) => self.fake.state.insert(key.clone(), value.clone()),
                    None => self.fake.state.remove(key),
                };
            }
            for (place, row) in &staged.rows {
                match row {
                    Some(row) => self.fake.rows.insert(place.clone(), row.clone()),
                    None => self.fake.rows.remove(place),
                };
            }
        }
        Called {
            outcome,
            emitted: staged.emitted,
            logs: staged.logs,
            requests: staged.requests,
            writes: staged.writes,
            rows: staged.rows,
        }
    }

    /// The value of a key after the calls so far.
    pub fn state(&self, key: &str) -> Option<&[u8]> {
        self.fake.state.get(key).map(Vec::as_slice)
    }

    /// The value of a key, read as JSON.
    ///
    /// # Errors
    /// When it is not JSON of this type.
    pub fn state_json<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<T>, serde_json::Error> {
        self.state(key).map(serde_json::from_slice).transpose()
    }

    /// A row after the calls so far.
    pub fn row(&self, table: &str, key: &str) -> Option<&[u8]> {
        let place = (table.to_owned(), key.to_owned());
        self.fake.rows.get(&place).map(Vec::as_slice)
    }

    /// A row, read as JSON.
    ///
    /// # Errors
    /// When it is not JSON of this type.
    pub fn row_json<T: DeserializeOwned>(
        &self,
        table: &str,
        key: &str,
    ) -> Result<Option<T>, serde_json::Error> {
        self.row(table, key).map(serde_json::from_slice).transpose()
    }

    /// Every key of a table and its row, in the order of the alphabet.
    pub fn rows<'a>(&'a self, table: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let rows = self.fake.rows.iter();
        rows.filter(move |((own, _), _)| own == table)
            .map(|((_, key), row)| (key.as_str(), row.as_slice()))
    }

    /// Every key of the state, in the order of the alphabet.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.fake.state.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http, outbox, reject, retry, state};

    fn event() -> Event {
        record("account").event()
    }

    #[test]
    fn everything_that_a_call_does_is_seen() {
        let handle = |event: Event, delivery: Delivery| {
            assert_eq!(delivery.partition_key, event.text("partitionkey").unwrap());
            assert_eq!(delivery.idempotency_key.len(), 32);
            crate::info!("number {}", delivery.sequence);
            state::put("a", "1");
            state::delete("b");
            outbox::emit("d365.custom.x", Event::builder("t"));
            Ok(())
        };
        let mut host = Host::new().with_state("b", "2");
        let first = host.call(handle, event());
        let second = host.call(handle, event());
        assert_eq!(first.outcome, Ok(()));
        assert_eq!(first.emitted[0].event.event_type(), "t");
        assert_eq!(first.logs[0].message, "number 1");
        assert_eq!(second.logs[0].message, "number 2");
        assert_eq!(first.writes["b"], None);
        assert_eq!(host.keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn of_a_failed_call_nothing_is_kept() {
        let handle = |_: Event| {
            state::put("a", "1");
            Err(retry("later"))
        };
        let mut host = Host::new();
        assert_eq!(host.call(handle, event()).outcome, Err(retry("later")));
        assert_eq!(host.state("a"), None);
    }

    #[test]
    fn a_request_that_nobody_answers_is_asked_to_be_repeated() {
        let handle = |_: Event| {
            http::get("https://api.contoso.com/x").send()?;
            Ok(())
        };
        let called = Host::new().call(handle, event());
        assert!(
            called
                .outcome
                .unwrap_err()
                .to_string()
                .starts_with("retry: no answer")
        );
        assert_eq!(called.requests[0].url(), "https://api.contoso.com/x");
    }

    #[test]
    fn a_panic_leaves_no_host_behind() {
        let panics = || {
            let broken = |_: Event| -> Outcome { panic!("broken") };
            Host::new().call(broken, event())
        };
        assert!(std::panic::catch_unwind(panics).is_err());
        assert!(std::panic::catch_unwind(|| state::get("a")).is_err());
    }

    #[test]
    fn a_delivery_of_ones_own_is_what_the_handler_gets() {
        let handle = |_: Event, delivery: Delivery| match delivery.attempt {
            3 => Err(reject("three are enough")),
            _ => Ok(()),
        };
        let delivery = Delivery {
            attempt: 3,
            ..Delivery::default()
        };
        let mut host = Host::new().with_delivery(delivery);
        assert!(host.call(handle, event()).outcome.is_err());
    }
}
