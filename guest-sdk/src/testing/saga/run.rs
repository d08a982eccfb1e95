//! Takes what happens to a saga, gives it to the rules and calls what they say.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sluicegate_saga::{
    Action, Advance, Build, Compensation, Due, Early, Given, Happened, Next, Nothing, Own, Saga,
    Start, Timeout, Trigger, Wait, Waiting,
};

use super::Sagas;
use super::key::As;
use crate::host;
use crate::saga::{About, Kind, Steps, advance, compensate};
use crate::testing::Emitted;
use crate::testing::events;
use crate::{Delivery, Event, Failure};

/// The first delay of the default retry policy, and its longest.
const INITIAL: u64 = 1_000;
const LONGEST: u64 = 300_000;
/// Steps at one moment, before a test is told that its saga has no end.
const MOST_AT_ONCE: u32 = 10_000;

/// A saga, and what is on its way to it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) saga: Option<Saga>,
    /// Sagas that there were with this key.
    runs: u32,
    /// The version that it began with.
    version: String,
    coming: VecDeque<Coming>,
    /// When the first that is coming is tried again.
    again: Option<u64>,
    attempt: u32,
    timer: Option<(u64, Own)>,
    /// Events that came early.
    early: BTreeMap<u64, Event>,
}

#[derive(Debug, Clone)]
struct Coming {
    trigger: Trigger,
    event: Option<Event>,
    /// It begins a saga, and belongs to one that has begun too.
    is_both: bool,
    sequence: u64,
}

/// How what is coming was taken.
enum Taken {
    Done,
    /// It is to be tried again, after so many milliseconds.
    Later(u64),
}

pub(super) fn build(version: &str) -> Build {
    Build {
        version: version.to_owned(),
        digest: String::new(),
    }
}

impl<S: Steps> Sagas<S> {
    pub(super) fn arrives(&mut self, key: &str, event: Event, of: As) {
        let happened = Happened {
            event_type: event.event_type().to_owned(),
            sequence: self.sequence + 1,
            size: event.data().len(),
        };
        let trigger = match of {
            As::Start | As::Both => Trigger::Begin(happened),
            As::On => Trigger::Event(happened),
        };
        self.comes(key, trigger, Some((event, of)));
    }

    pub(super) fn asks(&mut self, key: &str, own: Own) {
        let sequence = self.sequence + 1;
        self.comes(key, Trigger::Own { own, sequence }, None);
    }

    pub(super) fn wait(&mut self, time: Duration) {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let until = self.now.saturating_add(time);
        while let Some((at, key)) = self.next_due(until) {
            self.now = self.now.max(at);
            let kept = self.kept.entry(key.clone()).or_default();
            if kept.again == Some(at) {
                kept.again = None;
                self.settle(&key);
            } else if let Some((_, own)) = kept.timer.take() {
                self.asks(&key, own);
            }
        }
        self.now = until;
    }

    /// What is due first, until then.
    fn next_due(&self, until: u64) -> Option<(u64, String)> {
        let due = self.kept.iter().flat_map(|(key, kept)| {
            let timer = kept.timer.as_ref().map(|(at, _)| *at);
            let times = kept.again.into_iter().chain(timer);
            times.map(move |at| (at, key))
        });
        let (at, key) = due.min()?;
        (at <= until).then(|| (at, key.clone()))
    }

    fn comes(&mut self, key: &str, trigger: Trigger, event: Option<(Event, As)>) {
        self.sequence += 1;
        let kept = self.kept.entry(key.to_owned()).or_default();
        let is_both = matches!(event, Some((_, As::Both)));
        kept.coming.push_back(Coming {
            trigger,
            event: event.map(|(event, _)| event),
            is_both,
            sequence: self.sequence,
        });
        self.settle(key);
    }

    /// Takes what is coming to a saga, one after the other, until one is to be tried again.
    fn settle(&mut self, key: &str) {
        let mut kept = self.kept.remove(key).unwrap_or_default();
        let mut at_once = 0;
        while kept.again.is_none()
            && let Some(coming) = kept.coming.front().cloned()
        {
            at_once += 1;
            assert!(
                at_once <= MOST_AT_ONCE,
                "the saga {key:?} goes from step to step and waits for nothing"
            );
            kept.attempt += 1;
            match self.take(key, &mut kept, &coming) {
                Taken::Done => {
                    kept.attempt = 0;
                    kept.coming.pop_front();
                }
                Taken::Later(after) => kept.again = Some(self.now.saturating_add(after)),
            }
        }
        self.kept.insert(key.to_owned(), kept);
    }

    fn take(&mut self, key: &str, kept: &mut Kept, coming: &Coming) -> Taken {
        let Some((mut saga, trigger)) = self.saga_for(kept, coming) else {
            return Taken::Done;
        };
        let (keep, now) = (self.keep_for(), self.now);
        let was = saga.clone();
        let is_new = matches!(trigger, Trigger::Begin(_));
        let actions = match saga.due(&trigger, keep, now) {
            Due::Nothing(Nothing::Stale, _) => return Taken::Done,
            Due::Nothing(Nothing::Forget, _) => {
                kept.saga = None;
                return Taken::Done;
            }
            Due::Nothing(Nothing::Keep, actions) => {
                if let Some(event) = &coming.event {
                    saga.keep(Early {
                        event_type: event.event_type().to_owned(),
                        sequence: coming.sequence,
                        event: String::from_utf8_lossy(event.data()).into_owned(),
                    });
                    kept.early.insert(coming.sequence, event.clone());
                }
                actions
            }
            Due::Nothing(Nothing::Changed, actions) => actions,
            Due::Step { name, event: given } => {
                let event = match &given {
                    Given::None => None,
                    Given::This => coming.event.clone(),
                    Given::Early(early) => kept.early.get(&early.sequence).cloned(),
                };
                let about = about(key, kept, &saga);
                let delivery = delivery(key, coming, kept.attempt);
                let call = || advance::<S>(&name, about, event, delivery);
                let (answer, mut emitted) = self.call(call);
                let advanced = match answer.map(of) {
                    Ok(advance) => {
                        if advance.next == Next::Ignore {
                            emitted.clear();
                        }
                        let advanced = saga.advanced(&given, advance, (keep, now));
                        advanced.map_err(|limit| limit.0)
                    }
                    Err(failure) => match self.later(kept, &failure) {
                        Some(after) => return Taken::Later(after),
                        None => Err(failure.message().to_owned()),
                    },
                };
                match advanced {
                    Ok(Some(actions)) => {
                        self.leave(key, &saga, emitted);
                        actions
                    }
                    Ok(None) => return Taken::Done,
                    // None has begun: it is a dead letter like any other.
                    Err(error) if is_new => {
                        self.dead_letters.push(error);
                        return Taken::Done;
                    }
                    Err(error) => {
                        saga = was;
                        saga.gave_up(&error, keep, now)
                    }
                }
            }
            Due::Compensation(Compensation { step, data }) => {
                let about = about(key, kept, &saga);
                let delivery = delivery(key, coming, kept.attempt);
                let (answer, emitted) =
                    self.call(|| compensate::<S>(&step, about, &data, delivery));
                match answer {
                    Ok(state) => {
                        self.leave(key, &saga, emitted);
                        saga.compensated(state, keep, now)
                    }
                    Err(failure) => match self.later(kept, &failure) {
                        Some(after) => return Taken::Later(after),
                        None => saga.gave_up(failure.message(), keep, now),
                    },
                }
            }
        };
        if is_new {
            kept.runs = saga.run;
            kept.version.clone_from(&self.settings.version);
        }
        kept.saga = Some(saga);
        for action in actions {
            match action {
                Action::Send(own) => {
                    self.sequence += 1;
                    let sequence = self.sequence;
                    kept.coming.push_back(Coming {
                        trigger: Trigger::Own { own, sequence },
                        event: None,
                        is_both: false,
                        sequence,
                    });
                }
                Action::Schedule(at, own) => kept.timer = Some((at, own)),
                Action::Unschedule => kept.timer = None,
            }
        }
        Taken::Done
    }

    /// The saga that there is, or a new one where what is coming begins one, and what that is for
    /// it.
    fn saga_for(&self, kept: &Kept, coming: &Coming) -> Option<(Saga, Trigger)> {
        let begins = matches!(coming.trigger, Trigger::Begin(_));
        if let Some(saga) = &kept.saga
            && !(begins && self.settings.again && saga.status.is_ended())
        {
            let trigger = match coming.trigger.clone() {
                Trigger::Begin(happened) if coming.is_both => Trigger::Event(happened),
                other => other,
            };
            return Some((saga.clone(), trigger));
        }
        let event = coming.event.as_ref().filter(|_| begins)?;
        let correlation = event.text("correlationid");
        let start = Start {
            run: kept.runs + 1,
            build: build(&self.settings.version),
            correlation: correlation
                .unwrap_or_else(|| event.id().into())
                .into_owned(),
            hops: 0,
        };
        Some((Saga::new(start, self.now), coming.trigger.clone()))
    }

    fn keep_for(&self) -> u64 {
        u64::try_from(self.settings.keep.as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs a call; what it emitted leaves when it is committed.
    fn call<R>(
        &mut self,
        call: impl FnOnce() -> Result<R, Failure>,
    ) -> (Result<R, Failure>, Vec<Emitted>) {
        let fake = std::mem::take(&mut self.fake);
        let (answer, fake) = host::with(fake, call);
        self.fake = fake;
        let staged = std::mem::take(&mut self.fake.staged);
        self.logs.extend(staged.logs);
        self.requests.extend(staged.requests);
        let emitted = match answer {
            Ok(_) => staged.emitted,
            Err(_) => Vec::new(),
        };
        (answer, emitted)
    }

    fn leave(&mut self, key: &str, saga: &Saga, emitted: Vec<Emitted>) {
        for Emitted { subject, event } in emitted {
            let mut event = event;
            for (name, value) in [("partitionkey", key), ("correlationid", &*saga.correlation)] {
                if event.attribute(name).is_none() {
                    event.extensions.push((name.to_owned(), value.into()));
                }
            }
            self.emitted.push(Emitted { subject, event });
        }
    }

    /// The delay until the next attempt; none when there is none.
    fn later(&self, kept: &Kept, failure: &Failure) -> Option<u64> {
        let Failure::Retry { after, .. } = failure else {
            return None;
        };
        if self.settings.attempts <= kept.attempt {
            return None;
        }
        let own = INITIAL.saturating_mul(1 << (kept.attempt - 1).min(20));
        let asked = after.map_or(0, |after| {
            u64::try_from(after.as_millis()).unwrap_or(u64::MAX)
        });
        Some(own.max(asked).min(LONGEST))
    }
}

fn about(key: &str, kept: &Kept, saga: &Saga) -> About {
    let version = match saga.run == kept.runs {
        true => kept.version.clone(),
        false => saga.build.version.clone(),
    };
    About {
        key: key.to_owned(),
        state: saga.state.clone(),
        began: saga.began,
        version,
        why: saga.why.clone(),
    }
}

fn delivery(key: &str, coming: &Coming, attempt: u32) -> Delivery {
    let of = Event::builder("saga")
        .id(coming.sequence.to_string())
        .partition_key(key)
        .build();
    Delivery {
        attempt,
        ..events::delivery(&of, coming.sequence)
    }
}

/// What a step gave, in the words of the rules.
fn of(advance: crate::saga::Advance) -> Advance {
    let compensations = advance.compensations.into_iter();
    Advance {
        state: advance.state,
        compensations: compensations
            .map(|(step, data)| Compensation {
                step: step.to_owned(),
                data,
            })
            .collect(),
        next: match advance.next.0 {
            Kind::Step(step) => Next::Step(step.to_owned()),
            Kind::Wait { events, timeout } => Next::Wait(Waiting {
                events: events
                    .into_iter()
                    .map(|(event_type, step)| Wait {
                        event_type,
                        step: step.to_owned(),
                    })
                    .collect(),
                timeout: timeout.map(|(after, step)| Timeout {
                    after: crate::saga::milliseconds(after),
                    step: step.to_owned(),
                }),
            }),
            Kind::Done => Next::Done,
            Kind::Fail(why) => Next::Fail(why),
            Kind::Ignore => Next::Ignore,
        },
    }
}
