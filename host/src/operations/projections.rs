//! Takes a projection, gives what the hosts have of it, and a word to them: each host has a copy.

use std::time::Duration;

use async_nats::jetstream::Context;
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;

use super::{Who, audit, fleet};
use crate::projections::State;
use crate::projections::answering::{Question, Told, What, subject};
use crate::projections::query::Page;
use crate::projections::store::Refused;

/// A host answers by then: it may wait for its place, and then look.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The hosts cannot be asked.
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    /// It could not be written down.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// No host has it.
    #[error("no host that answers has a projection {0}; `sluice projections list` shows those")]
    Nowhere(String),
    /// A host did not answer.
    #[error("host {host} did not answer: {reason}")]
    Silent {
        /// Its name.
        host: String,
        /// Why.
        reason: String,
    },
    /// A host says why not.
    #[error("host {host}: {reason}")]
    Failed {
        /// Its name.
        host: String,
        /// What it says.
        reason: String,
    },
}

/// A projection on one host.
#[derive(Debug, Serialize)]
pub struct Copy {
    /// Its name.
    pub name: String,
    /// `host.name`.
    pub host: String,
    /// Of its process.
    #[serde(skip)]
    pub host_id: String,
    /// It takes no events.
    pub paused: bool,
    /// How far it is.
    #[serde(flatten)]
    pub state: State,
}

/// What all hosts have, by name, and the names of hosts that say nothing.
///
/// # Errors
/// When nobody can be asked.
pub async fn copies(context: &Context) -> Result<(Vec<Copy>, Vec<String>), Error> {
    let (answers, silent) = fleet::answers(context).await?;
    let mut copies = Vec::new();
    for answer in answers {
        for entry in answer.plugins {
            let Some(state) = entry.projection else {
                continue;
            };
            copies.push(Copy {
                name: entry.plugin,
                host: answer.host.clone(),
                host_id: answer.host_id.clone(),
                paused: entry.paused,
                state,
            });
        }
    }
    copies.sort_by(|one, other| (&one.name, &one.host).cmp(&(&other.name, &other.host)));
    Ok((copies, silent))
}

/// The copies of one projection, the furthest first.
///
/// # Errors
/// When no host has it.
pub async fn of(context: &Context, name: &str) -> Result<Vec<Copy>, Error> {
    let (mut copies, _) = copies(context).await?;
    copies.retain(|copy| copy.name == name);
    copies.sort_by_key(|copy| std::cmp::Reverse(copy.state.current.position));
    match copies.is_empty() {
        true => Err(Error::Nowhere(name.to_owned())),
        false => Ok(copies),
    }
}

/// A page of rows of a copy, and the table that they are of.
///
/// # Errors
/// When the host does not answer, or says why not.
pub async fn rows(
    context: &Context,
    copy: &Copy,
    table: Option<&str>,
    words: Vec<(String, String)>,
) -> Result<(String, Page), Error> {
    let what = What::Rows {
        table: table.map(str::to_owned),
        words,
    };
    match ask(context, copy, what).await? {
        Told::Rows { table, page } => Ok((table, page)),
        other => Err(copy.unexpected(&other)),
    }
}

/// The newest events that a copy could not take in.
///
/// # Errors
/// When the host does not answer.
pub async fn refused(context: &Context, copy: &Copy) -> Result<Vec<Refused>, Error> {
    match ask(context, copy, What::Refused).await? {
        Told::Refused(refused) => Ok(refused),
        other => Err(copy.unexpected(&other)),
    }
}

/// Has every host build the projection anew. Gives of each whether it has begun with it.
///
/// # Errors
/// When it cannot be written down, or a host does not answer: those before it have begun.
pub async fn rebuild(
    context: &Context,
    who: &Who,
    name: &str,
) -> Result<Vec<(String, bool)>, Error> {
    let copies = of(context, name).await?;
    audit::record(context, who, "rebuild", name, json!({})).await?;
    let mut done = Vec::new();
    for copy in copies {
        match ask(context, &copy, What::Rebuild).await? {
            Told::Rebuilding(begun) => done.push((copy.host, begun)),
            other => return Err(copy.unexpected(&other)),
        }
    }
    Ok(done)
}

async fn ask(context: &Context, copy: &Copy, what: What) -> Result<Told, Error> {
    let silent = |reason: String| Error::Silent {
        host: copy.host.clone(),
        reason,
    };
    let question = Question {
        projection: copy.name.clone(),
        what,
    };
    // The types have no way to fail.
    let body = serde_json::to_vec(&question).unwrap_or_default();
    let client = context.client();
    let request = async_nats::Request::new()
        .payload(body.into())
        .timeout(Some(PATIENCE));
    let asked = client.send_request(subject(&copy.host_id), request);
    let answer = timeout(PATIENCE, asked).await;
    let answer = answer.map_err(|_| silent(format!("not within {PATIENCE:?}")))?;
    let answer = answer.map_err(|error| silent(error.to_string()))?;
    let told = serde_json::from_slice(&answer.payload);
    match told.map_err(|error| silent(error.to_string()))? {
        Told::Failed(reason) => Err(Error::Failed {
            host: copy.host.clone(),
            reason,
        }),
        told => Ok(told),
    }
}

impl Copy {
    fn unexpected(&self, told: &Told) -> Error {
        Error::Failed {
            host: self.host.clone(),
            reason: format!("it answered something else: {told:?}"),
        }
    }
}
