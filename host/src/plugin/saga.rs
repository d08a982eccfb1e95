//! Takes an event of a saga and the saga as it stands, gives the saga as it goes on: one step of it,
//! and what has to leave with that.
//!
//! The rules are those of the crate `sluicegate-saga`. Here they meet the world: the record is a
//! state value of the plug-in under the saga's key, what a saga asks of itself is an event on
//! `d365.saga.<plugin>.<slot>`, and what is to come later is a message that the broker holds until
//! then.

mod own;

use std::sync::Arc;

use bytes::Bytes;
use sluicegate_saga::{
    Action, Build, Due, Early, Given, Happened, Next, Nothing, Saga, Start, Status, Trigger,
};
use tokio::time::Instant;

use super::call::{Failure, Returned};
use super::emit::hops;
use super::generation::Generation;
use super::instance::{Call, Instance};
use super::state_version::in_ledger;
use super::steps::{Answer, Asked, With};
use super::store::{MAX_VALUE, Staged, Timer};
use crate::clock;
use crate::decode;
use crate::encode;
use crate::event::Event;
use crate::ledger::state::StateCache;
use crate::manifest::saga::{Belongs, Running, Saga as Words};

pub use own::{OWN_TYPE, ask, read as read_own};

/// Bytes of a record: what one message carries, with room for how the saga ends.
const MAX_RECORD: usize = MAX_VALUE - (32 << 10);

/// A saga under way in a call.
struct Moving<'a> {
    generation: &'a Generation,
    call: &'a Call,
    words: &'a Words,
    /// As it is becoming.
    saga: Saga,
    /// How it was before; none when it is a new one.
    was: Option<Status>,
    /// Where it stands in the ledger, and which version of that was read.
    place: (String, u64),
    now: u64,
}

impl Generation {
    /// One event of a saga.
    pub(super) fn move_saga(&self, call: &Call, state: &Arc<StateCache>) -> Returned {
        let started = Instant::now();
        let ended = |result| Returned {
            result,
            staged: Staged::default(),
            memory: 0,
            duration: started.elapsed(),
        };
        let Some(words) = &self.manifest().saga else {
            return ended(Ok(()));
        };
        // History that is only looked at again moves no saga: it would wait for what never comes.
        if !call.with_effects {
            return ended(Ok(()));
        }
        match self.moving(call, words, state) {
            Ok(None) => ended(Ok(())),
            Err(failure) => ended(Err(failure)),
            Ok(Some((moving, trigger))) => {
                let mut returned = moving.go(&trigger, state);
                returned.duration = started.elapsed();
                returned
            }
        }
    }

    /// The saga that an event is for, and what that means for it.
    fn moving<'a>(
        &'a self,
        call: &'a Call,
        words: &'a Words,
        state: &StateCache,
    ) -> Result<Option<(Moving<'a>, Trigger)>, Failure> {
        let event = &call.event;
        let manifest = self.manifest();
        let (now, place) = (
            clock::unix_millis(),
            in_ledger(manifest.state_version, call.key.clone()),
        );
        let read = state.get(&place, manifest.delivery.timeout);
        let (value, version) = read.map_err(|error| Failure::Host(error.to_string()))?;
        let saga: Option<Saga> = match value {
            None => None,
            Some(value) => Some(serde_json::from_slice(&value).map_err(|error| {
                Failure::Reject(format!("the saga {} cannot be read: {error}", call.key))
            })?),
        };
        let was = saga.as_ref().map(|saga| saga.status);
        let happened = || Happened {
            event_type: event.event_type.clone(),
            sequence: call.sequence,
            size: event.data.as_ref().map_or(0, Bytes::len),
        };
        let own = read_own(event).map_err(Failure::Reject)?;
        let begins = |run| Saga::new(self.begun_by(event, run), now);
        let (mut saga, trigger) = match (own, words.belongs(event), saga) {
            (Some(own), _, Some(saga)) => {
                let sequence = call.sequence;
                (saga, Trigger::Own { own, sequence })
            }
            (None, Belongs::Begins(_), None) => (begins(1), Trigger::Begin(happened())),
            (None, Belongs::Begins(_), Some(saga)) if words.again && saga.status.is_ended() => {
                (begins(saga.run + 1), Trigger::Begin(happened()))
            }
            (None, Belongs::Begins(_), Some(saga)) if !words.goes(event) => {
                (saga, Trigger::Begin(happened()))
            }
            (None, Belongs::Begins(_) | Belongs::Goes(_), Some(saga)) => {
                (saga, Trigger::Event(happened()))
            }
            (None, Belongs::Keyless(place), _) => {
                return Err(Failure::Reject(format!(
                    "the event is to begin a saga, and there is no key of one in {place}: 1 to \
                     512 bytes of text, or a number, without control characters"
                )));
            }
            (Some(_), _, None) | (None, Belongs::Goes(_), None) | (None, Belongs::No, _) => {
                return Ok(None);
            }
        };
        let build = self.build();
        if saga.build.digest != build.digest && !saga.status.is_ended() {
            match words.running {
                Running::Finish => return Err(Failure::Build(saga.build)),
                Running::Migrate => saga.moves_to(build, now),
            }
        }
        let moving = Moving {
            generation: self,
            call,
            words,
            was: was.filter(|_| saga.number != 0 || !saga.timeline.is_empty()),
            saga,
            place: (place, version),
            now,
        };
        Ok(Some((moving, trigger)))
    }

    fn build(&self) -> Build {
        Build {
            version: self.manifest().version.clone(),
            digest: self.digest().to_owned(),
        }
    }

    fn begun_by(&self, event: &Event, run: u32) -> Start {
        let correlation = event.text("correlationid");
        Start {
            run,
            build: self.build(),
            correlation: correlation.map_or_else(|| event.id.clone(), Into::into),
            hops: hops(event),
        }
    }
}

impl Moving<'_> {
    /// Calls what is due, and gives what follows.
    fn go(mut self, trigger: &Trigger, state: &Arc<StateCache>) -> Returned {
        let keep = u64::try_from(self.words.keep.as_millis()).unwrap_or(u64::MAX);
        let now = self.now;
        if let Some(error) = &self.call.given_up {
            // None has begun: then it is a dead letter like any other.
            if self.was.is_none() {
                return Returned::of(Err(Failure::Reject(error.clone())));
            }
            let actions = self.saga.gave_up(error, keep, now);
            return self.changed(Returned::of(Ok(())), actions);
        }
        let (name, given, data) = match self.saga.due(trigger, keep, now) {
            Due::Nothing(Nothing::Stale, _) => return Returned::of(Ok(())),
            Due::Nothing(Nothing::Changed, actions) => {
                return self.changed(Returned::of(Ok(())), actions);
            }
            Due::Nothing(Nothing::Keep, actions) => {
                self.saga.keep(early(self.call));
                if serde_json::to_vec(&self.saga).is_ok_and(|record| MAX_RECORD < record.len()) {
                    self.saga.keep_not();
                }
                return self.changed(Returned::of(Ok(())), actions);
            }
            Due::Nothing(Nothing::Forget, _) => return self.forgotten(),
            Due::Step { name, event } => (name, event, None),
            Due::Compensation(compensation) => {
                (compensation.step, Given::None, Some(compensation.data))
            }
        };
        let early = match &given {
            Given::Early(early) => match decode::structured(&early.event.clone().into()) {
                Ok(event) => Some(event),
                Err(error) => {
                    return Returned::of(Err(Failure::Reject(format!(
                        "an event that came early cannot be read any more: {error}"
                    ))));
                }
            },
            Given::This | Given::None => None,
        };
        let with = match (&data, &given) {
            (Some(data), _) => With::Data(data),
            (None, Given::This) => With::Event(Some(&self.call.event)),
            (None, Given::Early(_) | Given::None) => With::Event(early.as_ref()),
        };
        let asked = Asked {
            name: &name,
            key: &self.call.key,
            saga: &self.saga,
            with,
        };
        let call = Call {
            hops: Some(self.saga.hops),
            ..self.call.clone()
        };
        let run = |instance: &mut Instance, timeout| instance.step(&call, &asked, timeout);
        let (mut returned, answer) = self.generation.enter(&call, state, run);
        if let Some(Answer::Step(advance)) = &answer
            && advance.next == Next::Ignore
        {
            // As if the event had not come: nothing of what the step did is kept.
            returned.staged = Staged {
                said: std::mem::take(&mut returned.staged.said),
                ..Staged::default()
            };
        }
        let actions = match answer {
            None => return returned,
            Some(Answer::Compensation(state)) => self.saga.compensated(state, keep, now),
            Some(Answer::Step(advance)) => match self.saga.advanced(&given, advance, (keep, now)) {
                Ok(Some(actions)) => actions,
                Ok(None) => return returned,
                Err(limit) => {
                    returned.result = Err(Failure::Limit(limit.0));
                    return returned;
                }
            },
        };
        self.changed(returned, actions)
    }

    /// The record as it is now, and what leaves with it.
    fn changed(self, mut returned: Returned, actions: Vec<Action>) -> Returned {
        let record = match serde_json::to_vec(&self.saga) {
            Ok(record) => Bytes::from(record),
            Err(error) => {
                let error = format!("the saga cannot be written: {error}");
                return Returned::of(Err(Failure::Limit(error)));
            }
        };
        // One that is told so has no step any more, and room for the words.
        let allowed = match self.call.given_up {
            None => MAX_RECORD,
            Some(_) => MAX_VALUE,
        };
        if allowed < record.len() {
            let size = record.len();
            returned.result = Err(Failure::Limit(format!(
                "the saga's record would have {size} bytes; {allowed} are allowed: keep less"
            )));
            return returned;
        }
        let plugin = &self.generation.manifest().name;
        let staged = &mut returned.staged;
        for action in actions {
            match action {
                Action::Send(own) => staged
                    .emitted
                    .push(own::event(plugin, self.call, &self.saga, &own)),
                Action::Schedule(due, own) => {
                    let event = own::event(plugin, self.call, &self.saga, &own);
                    staged.timers.push(Timer {
                        key: self.call.key.clone(),
                        comes: Some((due, event)),
                    });
                }
                Action::Unschedule => staged.timers.push(Timer {
                    key: self.call.key.clone(),
                    comes: None,
                }),
            }
        }
        let is = self.saga.status;
        if self.was.is_none() {
            staged.became.push("began");
        }
        let is_told = is.is_ended() || is == Status::Parked;
        if is_told && self.was != Some(is) {
            staged.became.push(is.as_str());
        }
        self.written(returned, Some(record))
    }

    fn forgotten(self) -> Returned {
        self.written(Returned::of(Ok(())), None)
    }

    fn written(self, mut returned: Returned, record: Option<Bytes>) -> Returned {
        let (key, version) = self.place;
        returned.staged.reads.insert(key.clone(), version);
        returned.staged.writes.insert(key, record);
        returned
    }
}

impl Returned {
    /// Of a call that needed no guest.
    fn of(result: Result<(), Failure>) -> Self {
        Self {
            result,
            staged: Staged::default(),
            memory: 0,
            duration: std::time::Duration::ZERO,
        }
    }
}

fn early(call: &Call) -> Early {
    Early {
        event_type: call.event.event_type.clone(),
        sequence: call.sequence,
        event: encode::structured(&call.event),
    }
}
