//! Events that leave together with the outcome. Needs `emit = [subjects]` under `[capabilities]`.

use crate::{Event, host};

/// Stages an event; it is published when the call has returned `Ok(())`, once, in one commit
/// with the state and the note that the event is done.
///
/// `subject` is where it goes in the broker, without the slot, which the host adds:
/// `d365.custom.contoso.business.credit.raised`. One that is not granted ends the call, and the
/// event that was being handled is dead-lettered with the reason `forbidden`.
///
/// ```no_run
/// # use sluicegate_guest::{Event, outbox};
/// let event = Event::builder("d365.custom.credit.raised").data("text/plain", "checked");
/// outbox::emit("d365.custom.contoso.business.credit.raised", event);
/// ```
pub fn emit(subject: &str, event: impl Into<Event>) {
    host::emit(subject, event.into());
}
