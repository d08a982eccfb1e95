//! Takes the cluster, gives which hosts are there, what each says of its plug-ins, and a word to them.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use futures_util::StreamExt as _;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{Who, audit};
use crate::broker::read_all;
use crate::clock;
use crate::deployment::{self, Wanted};
use crate::leases::{self, LEASE, Lease};
use crate::roster::{Answer, QUESTION};

/// A host that has not answered by then is named.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Why that cannot be had or done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bucket is not there, or cannot be read.
    #[error("KV bucket sluicegate: {0}; has `sluice run` ever been connected to this broker?")]
    Bucket(String),
    /// The question could not be asked, or an answer not be read.
    #[error("the hosts cannot be asked: {0}")]
    Ask(String),
    /// It could not be written down.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The wish could not be changed.
    #[error(transparent)]
    Deployment(#[from] deployment::Error),
    /// There is nothing to go back to.
    #[error(
        "no build of {0} was deployed before this one; `sluice undeploy {0}` has each host run \
         what its folder has"
    )]
    NothingBefore(String),
    /// It is not the cluster's to say.
    #[error(
        "{0} is not deployed; what a host's folder has is rolled back by putting the file that \
         was there before in its place"
    )]
    NotDeployed(String),
}

/// A host as it last spoke of itself.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What it said.
    #[serde(flatten)]
    pub lease: Lease,
    /// By this machine's clock.
    pub seen_ms_ago: u64,
    /// Not silent for longer than its lease.
    pub alive: bool,
}

impl Row {
    /// As it is shown.
    pub fn state(&self) -> &'static str {
        match (self.alive, self.lease.leaving) {
            (false, _) => "gone",
            (true, true) => "leaving",
            (true, false) => "alive",
        }
    }
}

/// All hosts that have a lease, by name.
///
/// # Errors
/// When the bucket cannot be read.
pub async fn hosts(context: &Context) -> Result<Vec<Row>, Error> {
    let bucket = context.get_stream(leases::STREAM).await;
    let bucket = bucket.map_err(|error| Error::Bucket(error.to_string()))?;
    let mut rows = Vec::new();
    let newest = DeliverPolicy::LastPerSubject;
    let read = read_all(&bucket, leases::EVERY_HOST, newest, |message| {
        let Ok(info) = message.info() else { return };
        let said = u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let seen_ms_ago = clock::unix_millis().saturating_sub(said);
        if let Some(lease) = leases::lease(message.headers.as_ref(), &message.payload) {
            rows.push(Row {
                lease,
                seen_ms_ago,
                alive: u128::from(seen_ms_ago) < LEASE.as_millis(),
            });
        }
    });
    read.await
        .map_err(|error| Error::Bucket(error.to_string()))?;
    rows.sort_by(|one, other| {
        (&one.lease.name, &one.lease.id).cmp(&(&other.lease.name, &other.lease.id))
    });
    Ok(rows)
}

/// What each host says, by its name, and the names of those that say nothing.
///
/// # Errors
/// When nobody can be asked.
pub async fn answers(context: &Context) -> Result<(Vec<Answer>, Vec<String>), Error> {
    let rows = hosts(context).await?;
    let alive = rows.iter().filter(|row| row.alive);
    let mut silent: BTreeSet<String> = alive.map(|row| row.lease.id.clone()).collect();
    let mut answers = ask(context, &mut silent).await?;
    answers.sort_by(|one, other| (&one.host, &one.host_id).cmp(&(&other.host, &other.host_id)));
    let rows = rows
        .into_iter()
        .filter(|row| silent.contains(&row.lease.id));
    Ok((answers, rows.map(|row| row.lease.name).collect()))
}

/// The answers of all hosts; those that have answered are taken out of `silent`.
async fn ask(context: &Context, silent: &mut BTreeSet<String>) -> Result<Vec<Answer>, Error> {
    let failed = |error: String| Error::Ask(error);
    let client = context.client();
    let inbox = client.new_inbox();
    let incoming = client.subscribe(inbox.clone()).await;
    let mut incoming = incoming.map_err(|error| failed(error.to_string()))?;
    let asked = client.publish_with_reply(QUESTION, inbox, "".into()).await;
    asked.map_err(|error| failed(error.to_string()))?;
    let end = Instant::now() + PATIENCE;
    let mut answers = Vec::new();
    while !silent.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        let Ok(Some(message)) = timeout(left, incoming.next()).await else {
            break;
        };
        // Nobody listens at all: the server says so with an empty message.
        if message.payload.is_empty() {
            continue;
        }
        let answer: Answer =
            serde_json::from_slice(&message.payload).map_err(|error| failed(error.to_string()))?;
        silent.remove(&answer.host_id);
        answers.push(answer);
    }
    Ok(answers)
}

/// Has every host begin no call of a plug-in any more, or calls again.
///
/// # Errors
/// When the broker does not take it; then nothing has changed.
pub async fn pause(context: &Context, who: &Who, plugin: &str, paused: bool) -> Result<(), Error> {
    let action = if paused { "pause" } else { "resume" };
    audit::record(context, who, action, plugin, json!({})).await?;
    let changed = deployment::change(context, plugin, |wish| {
        wish.paused = paused;
        Ok::<(), Error>(())
    });
    changed.await.map(drop)
}

/// What a roll-back did.
#[derive(Debug)]
pub struct RolledBack {
    /// The wish as it was, and as it is.
    pub wishes: (deployment::Wish, deployment::Wish),
    /// The build that does not run any more.
    pub gone: Option<Wanted>,
}

/// Takes a canary back, or else goes back to the build that was deployed before.
///
/// # Errors
/// When there is none, or the broker does not take it; then nothing has changed.
pub async fn roll_back(context: &Context, who: &Who, plugin: &str) -> Result<RolledBack, Error> {
    let mut wish = deployment::wish(context, plugin).await?;
    let refused = |has_build: bool| match has_build {
        true => Error::NothingBefore(plugin.to_owned()),
        false => Error::NotDeployed(plugin.to_owned()),
    };
    let has_build = wish.build.is_some();
    let detail = json!({ "from": wish.roll_back().ok_or_else(|| refused(has_build))? });
    audit::record(context, who, "rollback", plugin, detail).await?;
    let mut gone = None;
    let changed = deployment::change(context, plugin, |wish| {
        let has_build = wish.build.is_some();
        gone = wish.roll_back();
        gone.as_ref().map(drop).ok_or_else(|| refused(has_build))
    });
    let wishes = changed.await?;
    Ok(RolledBack { wishes, gone })
}
