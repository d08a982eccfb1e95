//! Takes a plug-in and a key, gives the saga that stands there, and takes it what a person asks of it.

use std::time::Duration;

use async_nats::jetstream::Context;
use serde::Serialize;
use serde_json::json;
use sluicegate_saga::{Own, Saga, Status, What};
use tokio::time::{Instant, interval};
use uuid::Uuid;

use super::state::{self, state};
use super::{Who, audit, fleet};
use crate::clock;
use crate::encode;
use crate::event::validate;
use crate::plugin::saga::ask as asked;

/// A saga that is asked takes it within this time, where its plug-in runs.
const PATIENCE: Duration = Duration::from_secs(10);
/// So often that is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Why that cannot be had or done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger cannot be read.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Nobody says which plug-ins are sagas.
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    /// There is none.
    #[error("{plugin} has no saga {key:?}; `sluice sagas list {plugin}` shows those it has")]
    None {
        /// The plug-in.
        plugin: String,
        /// The key.
        key: String,
    },
    /// It is another thing.
    #[error("what {plugin} keeps under {key:?} is no saga: {reason}")]
    Other {
        /// The plug-in.
        plugin: String,
        /// The key.
        key: String,
        /// What the parser says.
        reason: String,
    },
    /// It is not so that this could be asked of it.
    #[error("the saga {key:?} is {is}; {needs}")]
    Not {
        /// The key.
        key: String,
        /// How it is.
        is: &'static str,
        /// What it would have to be.
        needs: &'static str,
    },
    /// The deed was not written down, so nothing was done.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The event store did not take what is asked.
    #[error("the event store did not take it: {0}")]
    Store(String),
}

/// A saga, and whose it is.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// The plug-in.
    pub plugin: String,
    /// Its key.
    pub key: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub saga: Saga,
}

impl Found {
    /// What it does, in few words.
    pub fn now(&self) -> String {
        let saga = &self.saga;
        match (saga.status, &saga.why) {
            (Status::Running, _) => {
                let waits: Vec<&str> = saga.waits.iter().map(|wait| &*wait.event_type).collect();
                let until = saga.timer.as_ref().map(|timer| clock::rfc3339(timer.due));
                match (waits.as_slice(), until) {
                    ([], None) => "runs a step".to_owned(),
                    ([], Some(until)) => format!("waits until {until}"),
                    (_, None) => format!("waits for {}", waits.join(", ")),
                    (_, Some(until)) => {
                        format!("waits for {}, until {until}", waits.join(", "))
                    }
                }
            }
            (Status::Done, _) | (_, None) => String::new(),
            (_, Some(why)) => why.clone(),
        }
    }
}

/// Those of one plug-in, or of all that run, which are so; the one that moved last comes first.
///
/// # Errors
/// When the ledger or the hosts cannot be asked.
pub async fn list(
    context: &Context,
    plugin: Option<&str>,
    statuses: &[Status],
) -> Result<Vec<Found>, Error> {
    let plugins = match plugin {
        Some(plugin) => vec![plugin.to_owned()],
        None => known(context).await?,
    };
    let mut found = Vec::new();
    for plugin in plugins {
        let query = state::Query {
            plugin: plugin.clone(),
            ..state::Query::default()
        };
        for row in state(context, &query).await? {
            let Ok(saga) = serde_json::from_slice::<Saga>(&row.value) else {
                continue;
            };
            if statuses.is_empty() || statuses.contains(&saga.status) {
                let (plugin, key) = (plugin.clone(), row.key);
                found.push(Found { plugin, key, saga });
            }
        }
    }
    found.sort_by(|one, other| {
        let by = |found: &Found| (found.saga.moved, found.key.clone());
        by(other).cmp(&by(one))
    });
    Ok(found)
}

/// The plug-ins that are sagas and have run.
async fn known(context: &Context) -> Result<Vec<String>, Error> {
    let (answers, _) = fleet::answers(context).await?;
    let entries = answers.into_iter().flat_map(|answer| answer.plugins);
    let mut plugins: Vec<String> = entries
        .filter(|entry| entry.saga)
        .map(|entry| entry.plugin)
        .collect();
    plugins.sort_unstable();
    plugins.dedup();
    Ok(plugins)
}

/// One of them.
///
/// # Errors
/// When it is not there, or the ledger cannot be read.
pub async fn one(context: &Context, plugin: &str, key: &str) -> Result<Found, Error> {
    let query = state::Query {
        plugin: plugin.to_owned(),
        key: Some(key.to_owned()),
        ..state::Query::default()
    };
    let rows = state(context, &query).await?;
    let (plugin, key) = (plugin.to_owned(), key.to_owned());
    let Some(row) = rows.into_iter().find(|row| row.key == key) else {
        return Err(Error::None { plugin, key });
    };
    match serde_json::from_slice(&row.value) {
        Ok(saga) => Ok(Found { plugin, key, saga }),
        Err(error) => Err(Error::Other {
            plugin,
            key,
            reason: error.to_string(),
        }),
    }
}

/// What a person asks of a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// To be undone.
    Cancel {
        /// Why.
        reason: String,
    },
    /// To run a compensation again that did not work.
    Retry {
        /// It was done by hand: the next one is run.
        done: bool,
    },
}

/// Asks it, and gives the saga when it has heard; as it is after some seconds when it has not.
///
/// # Errors
/// When it is not so that this could be asked, or was not written down or stored.
pub async fn ask(
    context: &Context,
    who: &Who,
    (plugin, key): (&str, &str),
    ask: Ask,
) -> Result<(Found, bool), Error> {
    let found = one(context, plugin, key).await?;
    let is = found.saga.status;
    let not = |needs| Error::Not {
        key: key.to_owned(),
        is: is.as_str(),
        needs,
    };
    let (action, detail, own) = match ask {
        Ask::Cancel { reason } => {
            if is != Status::Running {
                return Err(not("only one that runs can be cancelled"));
            }
            let detail = json!({ "key": key, "reason": reason });
            let by = who.name.clone();
            ("cancel-saga", detail, Own::Cancel { by, reason })
        }
        Ask::Retry { done } => {
            if is != Status::Parked {
                return Err(not(
                    "only one that waits for a person has something to be run again",
                ));
            }
            let step = found.saga.compensations.last().map(|last| &last.step);
            let detail = json!({ "key": key, "compensation": step, "done_by_hand": done });
            let by = who.name.clone();
            ("retry-saga", detail, Own::Retry { by, done })
        }
    };
    let (subject, event) = asked(plugin, key, &Uuid::new_v4().to_string(), &own);
    validate(&event).map_err(|error| Error::Store(error.to_string()))?;
    audit::record(context, who, action, plugin, detail).await?;
    let (headers, body) = encode::binary(event);
    let sent = context.publish_with_headers(subject, headers, body).await;
    let stored = sent.map_err(|error| Error::Store(error.to_string()))?.await;
    let stored = stored.map_err(|error| Error::Store(error.to_string()))?;
    let heard = |found: &Found| {
        let mut entries = found.saga.timeline.iter().rev();
        entries.any(|entry| {
            let is_it = matches!(entry.what, What::Cancelled | What::Retried);
            is_it && entry.sequence == Some(stored.sequence)
        })
    };
    let end = Instant::now() + PATIENCE;
    let mut look = interval(LOOK);
    loop {
        look.tick().await;
        let found = one(context, plugin, key).await?;
        let has_heard = heard(&found);
        if has_heard || end <= Instant::now() {
            return Ok((found, has_heard));
        }
    }
}
