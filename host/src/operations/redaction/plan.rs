//! Takes what events are like, gives where the broker keeps them: in the store, sent again, as dead
//! letters, in the ledger, and their bodies in the object store.

use std::collections::{BTreeSet, HashMap, HashSet};

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;

use super::Error;
use super::seen::{Seen, see};
use crate::broker::{LEDGER, open};
use crate::claim_check;
use crate::clock;
use crate::ledger::inbox::InboxId;
use crate::manifest::subject_matches;
use crate::operations::history::search::at_time;
use crate::operations::history::{self, Query};
use crate::operations::letters;
use crate::route::REPLAY_PREFIX;

/// What is to be erased.
#[derive(Debug, Default)]
pub struct Plan {
    /// Events of the store, those that were sent again among them, in its order.
    pub events: Vec<Seen>,
    /// Envelopes of such events, by where the events stood.
    pub envelopes: HashMap<u64, Envelope>,
    /// Dead letters, the oldest first.
    pub letters: Vec<Seen>,
    /// Places in the ledger of dead letters that are, or were, in their stream too.
    pub copies: Vec<u64>,
    /// Objects with bodies of any of them.
    pub bodies: BTreeSet<String>,
}

/// What is left of an event.
#[derive(Debug)]
pub struct Envelope {
    /// Where it stands.
    place: u64,
    /// Whose it is.
    identity: Option<InboxId>,
}

impl Plan {
    /// How many events are so, and were redacted before.
    pub fn redacted_before(&self) -> usize {
        let is_left = |seen: &&Seen| self.envelope_of(seen).is_some();
        self.envelopes.len() - self.events.iter().filter(is_left).count()
    }

    /// Where the envelope of an event stands that is still there itself. One that was imported
    /// speaks of another store, and of whatever stood there in that place.
    pub(super) fn envelope_of(&self, seen: &Seen) -> Option<u64> {
        let envelope = self.envelopes.get(&seen.sequence)?;
        (envelope.identity == seen.identity).then_some(envelope.place)
    }

    /// Whether nothing is left to be erased.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.letters.is_empty()
            && self.copies.is_empty()
            && self.bodies.is_empty()
    }
}

/// Looks for all that is so, and for copies of it.
///
/// # Errors
/// When a stream cannot be read.
pub async fn plan(context: &Context, query: &Query) -> Result<Plan, Error> {
    let mut looking = Looking {
        query,
        plan: Plan::default(),
        identities: HashSet::new(),
        places: HashSet::new(),
    };
    let events = history::stream(context).await?;
    looking.in_the_store(&events).await?;
    looking.as_letters(&letters::stream(context).await?).await?;
    let ledger = open(context, LEDGER).await?;
    looking.in_the_ledger(&ledger).await?;
    let mut plan = looking.plan;
    plan.events.sort_by_key(|seen| seen.sequence);
    plan.letters.sort_by_key(|seen| seen.sequence);
    let bodies = std::mem::take(&mut plan.bodies);
    for body in bodies {
        if claim_check::is_there(context, &body).await? {
            plan.bodies.insert(body);
        }
    }
    Ok(plan)
}

struct Looking<'a> {
    query: &'a Query,
    plan: Plan,
    /// The events that are meant,
    identities: HashSet<InboxId>,
    /// and where they stand or stood.
    places: HashSet<u64>,
}

impl Looking<'_> {
    /// Events, and the envelopes of those that were redacted before, which stand behind them;
    /// then what was sent again of them.
    async fn in_the_store(&mut self, events: &Stream) -> Result<(), Error> {
        let from = match self.query.since {
            Some(since) => at_time(events, since).await?,
            None => Some(1),
        };
        if let Some(from) = from {
            see(events, self.query.subjects(), from, |seen| {
                let is_replay = seen.row.subject.starts_with(REPLAY_PREFIX);
                if !is_replay && self.query.meets(&seen.row) && self.is_in_time(&seen) {
                    self.stands(seen);
                }
            })
            .await?;
        }
        let replays = vec![format!("{REPLAY_PREFIX}>")];
        see(events, replays, 1, |seen| {
            if !seen.is_word && self.is_copy(&seen) {
                self.stands(seen);
            }
        })
        .await?;
        Ok(())
    }

    fn stands(&mut self, seen: Seen) {
        self.identities.extend(seen.identity);
        self.plan.bodies.extend(seen.body.clone());
        match &seen.row.redacted {
            Some(mark) => {
                self.places.insert(mark.sequence);
                let (place, identity) = (seen.sequence, seen.identity);
                let envelope = Envelope { place, identity };
                self.plan.envelopes.insert(mark.sequence, envelope);
            }
            None => {
                self.places.insert(seen.sequence);
                self.plan.events.push(seen);
            }
        }
    }

    async fn as_letters(&mut self, dead_letters: &Stream) -> Result<(), Error> {
        see(dead_letters, vec!["dead.>".to_owned()], 1, |seen| {
            if self.is_copy(&seen) {
                self.plan.bodies.extend(seen.body.clone());
                self.plan.letters.push(seen);
            }
        })
        .await?;
        Ok(())
    }

    async fn in_the_ledger(&mut self, ledger: &Stream) -> Result<(), Error> {
        see(ledger, vec!["ledger.dead.>".to_owned()], 1, |seen| {
            if self.is_copy(&seen) {
                self.plan.bodies.extend(seen.body.clone());
                self.plan.copies.push(seen.sequence);
            }
        })
        .await?;
        Ok(())
    }

    /// Whether it is one of the events that are meant, or, where no time is asked for, is as they
    /// are: its event may have left the store.
    fn is_copy(&self, seen: &Seen) -> bool {
        if let Some(identity) = &seen.identity
            && self.identities.contains(identity)
        {
            return true;
        }
        let is_no_event = seen.identity.is_none();
        if is_no_event && seen.of.is_some_and(|of| self.places.contains(&of)) {
            return true;
        }
        let subject = &self.query.subject;
        let is_on = |found: &str| subject.is_empty() || subject_matches(subject, found);
        self.query.since.is_none()
            && self.query.until.is_none()
            && (is_on(&seen.first_subject) || is_on(&seen.row.subject))
            && self.query.meets(&seen.row)
    }

    fn is_in_time(&self, seen: &Seen) -> bool {
        let Some(stored) = clock::parse_rfc3339(&seen.row.stored) else {
            return true;
        };
        self.query.since.is_none_or(|since| since <= stored)
            && self.query.until.is_none_or(|until| stored <= until)
    }
}
