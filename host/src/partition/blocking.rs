//! Takes a dead letter of a plug-in that has `on_exhausted = "block-key"`, gives a lane that waits until an operator has decided.
//!
//! The event stays at the head of its lane and written down in the ledger, those behind it are
//! written down and their bodies let go of. What the operator decides comes as a message on
//! the plug-in's replay subject that names the place: the dead letter sent again, which is
//! handled in that place, before all that came later; or that it was discarded. The message is
//! finished in the same commit in which the ledger's record of the place changes, so that a
//! crash neither forgets a decision nor takes it twice.

use std::sync::Arc;

use super::Partition;
use crate::clock;
use crate::delivery::Delivery;
use crate::held::{Body, Held, Hold};
use crate::lane::LaneId;
use crate::ledger::dead_letter::{BLOCKS, DISCARD};
use crate::ledger::reason::Reason;
use crate::manifest::OnExhausted;
use crate::plugin::generation::Generation;
use crate::route::REPLAY_PREFIX;

/// What an operator has decided about a dead letter that keeps its key waiting.
pub(super) struct Decision {
    /// The place of its event.
    pub(super) place: u64,
    /// It was thrown away; else this message is what it was.
    pub(super) discards: bool,
}

impl Decision {
    /// What a message says, if it is one of those.
    pub(super) fn read(delivery: &Delivery) -> Option<Self> {
        if !delivery.subject.starts_with(REPLAY_PREFIX) {
            return None;
        }
        let headers = delivery.headers.as_ref()?;
        Some(Self {
            place: headers.get(BLOCKS)?.as_str().parse().ok()?,
            discards: headers.get(DISCARD).is_some(),
        })
    }
}

impl Partition {
    /// A call ended so that no other follows by itself.
    pub(super) fn end_dead(&mut self, by: &Generation, lane: LaneId, reason: Reason, error: &str) {
        if self.tells_saga(lane, reason, error) {
            return;
        }
        if self.blocks_keys() && reason.blocks() {
            self.block(by, lane, reason, error);
        } else {
            self.finish_dead(by, lane, reason, error);
        }
    }

    /// A saga hears that no attempt is left: it is undone, and its event is no dead letter.
    fn tells_saga(&mut self, lane: LaneId, reason: Reason, error: &str) -> bool {
        if self.manifest().saga.is_none() {
            return false;
        }
        let Some(held) = self.lanes.head(lane) else {
            return false;
        };
        if held.given_up.is_some() {
            return false;
        }
        held.given_up = Some(format!("{}: {error}", reason.as_str()));
        self.in_flight = self.in_flight.saturating_sub(1);
        self.lanes.park(lane, clock::unix_millis());
        true
    }

    fn blocks_keys(&self) -> bool {
        self.manifest().retry.on_exhausted == OnExhausted::BlockKey
    }

    fn block(&mut self, by: &Generation, lane: LaneId, reason: Reason, error: &str) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(held) = self.lanes.head(lane) else {
            return;
        };
        held.hold = Hold::Blocked;
        tracing::error!(
            plugin = %self.parts.generation.manifest().name, key = held.key,
            "the key waits until its dead letter is replayed or discarded"
        );
        self.parts.metrics.handled_after(held.age());
        let letter = self.parts.dead_letter(by, held, reason, error);
        let (id, place) = (held.inbox_id(), held.sequence);
        self.ledger.block(letter, id, place, &held.retry(0));
        held.written_down = true;
        for held in self.lanes.queue(lane) {
            if let Some(body) = held.body.take() {
                self.bodies.let_go(&body);
            }
            if !held.written_down {
                self.ledger.write_down(held.sequence, &held.retry(0));
                held.written_down = true;
            }
        }
        self.lanes.block(lane);
        self.blocked.insert(place, lane);
    }

    /// A dead letter that an earlier owner wrote down. Where the plug-in does not block keys
    /// any more, its key goes on.
    pub(super) fn resume_blocked(&mut self, lane: LaneId, held: Held) {
        if self.blocks_keys() {
            self.blocked.insert(held.sequence, lane);
            self.lanes.push_blocked(lane, held);
        } else {
            let plugin = &self.manifest().name;
            tracing::info!(
                plugin,
                key = held.key,
                "on_exhausted has changed: the key goes on"
            );
            self.ledger.decide(None, held.sequence, None);
        }
    }

    /// The operator has decided about the dead letter that keeps this lane waiting.
    pub(super) fn decided(&mut self, decision: &Decision, lane: LaneId, delivery: Arc<Delivery>) {
        let &Decision { place, discards } = decision;
        let (sequence, published) = (delivery.sequence, delivery.published());
        self.blocked.remove(&place);
        let Some(held) = self.lanes.queue(lane).find(|held| held.sequence == place) else {
            return self.writer.position().close(sequence);
        };
        let plugin = &self.parts.generation.manifest().name;
        if discards {
            tracing::info!(
                plugin,
                key = held.key,
                "dead letter discarded: its key goes on"
            );
            held.hold = Hold::Discarded;
            self.ledger.decide(Some(sequence), place, None);
        } else {
            tracing::info!(plugin, key = held.key, "dead letter replayed in its place");
            let body = Body::new(delivery);
            self.parts.metrics.delivered.inc();
            self.bodies.hold(&body);
            held.sent_again(sequence, published, body);
            self.ledger
                .decide(Some(sequence), place, Some(&held.retry(0)));
        }
        let head = self.lanes.head(lane).map(|held| held.hold);
        if head != Some(Hold::Blocked) {
            self.lanes.release(lane);
        }
    }
}
