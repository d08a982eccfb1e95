//! Takes why a page cannot be shown or a thing not be done, gives its status and what to say.

use std::fmt::Display;

use axum::http::StatusCode;
use maud::{Markup, html};

use crate::broker::ReadError;
use crate::operations::{
    audit, blocked, dead_letters, fleet, history, letters, replays, sagas, schemas, state,
};
use crate::schemas::registry;

/// Why not.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Fault {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    pub(super) fn no_broker() -> Self {
        let text = "this host is not connected to the broker yet; /readyz says why";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    pub(super) fn not_for_viewers() -> Self {
        let text = "a viewer may look and not act; an operator's token or certificate may";
        Self::new(StatusCode::FORBIDDEN, text)
    }

    pub(super) fn bad(text: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text.to_string())
    }

    fn broker(error: impl Display) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, error.to_string())
    }

    pub(super) fn markup(&self) -> Markup {
        html! {
            section.notice.bad role="alert" {
                h2 { (self.status.canonical_reason().unwrap_or("Error")) }
                p { (self.text) }
            }
        }
    }
}

impl From<letters::Error> for Fault {
    fn from(error: letters::Error) -> Self {
        match error {
            letters::Error::None(_) => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            letters::Error::Stream(_) | letters::Error::Read(_) | letters::Error::Body(_) => {
                Self::broker(error)
            }
        }
    }
}

impl From<registry::Error> for Fault {
    fn from(error: registry::Error) -> Self {
        match error {
            registry::Error::None(_) => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            registry::Error::Contended(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            registry::Error::Bucket(_)
            | registry::Error::TooBig { .. }
            | registry::Error::Event(_)
            | registry::Error::Unreadable { .. } => Self::broker(error),
        }
    }
}

impl From<schemas::Error> for Fault {
    fn from(error: schemas::Error) -> Self {
        match error {
            schemas::Error::Registry(error) => error.into(),
            schemas::Error::NoEvent(_)
            | schemas::Error::Steps(_)
            | schemas::Error::First(_)
            | schemas::Error::Unfit { .. } => Self::new(StatusCode::CONFLICT, error.to_string()),
            schemas::Error::Store(_) | schemas::Error::Audit(_) => Self::broker(error),
        }
    }
}

impl From<letters::NoCondition> for Fault {
    fn from(error: letters::NoCondition) -> Self {
        Self::bad(error)
    }
}

impl From<dead_letters::Error> for Fault {
    fn from(error: dead_letters::Error) -> Self {
        match error {
            dead_letters::Error::Letter(error) => error.into(),
            dead_letters::Error::NoBody(_)
            | dead_letters::Error::NotUnderstood(_)
            | dead_letters::Error::Gone => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
            dead_letters::Error::Audit(_)
            | dead_letters::Error::Blocked(_)
            | dead_letters::Error::Broker { .. } => Self::broker(error),
        }
    }
}

impl From<replays::Error> for Fault {
    fn from(error: replays::Error) -> Self {
        match error {
            replays::Error::None(_) => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            replays::Error::Ended(..)
            | replays::Error::Taken(_)
            | replays::Error::Unknown(_)
            | replays::Error::Plugin(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            replays::Error::Letters(error) => error.into(),
            replays::Error::Conditions(error) => error.into(),
            replays::Error::History(error) => error.into(),
            replays::Error::Fleet(error) => error.into(),
            replays::Error::Bucket(_) | replays::Error::Audit(_) | replays::Error::Ledger(_) => {
                Self::broker(error)
            }
        }
    }
}

impl From<fleet::Error> for Fault {
    fn from(error: fleet::Error) -> Self {
        match error {
            fleet::Error::NothingBefore(_) | fleet::Error::NotDeployed(_) => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            fleet::Error::Bucket(_)
            | fleet::Error::Ask(_)
            | fleet::Error::Audit(_)
            | fleet::Error::Deployment(_) => Self::broker(error),
        }
    }
}

impl From<history::Error> for Fault {
    fn from(error: history::Error) -> Self {
        match error {
            history::Error::None(_) => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            history::Error::Events(_) | history::Error::Body(_) => Self::broker(error),
        }
    }
}

impl From<blocked::Error> for Fault {
    fn from(error: blocked::Error) -> Self {
        Self::broker(error)
    }
}

impl From<audit::Error> for Fault {
    fn from(error: audit::Error) -> Self {
        Self::broker(error)
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::broker(error)
    }
}

impl From<sagas::Error> for Fault {
    fn from(error: sagas::Error) -> Self {
        match error {
            sagas::Error::None { .. } => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            sagas::Error::State(state::Error::NeverRan(_)) => {
                Self::new(StatusCode::NOT_FOUND, error.to_string())
            }
            sagas::Error::Other { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
            sagas::Error::Not { .. } => Self::new(StatusCode::CONFLICT, error.to_string()),
            sagas::Error::State(_)
            | sagas::Error::Fleet(_)
            | sagas::Error::Audit(_)
            | sagas::Error::Store(_) => Self::broker(error),
        }
    }
}
