//! Takes every way in which a delivery can end, gives one `Outcome`.

use std::time::Duration;

use crate::ledger::reason::Reason;
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

impl Outcome {
    /// For people: `done`, or what is asked for.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Duplicate => "duplicate",
            Self::Retry { .. } => "retry",
            Self::Again { .. } => "again",
            Self::Dead { .. } => "reject",
        }
    }

    /// How long the plug-in asks to be left alone.
    pub fn after(&self) -> Option<Duration> {
        match self {
            Self::Retry { after, .. } => *after,
            Self::Done | Self::Duplicate | Self::Again { .. } | Self::Dead { .. } => None,
        }
    }

    /// What was wrong; empty when nothing was.
    pub fn error(&self) -> &str {
        match self {
            Self::Done | Self::Duplicate => "",
            Self::Retry { error, .. } | Self::Again { error } | Self::Dead { error, .. } => error,
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
        Failure::Misfit(error) => Outcome::Dead {
            reason: Reason::Schema,
            error,
        },
        Failure::Host(error) => Outcome::Again { error },
        // Whoever runs it looks for that build, and says so where there is none.
        Failure::Build(_) => Outcome::Again { error },
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
