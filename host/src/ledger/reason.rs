//! Takes nothing, gives the classes of dead letters.

/// The class of a dead letter: the last token of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The message is no CloudEvent.
    Undecodable,
    /// The guest said that no attempt can help.
    Rejected,
    /// The guest asked for retries until they were used up.
    Exhausted,
    /// The guest broke at every attempt.
    Trap,
    /// The guest did not come back in time at every attempt.
    Timeout,
    /// The guest used more than it may.
    Limit,
    /// The guest used a capability that it was not granted.
    Forbidden,
    /// The event has passed too many plug-ins.
    Loop,
    /// The event is older than the manifest's `ttl`.
    Expired,
    /// The event left the store before it was handled.
    AgedOut,
    /// The body does not fit the schema of its type.
    Schema,
}

impl Reason {
    /// Whether the key of such a dead letter waits where `on_exhausted` is `block-key`: not
    /// where the plug-in itself has decided to go on without the event, and not where it was
    /// never called.
    pub fn blocks(self) -> bool {
        match self {
            Reason::Exhausted
            | Reason::Trap
            | Reason::Timeout
            | Reason::Limit
            | Reason::Forbidden => true,
            Reason::Undecodable
            | Reason::Rejected
            | Reason::Loop
            | Reason::Expired
            | Reason::AgedOut
            | Reason::Schema => false,
        }
    }

    /// As it stands in subjects, headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Undecodable => "undecodable",
            Reason::Rejected => "rejected",
            Reason::Exhausted => "exhausted",
            Reason::Trap => "trap",
            Reason::Timeout => "timeout",
            Reason::Limit => "limit",
            Reason::Forbidden => "forbidden",
            Reason::Loop => "loop",
            Reason::Expired => "expired",
            Reason::AgedOut => "aged-out",
            Reason::Schema => "schema",
        }
    }
}
