//! A host for sagas with a clock of its own: an hour passes when the test says so.

mod key;
mod run;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use sluicegate_saga as rules;
pub use sluicegate_saga::{Entry, Status, What};

use super::{Answer, Emitted, Line, http::Answers};
use crate::host::Fake;
use crate::saga::Steps;
use crate::{Event, http as request};
use run::Kept;

/// When a test begins, in Unix milliseconds.
const START: u64 = 1_700_000_000_000;
/// Who asks for something in a test.
const PERSON: &str = "a test";

/// A host that runs sagas of this type, by the real host's rules and with a clock of its own.
///
/// ```
/// use std::time::Duration;
///
/// use serde::{Deserialize, Serialize};
/// use sluicegate_guest::saga::{Next, Saga, Step, Undo};
/// use sluicegate_guest::*;
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Trial {
///     reminders: u32,
/// }
///
/// #[saga]
/// impl Trial {
///     fn begin(&mut self, saga: &mut Saga) -> Step {
///         saga.undo_with(Self::CLOSE, &())?;
///         Ok(self.wait())
///     }
///
///     fn remind(&mut self, _: &mut Saga) -> Step {
///         self.reminders += 1;
///         Ok(if self.reminders < 3 { self.wait() } else { Next::fail("no order") })
///     }
///
///     fn ordered(&mut self, _: &mut Saga) -> Step {
///         Ok(Next::done())
///     }
///
///     fn close(&mut self, _: &Undo) -> Outcome {
///         http::post("https://trials.contoso.com/close").send()?;
///         Ok(())
///     }
/// }
///
/// impl Trial {
///     fn wait(&self) -> Next {
///         Next::wait_for("d365.dataverse.salesorder.create", Self::ORDERED)
///             .at_most(Duration::from_secs(7 * 86_400), Self::REMIND)
///     }
/// }
///
/// let mut host = testing::sagas::<Trial>()
///     .starts("d365.dataverse.lead.create", "subject")
///     .on("d365.dataverse.salesorder.create", "data:/lead")
///     .with_answers(|_| testing::Answer::status(503));
/// let key = host.event(testing::record("lead").create());
/// host.passes(Duration::from_secs(20 * 86_400));
/// assert_eq!(host.state(&key).reminders, 2);
///
/// host.passes(Duration::from_secs(86_400));
/// assert_eq!(host.status(&key), Some(testing::Status::Compensating));
/// // Eight attempts in a row get no better answer: a person has to look at it.
/// host.passes(Duration::from_secs(3600));
/// assert_eq!(host.status(&key), Some(testing::Status::Parked));
/// assert_eq!(host.requests().len(), 8);
/// host.done_by_hand(&key);
/// assert_eq!(host.status(&key), Some(testing::Status::Compensated));
/// ```
pub fn sagas<S: Steps>() -> Sagas<S> {
    Sagas {
        settings: Settings {
            starts: Vec::new(),
            on: Vec::new(),
            again: false,
            keep: Duration::from_secs(30 * 86_400),
            attempts: 8,
            version: "1.0.0".to_owned(),
        },
        fake: Fake {
            is_saga: true,
            ..Fake::default()
        },
        now: START,
        sequence: 0,
        kept: BTreeMap::new(),
        emitted: Vec::new(),
        logs: Vec::new(),
        requests: Vec::new(),
        dead_letters: Vec::new(),
        of: PhantomData,
    }
}

/// A host that runs sagas: [`sagas`] makes one.
///
/// What it does as the real one does: which step is called with what, early events, timeouts,
/// compensations and their order, attempts by the default retry policy without its jitter, and
/// what may be kept. What it does not: the grants of the manifest, the limits of a call, and
/// what is filled into emitted events beside `partitionkey` and `correlationid`. What a step
/// emits comes to no saga by itself: give it to [`event`](Self::event) where it should.
#[derive(Debug)]
pub struct Sagas<S> {
    settings: Settings,
    fake: Fake,
    now: u64,
    sequence: u64,
    kept: BTreeMap<String, Kept>,
    emitted: Vec<Emitted>,
    logs: Vec<Line>,
    requests: Vec<request::Request>,
    dead_letters: Vec<String>,
    of: PhantomData<S>,
}

/// What stands in the manifest.
#[derive(Debug)]
struct Settings {
    starts: Vec<(String, String)>,
    on: Vec<(String, String)>,
    again: bool,
    keep: Duration,
    attempts: u32,
    version: String,
}

impl<S: Steps> Sagas<S> {
    /// As `[[saga.start]]` in the manifest: an event of this type (exact, or a beginning and
    /// `*`) begins a saga. Its key is an attribute (`subject`), or a place in its data
    /// (`data:/order/id`).
    pub fn starts(mut self, event_type: &str, key: &str) -> Self {
        let start = (event_type.to_owned(), key.to_owned());
        self.settings.starts.push(start);
        self
    }

    /// As `[[saga.on]]` in the manifest: an event of this type belongs to the saga with the key
    /// that is there in it.
    pub fn on(mut self, event_type: &str, key: &str) -> Self {
        let on = (event_type.to_owned(), key.to_owned());
        self.settings.on.push(on);
        self
    }

    /// As `again = true` in the manifest.
    pub fn again(mut self) -> Self {
        self.settings.again = true;
        self
    }

    /// As `keep` in the manifest; 30 days when left out.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.settings.keep = keep;
        self
    }

    /// As `max_attempts` under `[retry]` in the manifest; 8 when left out.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.settings.attempts = attempts;
        self
    }

    /// Sets a value of `[config]`.
    pub fn with_config(mut self, key: &str, value: impl ToString) -> Self {
        self.fake.config.insert(key.to_owned(), value.to_string());
        self
    }

    /// Answers the requests of steps and compensations, as those of
    /// [`Host`](super::Host::with_answers).
    pub fn with_answers(
        mut self,
        answers: impl FnMut(&request::Request) -> Answer + 'static,
    ) -> Self {
        self.fake.answers = Some(Answers(Box::new(answers)));
        self
    }

    /// Another build takes over, as with `running = "migrate"`: the sagas that are there go on
    /// with its steps.
    pub fn migrate<T: Steps>(mut self, version: &str) -> Sagas<T> {
        for kept in self.kept.values_mut() {
            if let Some(saga) = &mut kept.saga {
                saga.moves_to(run::build(version), self.now);
            }
        }
        version.clone_into(&mut self.settings.version);
        Sagas {
            settings: self.settings,
            fake: self.fake,
            now: self.now,
            sequence: self.sequence,
            kept: self.kept,
            emitted: self.emitted,
            logs: self.logs,
            requests: self.requests,
            dead_letters: self.dead_letters,
            of: PhantomData,
        }
    }

    /// An event comes, and all that follows from it at once is done. Gives the key of its saga.
    ///
    /// # Panics
    /// When nothing that [`starts`](Self::starts) or [`on`](Self::on) names is of its type, or it
    /// has no key there; and when a step panics.
    pub fn event(&mut self, event: impl Into<Event>) -> String {
        let event = event.into();
        let (key, of) = key::find(&self.settings.starts, &self.settings.on, &event);
        self.arrives(&key, event, of);
        key
    }

    /// Time passes: waits that are over by then end, and failed calls are tried again.
    ///
    /// # Panics
    /// When a step panics.
    pub fn passes(&mut self, time: Duration) {
        self.wait(time);
    }

    /// A person cancels the saga with this key. Of one that does not run nothing comes.
    ///
    /// # Panics
    /// When there is no saga with this key; and when a compensation panics.
    pub fn cancel(&mut self, key: &str, reason: &str) {
        let (by, reason) = (PERSON.to_owned(), reason.to_owned());
        self.person_asks(key, rules::Own::Cancel { by, reason });
    }

    /// A person has the compensation that did not work run again.
    ///
    /// # Panics
    /// As [`cancel`](Self::cancel).
    pub fn retry(&mut self, key: &str) {
        let by = PERSON.to_owned();
        self.person_asks(key, rules::Own::Retry { by, done: false });
    }

    /// A person has done the work of the compensation that did not work: the next one is run.
    ///
    /// # Panics
    /// As [`cancel`](Self::cancel).
    pub fn done_by_hand(&mut self, key: &str) {
        let by = PERSON.to_owned();
        self.person_asks(key, rules::Own::Retry { by, done: true });
    }

    /// How the saga with this key is; `None` when there is none, or it is forgotten.
    pub fn status(&self, key: &str) -> Option<Status> {
        Some(self.saga(key)?.status)
    }

    /// Why it is undone.
    pub fn why(&self, key: &str) -> Option<&str> {
        self.saga(key)?.why.as_deref()
    }

    /// What it keeps.
    ///
    /// # Panics
    /// When there is no such saga, or what it keeps does not fit the type.
    pub fn state(&self, key: &str) -> S {
        let Some(saga) = self.saga(key) else {
            panic!("there is no saga with the key {key:?}");
        };
        if saga.state.is_empty() {
            return S::default();
        }
        serde_json::from_slice(&saga.state)
            .unwrap_or_else(|error| panic!("the state of the saga {key:?}: {error}"))
    }

    /// What has happened to it.
    pub fn timeline(&self, key: &str) -> &[Entry] {
        self.saga(key).map_or(&[], |saga| &saga.timeline)
    }

    /// The steps and compensations that were run, in this order: not those that failed.
    pub fn ran(&self, key: &str) -> Vec<&str> {
        let entries = self.timeline(key).iter();
        let ran = entries.filter(|entry| match entry.what {
            What::Began | What::Step | What::TimedOut | What::Compensated => true,
            What::Waits
            | What::Early
            | What::Passed
            | What::Failed
            | What::Cancelled
            | What::Parked
            | What::Retried
            | What::Moved
            | What::Ended => false,
        });
        ran.map(|entry| entry.step.as_str()).collect()
    }

    /// The compensations that would be run if it failed now, the first to run first.
    pub fn compensations(&self, key: &str) -> Vec<&str> {
        let compensations = self.saga(key).map(|saga| &saga.compensations);
        let compensations = compensations.into_iter().flatten().rev();
        compensations.map(|one| one.step.as_str()).collect()
    }

    /// The types of the events that it waits for.
    pub fn waits_for(&self, key: &str) -> Vec<&str> {
        let waits = self.saga(key).map(|saga| &saga.waits);
        let waits = waits.into_iter().flatten();
        waits.map(|wait| wait.event_type.as_str()).collect()
    }

    /// What was emitted by calls that succeeded, all of it.
    pub fn emitted(&self) -> &[Emitted] {
        &self.emitted
    }

    /// What was emitted since this was last asked.
    pub fn take_emitted(&mut self) -> Vec<Emitted> {
        std::mem::take(&mut self.emitted)
    }

    /// Why events that were to begin a saga are dead letters: the step `begin` has failed.
    pub fn dead_letters(&self) -> &[String] {
        &self.dead_letters
    }

    /// What was logged, by failed calls too.
    pub fn logs(&self) -> &[Line] {
        &self.logs
    }

    /// The requests that were sent, by failed calls too.
    pub fn requests(&self) -> &[request::Request] {
        &self.requests
    }

    /// The clock, in Unix milliseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    fn person_asks(&mut self, key: &str, own: rules::Own) {
        assert!(
            self.saga(key).is_some(),
            "there is no saga with the key {key:?}"
        );
        self.asks(key, own);
    }

    fn saga(&self, key: &str) -> Option<&rules::Saga> {
        self.kept.get(key)?.saga.as_ref()
    }
}
