//! Takes a message of the event store, gives the event in it: decoded once, however many plug-ins
//! are given it.

use std::sync::{Arc, OnceLock};

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::decode::{self, decode};
use crate::event::Event;
use crate::ledger::inbox::InboxId;

/// One message of the event store. Plug-ins of a host share it.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Where it stands in the store.
    pub sequence: u64,
    /// With the slot.
    pub subject: String,
    /// As they were published.
    pub headers: Option<HeaderMap>,
    /// The body, shared with the client's read buffer.
    pub payload: Bytes,
    /// Unix nanoseconds at which the store took it.
    pub stored: u64,
    /// It is the envelope of an event that was redacted.
    pub is_envelope: bool,
    /// Made by whoever asks first.
    pub decoded: OnceLock<Result<Decoded, decode::Error>>,
}

/// An event, and what is made of its source and id once.
#[derive(Debug)]
pub struct Decoded {
    /// The event.
    pub event: Arc<Event>,
    /// What an inbox remembers of it.
    pub inbox_id: InboxId,
}

impl Delivery {
    /// Unix milliseconds at which the store took it.
    pub fn published(&self) -> u64 {
        self.stored / 1_000_000
    }

    /// The event in it.
    ///
    /// # Errors
    /// When the message is none.
    pub fn event(&self) -> Result<&Decoded, &decode::Error> {
        let decoded = self.decoded.get_or_init(|| {
            let event = decode(self.headers.as_ref(), &self.payload)?;
            Ok(Decoded {
                inbox_id: event.inbox_id(),
                event: Arc::new(event),
            })
        });
        decoded.as_ref()
    }
}
