//! Takes every way in which a delivery can end, gives one `Outcome`.

use std::time::Duration;

use crate::plugin::call::Failure;

/// What becomes of a delivery after one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Handled; its effects are accepted.
    Done,
    /// Finished before; nothing was done.
    Duplicate,
    /// Another attempt, if the policy has one left; else a dead letter with this reason.
    Retry {
        /// Not before, as the guest asked.
        after: Option<Duration>,
        /// What to call it when no attempt is left.
        reason: Reason,
        /// For the operator.
        error: String,
    },
    /// The host could not do its part: the same attempt again, soon.
    Again {
        /// For the operator.
        error: String,
    },
    /// No attempt can help.
    Dead {
        /// Its class.
        reason: Reason,
        /// For the operator.
        error: String,
    },
}

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
}

impl Reason {
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
        }
    }
}

/// The outcome of a call that failed.
pub fn of(failure: Failure) -> Outcome {
    let error = failure.to_string();
    let retry = |reason, error| Outcome::Retry {
        after: None,
        reason,
        error,
    };
    match failure {
        Failure::Retry { after, message } => Outcome::Retry {
            after,
            reason: Reason::Exhausted,
            error: message,
        },
        Failure::Reject(error) => Outcome::Dead {
            reason: Reason::Rejected,
            error,
        },
        Failure::Trap(error) => retry(Reason::Trap, error),
        Failure::Timeout(_) => retry(Reason::Timeout, error),
        Failure::Memory { .. } => retry(Reason::Limit, error),
        Failure::Limit(error) => Outcome::Dead {
            reason: Reason::Limit,
            error,
        },
        Failure::Forbidden(error) => Outcome::Dead {
            reason: Reason::Forbidden,
            error,
        },
        Failure::Host(error) => Outcome::Again { error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guest_asks_for_is_kept() {
        let after = Some(Duration::from_secs(3));
        let outcome = of(Failure::Retry {
            after,
            message: "busy".to_owned(),
        });
        let expected = Outcome::Retry {
            after,
            reason: Reason::Exhausted,
            error: "busy".to_owned(),
        };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn the_hosts_own_trouble_costs_no_attempt() {
        let outcome = of(Failure::Host("broker away".to_owned()));
        assert_eq!(
            outcome,
            Outcome::Again {
                error: "broker away".to_owned()
            }
        );
    }

    #[test]
    fn a_timeout_names_itself() {
        let Outcome::Retry { reason, error, .. } = of(Failure::Timeout(Duration::from_secs(5)))
        else {
            panic!("a timeout is tried again");
        };
        assert_eq!(reason, Reason::Timeout);
        assert!(error.contains("5s"));
    }
}
