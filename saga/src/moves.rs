//! The rules by which a saga moves.

use crate::record::{
    Asked, Early, Limit, MAX_COMPENSATION_BYTES, MAX_COMPENSATIONS, MAX_EARLY, MAX_EARLY_BYTES,
    MAX_STATE, MAX_WAITS, Saga, Status, Timer, Wait, What,
};
use crate::trigger::{
    Action, Advance, Due, Given, Happened, Next, Nothing, Own, Trigger, Waiting, matches,
};

/// The step that begins a saga.
const BEGIN: &str = "begin";

impl Saga {
    /// What is to be called. `keep` is how long a saga that has ended is remembered, in
    /// milliseconds.
    ///
    /// Where nothing is called the saga may have changed: [`Nothing`] says so.
    pub fn due(&mut self, trigger: &Trigger, keep: u64, now: u64) -> Due {
        match trigger {
            Trigger::Begin(happened) if self.number == 0 && self.timeline.is_empty() => {
                let sequence = Some(happened.sequence);
                self.note(now, What::Began, BEGIN, &*happened.event_type, sequence);
                Due::Step {
                    name: BEGIN.to_owned(),
                    event: Given::This,
                }
            }
            Trigger::Begin(happened) => {
                // It has begun already. Of a record's edits most are of no interest: kept they would
                // take the room of answers, and noted each would write the record anew.
                let of_type = |wait: &Wait| matches(&wait.event_type, &happened.event_type);
                match self.status == Status::Running && self.waits.iter().any(of_type) {
                    true => self.happened(happened, now),
                    false => Due::Nothing(Nothing::Stale, Vec::new()),
                }
            }
            Trigger::Event(happened) => self.happened(happened, now),
            Trigger::Own { own, sequence } => self.own(own, *sequence, keep, now),
        }
    }

    fn happened(&mut self, happened: &Happened, now: u64) -> Due {
        let Happened {
            event_type,
            sequence,
            size,
        } = happened;
        if self.status != Status::Running {
            let text = format!("{event_type}: the saga is {}", self.status.as_str());
            self.note(now, What::Passed, "", text, Some(*sequence));
            return Due::Nothing(Nothing::Changed, Vec::new());
        }
        // What it has asked of itself comes first: the event waits for that to be done.
        let waited = self
            .waits
            .iter()
            .find(|wait| matches(&wait.event_type, event_type));
        if let Some(wait) = waited
            && self.asked.is_none()
        {
            let step = wait.step.clone();
            self.note(now, What::Step, &step, &**event_type, Some(*sequence));
            return Due::Step {
                name: step,
                event: Given::This,
            };
        }
        let bytes: usize = self.early.iter().map(|early| early.event.len()).sum();
        if MAX_EARLY <= self.early.len() || MAX_EARLY_BYTES < bytes + size {
            let text = format!(
                "{event_type}: nobody waits for it, and {} others are kept already",
                self.early.len()
            );
            self.note(now, What::Passed, "", text, Some(*sequence));
            return Due::Nothing(Nothing::Changed, Vec::new());
        }
        self.note(now, What::Early, "", &**event_type, Some(*sequence));
        Due::Nothing(Nothing::Keep, Vec::new())
    }

    /// Keeps an event that came before it was waited for.
    pub fn keep(&mut self, early: Early) {
        self.early.push(early);
    }

    /// What [`Saga::keep`] was given last has no room after all: it is passed over.
    pub fn keep_not(&mut self) {
        self.early.pop();
        if let Some(last) = self.timeline.last_mut() {
            last.what = What::Passed;
            last.text.push_str(": the saga keeps too much for it");
        }
    }

    fn own(&mut self, own: &Own, sequence: u64, keep: u64, now: u64) -> Due {
        let stale = Due::Nothing(Nothing::Stale, Vec::new());
        match own {
            Own::Next { run, number } => {
                if (*run, *number) != (self.run, self.number) {
                    return stale;
                }
                match self.asked.clone() {
                    None => stale,
                    Some(Asked::Step(name)) => {
                        self.note(now, What::Step, &name, "", Some(sequence));
                        Due::Step {
                            name,
                            event: Given::None,
                        }
                    }
                    Some(Asked::Early(name, early)) => {
                        let text = early.event_type.clone();
                        self.note(now, What::Step, &name, text, Some(early.sequence));
                        Due::Step {
                            name,
                            event: Given::Early(early),
                        }
                    }
                    Some(Asked::Compensation) => match self.compensations.last() {
                        Some(last) => Due::Compensation(last.clone()),
                        None => stale,
                    },
                }
            }
            Own::Timeout { run, number } => match &self.timer {
                Some(timer) if (*run, *number) == (self.run, timer.number) => {
                    let name = timer.step.clone();
                    self.note(now, What::TimedOut, &name, "", Some(sequence));
                    Due::Step {
                        name,
                        event: Given::None,
                    }
                }
                Some(_) | None => stale,
            },
            Own::Forget { run } => {
                if *run == self.run && self.status.is_ended() {
                    return Due::Nothing(Nothing::Forget, Vec::new());
                }
                stale
            }
            Own::Cancel { by, reason } => {
                if self.status != Status::Running {
                    return stale;
                }
                let text = format!("by {by}: {reason}");
                self.note(now, What::Cancelled, "", &*text, Some(sequence));
                let actions = self.undo(format!("cancelled {text}"), keep, now);
                Due::Nothing(Nothing::Changed, actions)
            }
            Own::Retry { by, done } => {
                if self.status != Status::Parked {
                    return stale;
                }
                self.status = Status::Compensating;
                let step = self.compensations.last().map(|last| last.step.clone());
                let text = if *done {
                    self.compensations.pop();
                    format!("done by hand, says {by}")
                } else {
                    format!("by {by}")
                };
                let step = step.unwrap_or_default();
                self.note(now, What::Retried, &step, text, Some(sequence));
                let actions = self.compensate(keep, now);
                Due::Nothing(Nothing::Changed, actions)
            }
        }
    }

    /// A step was run with what was `given` to it. Gives what has to leave; none where the event
    /// was not meant, and the saga is to be as it was before it came.
    ///
    /// # Errors
    /// When it would keep more than it may, or ignores what it was not given.
    pub fn advanced(
        &mut self,
        given: &Given,
        advance: Advance,
        (keep, now): (u64, u64),
    ) -> Result<Option<Vec<Action>>, Limit> {
        let Advance {
            state,
            compensations,
            next,
        } = advance;
        if next == Next::Ignore {
            return self.ignored(given, now);
        }
        if MAX_STATE < state.len() {
            let size = state.len();
            return Err(Limit(format!(
                "the saga keeps {size} bytes; {MAX_STATE} are allowed"
            )));
        }
        self.state = state;
        self.compensations.extend(compensations);
        let (count, bytes) = (self.compensations.len(), self.compensations.iter());
        let bytes: usize = bytes.map(|one| one.data.len()).sum();
        if MAX_COMPENSATIONS < count || MAX_COMPENSATION_BYTES < bytes {
            return Err(Limit(format!(
                "the saga has {count} compensations with {bytes} bytes of data; \
                 {MAX_COMPENSATIONS} and {MAX_COMPENSATION_BYTES} are allowed"
            )));
        }
        let mut actions = self.stop_waiting();
        self.asked = None;
        match next {
            Next::Step(step) => actions.push(self.ask(Asked::Step(step))),
            Next::Wait(waiting) => actions.extend(self.wait(waiting, now)?),
            Next::Done => {
                self.status = Status::Done;
                self.note(now, What::Ended, "", "done", None);
                actions.push(self.end(keep, now));
            }
            Next::Fail(why) => {
                self.note(now, What::Failed, "", &*why, None);
                actions.extend(self.undo(why, keep, now));
            }
            Next::Ignore => {}
        }
        Ok(Some(actions))
    }

    fn ignored(&mut self, given: &Given, now: u64) -> Result<Option<Vec<Action>>, Limit> {
        match given {
            Given::This => Ok(None),
            // It waits on, and another one may be here.
            Given::Early(early) => {
                let text = format!("{}: ignored", early.event_type);
                self.note(now, What::Passed, "", text, Some(early.sequence));
                self.asked = None;
                Ok(Some(self.take_early().into_iter().collect()))
            }
            Given::None => Err(Limit(
                "the step was not given an event that it could ignore".to_owned(),
            )),
        }
    }

    /// A compensation was run.
    pub fn compensated(&mut self, state: Vec<u8>, keep: u64, now: u64) -> Vec<Action> {
        if state.len() <= MAX_STATE {
            self.state = state;
        }
        let done = self.compensations.pop();
        let step = done.map(|done| done.step).unwrap_or_default();
        self.note(now, What::Compensated, &step, "", None);
        self.compensate(keep, now)
    }

    /// What was called does not work, and will not be called again: a saga whose step it was is
    /// undone, one whose compensation it was waits for a person.
    pub fn gave_up(&mut self, error: &str, keep: u64, now: u64) -> Vec<Action> {
        match self.status {
            Status::Running => {
                self.note(now, What::Failed, "", error, None);
                self.undo(error.to_owned(), keep, now)
            }
            Status::Compensating => {
                self.status = Status::Parked;
                self.asked = None;
                let step = self.compensations.last().map(|last| last.step.clone());
                self.note(now, What::Parked, &step.unwrap_or_default(), error, None);
                Vec::new()
            }
            Status::Parked | Status::Done | Status::Compensated => Vec::new(),
        }
    }

    fn undo(&mut self, why: String, keep: u64, now: u64) -> Vec<Action> {
        self.status = Status::Compensating;
        self.why = Some(why);
        self.asked = None;
        self.early.clear();
        let mut actions = self.stop_waiting();
        actions.extend(self.compensate(keep, now));
        actions
    }

    fn compensate(&mut self, keep: u64, now: u64) -> Vec<Action> {
        if self.compensations.is_empty() {
            self.status = Status::Compensated;
            self.asked = None;
            self.note(now, What::Ended, "", "compensated", None);
            return vec![self.end(keep, now)];
        }
        vec![self.ask(Asked::Compensation)]
    }

    fn end(&mut self, keep: u64, now: u64) -> Action {
        self.early.clear();
        Action::Schedule(now.saturating_add(keep), Own::Forget { run: self.run })
    }

    fn ask(&mut self, asked: Asked) -> Action {
        self.number += 1;
        self.asked = Some(asked);
        Action::Send(Own::Next {
            run: self.run,
            number: self.number,
        })
    }

    fn stop_waiting(&mut self) -> Vec<Action> {
        self.waits.clear();
        match self.timer.take() {
            Some(_) => vec![Action::Unschedule],
            None => Vec::new(),
        }
    }

    fn wait(&mut self, waiting: Waiting, now: u64) -> Result<Vec<Action>, Limit> {
        let Waiting { events, timeout } = waiting;
        if MAX_WAITS < events.len() {
            let count = events.len();
            return Err(Limit(format!(
                "the saga waits for {count} events at a time; {MAX_WAITS} are allowed"
            )));
        }
        if events.is_empty() && timeout.is_none() {
            return Err(Limit(
                "the saga waits for nothing, and would do so for ever; name an event or a time"
                    .to_owned(),
            ));
        }
        let mut text: Vec<String> = events.iter().map(|wait| wait.event_type.clone()).collect();
        let mut actions = Vec::new();
        self.waits = events;
        if let Some(timeout) = timeout {
            text.push(format!("{} s", timeout.after.div_ceil(1_000)));
            self.number += 1;
            let due = now.saturating_add(timeout.after);
            self.timer = Some(Timer {
                number: self.number,
                due,
                step: timeout.step,
            });
            let own = Own::Timeout {
                run: self.run,
                number: self.number,
            };
            actions.push(Action::Schedule(due, own));
        }
        self.note(now, What::Waits, "", text.join(", "), None);
        actions.extend(self.take_early());
        Ok(actions)
    }

    /// Of the events that came before they were waited for, the first that is waited for now.
    fn take_early(&mut self) -> Option<Action> {
        let (index, step) = self.early.iter().enumerate().find_map(|(index, early)| {
            let is_it = |wait: &&Wait| matches(&wait.event_type, &early.event_type);
            Some((index, self.waits.iter().find(is_it)?.step.clone()))
        })?;
        let early = Box::new(self.early.remove(index));
        Some(self.ask(Asked::Early(step, early)))
    }
}
