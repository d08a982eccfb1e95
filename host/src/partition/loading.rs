//! Takes a lane whose body was let go, gives its call: the event is read again by its sequence.

use std::sync::Arc;

use super::Partition;
use crate::clock;
use crate::cursor::{self, Found};
use crate::held::Body;
use crate::lane::LaneId;
use crate::ledger::reason::Reason;

/// A body that was read again by its sequence.
pub(super) struct Loaded {
    lane: LaneId,
    found: Result<Found, String>,
}

impl Partition {
    /// Reads the event again, beside everything else.
    pub(super) fn load(&self, lane: LaneId, sequence: u64) {
        let (context, events) = (self.parts.context.clone(), self.parts.events.clone());
        let loads = self.loads.0.clone();
        self.parts.tracker.spawn(async move {
            let found = cursor::load(&context, &events, sequence).await;
            // The partition may have stopped meanwhile.
            let _ = loads.send(Loaded { lane, found });
        });
    }

    /// A body is there again: the call can start.
    pub(super) fn loaded(&mut self, loaded: Loaded) {
        let Loaded { lane, found } = loaded;
        let sequence = self.lanes.head(lane).map_or(0, |held| held.sequence);
        match found {
            Ok(Found::Message(delivery)) => {
                let error = delivery.event().err().map(ToString::to_string);
                self.hold(lane, Body::new(Arc::new(delivery)));
                match error {
                    None => self.submit(lane),
                    // Its dead letter keeps the bytes.
                    Some(error) => {
                        self.breaker.said_nothing(clock::unix_millis());
                        self.finish_dead_unread(lane, Reason::Undecodable, &error);
                    }
                }
            }
            Ok(Found::Redacted) => {
                let plugin = &self.manifest().name;
                tracing::info!(plugin, sequence, "an event that waited was redacted");
                self.breaker.said_nothing(clock::unix_millis());
                self.finish_unhandled(lane);
            }
            Ok(Found::Gone) => {
                tracing::error!(
                    plugin = %self.manifest().name, sequence,
                    "an event aged out of EVENTS before it was handled"
                );
                self.breaker.said_nothing(clock::unix_millis());
                let error = "the event left the store before it was handled: events.max_age \
                             is shorter than the plug-in's backlog";
                self.finish_dead_unread(lane, Reason::AgedOut, error);
            }
            Err(error) => self.again(lane, &error),
        }
    }

    fn finish_dead_unread(&mut self, lane: LaneId, reason: Reason, error: &str) {
        let by = Arc::clone(&self.parts.generation);
        self.finish_dead(&by, lane, reason, error);
    }

    /// The body is the lane's again, until its event is finished or let go of.
    fn hold(&mut self, lane: LaneId, body: Body) {
        self.bodies.hold(&body);
        if let Some(held) = self.lanes.head(lane) {
            held.loaded(body);
        }
    }

    fn submit(&mut self, lane: LaneId) {
        let plugin = &self.parts.generation.manifest().name;
        if let Some(held) = self.lanes.head(lane)
            && let Some(job) = held.job(lane, plugin)
        {
            self.runners.submit(job);
        }
    }
}
