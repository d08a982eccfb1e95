//! Takes the envelope of an event that was redacted, gives a position behind it, and nothing to be called.

use super::Partition;
use crate::delivery::Delivery;
use crate::redacted::Mark;
use crate::route;

impl Partition {
    /// An envelope concerns no plug-in. Where its event waits here still, its body is let go of:
    /// when its turn comes, it is looked for in the store, and is not there.
    pub(super) fn pass_over(&mut self, envelope: &Delivery) {
        self.writer.position().read(envelope.sequence);
        self.writer.position().close(envelope.sequence);
        let mark = envelope.headers.as_ref().and_then(Mark::read);
        let Some((mark, Ok(decoded))) = mark.zip(Some(envelope.event())) else {
            return;
        };
        let ordering = self.manifest().delivery.ordering;
        let lane = route::lane(ordering, decoded.event.partition_key(), mark.sequence);
        for held in self.lanes.queue(lane) {
            if held.stored_at() == mark.sequence
                && let Some(body) = held.body.take()
            {
                self.bodies.let_go(&body);
            }
        }
    }
}
