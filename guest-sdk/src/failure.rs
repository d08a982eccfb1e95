//! Takes what went wrong, gives what the host shall do about it.

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Display};
use std::time::Duration;

use crate::http;

/// How a call ended: `Ok(())` makes what it staged take effect.
pub type Outcome = Result<(), Failure>;

/// What one key of an older version of the state becomes: no entry, one or several, each a key
/// and its value. What `#[migrate]` goes on returns it.
pub type Migrated = Result<Vec<(String, Vec<u8>)>, Failure>;

/// Why the event was not handled. Nothing that the call staged takes effect.
///
/// Any [`std::error::Error`] becomes [`Failure::Reject`] by `?`, with its sources in the
/// message. The rule behind it: an error that follows from the event alone (its body does not
/// parse, a member is missing) would come again on every attempt, so that retries only delay
/// the dead letter. Where a later call can help, say so: `.map_err(retry)?`. Of a request that
/// was not answered with a success the status says so: see [`http`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Call again later, by the retry policy of the manifest.
    Retry {
        /// Wait at least this long (the policy's `max` is the most); the policy's own delay
        /// when none.
        after: Option<Duration>,
        /// For the operator: what was wrong.
        message: String,
    },
    /// No later call can help: dead-letter the event now.
    Reject {
        /// For the operator: what was wrong, where, and what to do.
        message: String,
    },
}

impl Failure {
    /// What was wrong.
    pub fn message(&self) -> &str {
        match self {
            Self::Retry { message, .. } | Self::Reject { message } => message,
        }
    }
}

/// A later call may succeed: try again by the manifest's `[retry]`.
pub fn retry(message: impl Display) -> Failure {
    Failure::Retry {
        after: None,
        message: message.to_string(),
    }
}

/// A later call may succeed, but not before `after` is over.
pub fn retry_after(after: Duration, message: impl Display) -> Failure {
    Failure::Retry {
        after: Some(after),
        message: message.to_string(),
    }
}

/// No later call can help: dead-letter the event now, with this text.
pub fn reject(message: impl Display) -> Failure {
    Failure::Reject {
        message: message.to_string(),
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut request = (&error as &dyn Any).downcast_ref::<http::Error>();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            request = request.or_else(|| cause.downcast_ref());
            source = cause.source();
        }
        match request {
            Some(request) => request.failure(message),
            None => Self::Reject { message },
        }
    }
}

// No `Error`: the conversion above would then be one of `Failure` to itself.
impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry {
                after: Some(after),
                message,
            } => write!(f, "retry after {after:?}: {message}"),
            Self::Retry {
                after: None,
                message,
            } => write!(f, "retry: {message}"),
            Self::Reject { message } => write!(f, "reject: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);

    fn fails() -> Outcome {
        "x".parse::<u8>().map_err(Outer)?;
        Ok(())
    }

    #[test]
    fn an_error_rejects_with_its_sources() {
        let message = "outer: invalid digit found in string".to_owned();
        assert_eq!(fails(), Err(Failure::Reject { message }));
    }

    #[test]
    fn each_kind_says_what_it_asks_for() {
        assert_eq!(retry("busy").to_string(), "retry: busy");
        assert_eq!(reject("no id").to_string(), "reject: no id");
        let later = retry_after(Duration::from_millis(1500), "busy");
        assert_eq!(later.to_string(), "retry after 1.5s: busy");
    }
}
