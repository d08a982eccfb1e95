//! Takes what an operator wants of a plug-in, gives it to every host: wishes in the KV bucket, components in the object store.
//!
//! A wish is the key `plugins.<name>` of the KV bucket `sluicegate`. It is changed with a
//! compare-and-set only, so that two operators do not undo each other's words unseen.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::kv::{self, CreateErrorKind, Operation, UpdateErrorKind};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

pub use self::components::{Components, STREAM, provision};

mod components;

/// The bucket that hosts share.
const BUCKET: &str = "sluicegate";
/// The wishes in it, as subjects.
pub const EVERY_WISH: &str = "$KV.sluicegate.plugins.*";
const WISHES: &str = "$KV.sluicegate.plugins.";
const KEYS: &str = "plugins.";
/// Builds that can be gone back to.
pub const KEPT: usize = 10;
/// Compare-and-sets that failed before somebody else is said to be at it.
const TRIES: usize = 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a wish, or a component, cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bucket does not answer.
    #[error("KV bucket {BUCKET}: {0}")]
    Bucket(String),
    /// Somebody changes it all the time.
    #[error("the wish for {plugin} was changed by others {TRIES} times in a row; try again")]
    Contended {
        /// The plug-in.
        plugin: String,
    },
    /// What is there was not written by `sluice`, or by a newer one.
    #[error("the wish for {plugin} cannot be read: {reason}")]
    Unreadable {
        /// The plug-in.
        plugin: String,
        /// What the parser says.
        reason: String,
    },
    /// The object store does not answer.
    #[error("object store plugins: {0}")]
    Store(String),
    /// No such component.
    #[error("object store plugins has no component {0}; deploy it again")]
    NoComponent(String),
    /// It came out changed.
    #[error("object store plugins: the component {0} does not have its digest any more")]
    Changed(String),
}

/// What is wanted of a plug-in, on every host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// The build that is to run; none when each host runs what its folder has.
    #[serde(default)]
    pub build: Option<Wanted>,
    /// A build that is tried on a share of the keys.
    #[serde(default)]
    pub canary: Option<Canary>,
    /// No call is to be begun.
    #[serde(default)]
    pub paused: bool,
    /// What ran before, the newest last.
    #[serde(default)]
    pub before: Vec<Wanted>,
    /// The last canary that a host took back.
    #[serde(default)]
    pub taken_back: Option<TakenBack>,
}

/// A build in the object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// `sha256:<hex>`.
    pub digest: String,
    /// From its manifest.
    pub version: String,
    /// When it was deployed, RFC 3339.
    pub at: String,
}

/// A build that is tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// Which.
    #[serde(flatten)]
    pub build: Wanted,
    /// Percent of the keys.
    pub percent: f64,
}

/// A canary that did worse than the build that it was tried beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    /// Which.
    #[serde(flatten)]
    pub build: Wanted,
    /// By which host, `host.name`.
    pub host: String,
    /// RFC 3339.
    pub on: String,
    /// What it did.
    pub reason: String,
}

impl Wish {
    /// This build for every key, and nothing on trial.
    pub fn deploy(&mut self, build: Wanted) {
        self.canary = None;
        if let Some(before) = self.build.take()
            && before.digest != build.digest
        {
            self.before.push(before);
            let surplus = self.before.len().saturating_sub(KEPT);
            self.before.drain(..surplus);
        }
        self.build = Some(build);
    }

    /// What was before; gives what does not run any more. A canary goes first.
    pub fn roll_back(&mut self) -> Option<Wanted> {
        if let Some(canary) = self.canary.take() {
            return Some(canary.build);
        }
        let before = self.before.pop()?;
        self.build.replace(before)
    }

    /// Nothing is wanted: each host runs what its folder has.
    pub fn withdraw(&mut self) {
        *self = Self {
            paused: self.paused,
            ..Self::default()
        };
    }

    /// Every component that it names.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        let canary = self.canary.iter().map(|canary| &canary.build);
        let builds = self.build.iter().chain(canary).chain(&self.before);
        builds.map(|build| build.digest.as_str())
    }
}

/// Tells whenever a wish is changed.
///
/// # Errors
/// When the bucket does not answer.
pub async fn changes(context: &Context) -> Result<kv::Watch, Error> {
    let changes = bucket(context).await?.watch(format!("{KEYS}*")).await;
    changes.map_err(|error| Error::Bucket(error.to_string()))
}

/// What a host calls a deployed build that it does not run.
pub fn label(plugin: &str) -> String {
    format!("{plugin} (deployed)")
}

/// What a host calls a canary that it does not run.
pub fn label_of_canary(plugin: &str) -> String {
    format!("{plugin} (canary)")
}

/// What a host calls a partition whose state it cannot carry over.
pub fn label_of_state(partition: &str) -> String {
    format!("{partition} (state)")
}

/// What a host calls a plug-in's file that does not run because the plug-in is deployed.
pub fn label_of_file(plugin: &str) -> String {
    format!("{plugin} (folder)")
}

/// The plug-in that a subject of the bucket is about.
pub fn plugin(subject: &str) -> Option<&str> {
    subject.strip_prefix(WISHES)
}

/// A wish as it stands in a message.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn parse(plugin: &str, payload: &[u8]) -> Result<Wish, Error> {
    if payload.is_empty() {
        // Deleted, by a tool of NATS.
        return Ok(Wish::default());
    }
    serde_json::from_slice(payload).map_err(|error| Error::Unreadable {
        plugin: plugin.to_owned(),
        reason: error.to_string(),
    })
}

/// The wish for a plug-in; the empty one when none was ever said.
///
/// # Errors
/// When the bucket does not answer or what is there cannot be read.
pub async fn wish(context: &Context, plugin: &str) -> Result<Wish, Error> {
    let (wish, _) = read(&bucket(context).await?, plugin).await?;
    Ok(wish)
}

/// Changes the wish for a plug-in, as often as it takes until nobody came between; `change`
/// says no by an error. Gives what it was and what it is.
///
/// # Errors
/// Those of `change`, or when the bucket does not answer.
pub async fn change<E: From<Error>>(
    context: &Context,
    plugin: &str,
    mut change: impl FnMut(&mut Wish) -> Result<(), E>,
) -> Result<(Wish, Wish), E> {
    let bucket = bucket(context).await?;
    for _ in 0..TRIES {
        let (before, revision) = read(&bucket, plugin).await?;
        let mut after = before.clone();
        change(&mut after)?;
        if after == before || write(&bucket, plugin, &after, revision).await? {
            return Ok((before, after));
        }
    }
    let plugin = plugin.to_owned();
    Err(Error::Contended { plugin }.into())
}

async fn bucket(context: &Context) -> Result<kv::Store, Error> {
    let bucket = context.get_key_value(BUCKET).await;
    bucket.map_err(|error| {
        Error::Bucket(format!(
            "{error}; has `sluice run` ever been connected to this broker?"
        ))
    })
}

async fn read(bucket: &kv::Store, plugin: &str) -> Result<(Wish, Option<u64>), Error> {
    let entry = timeout(PATIENCE, bucket.entry(format!("{KEYS}{plugin}"))).await;
    let entry = entry
        .map_err(|_| Error::Bucket(format!("no answer in {PATIENCE:?}")))?
        .map_err(|error| Error::Bucket(error.to_string()))?;
    match entry {
        Some(entry) if entry.operation == Operation::Put => {
            Ok((parse(plugin, &entry.value)?, Some(entry.revision)))
        }
        Some(entry) => Ok((Wish::default(), Some(entry.revision))),
        None => Ok((Wish::default(), None)),
    }
}

/// Whether it was still as it was read.
async fn write(
    bucket: &kv::Store,
    plugin: &str,
    wish: &Wish,
    revision: Option<u64>,
) -> Result<bool, Error> {
    let key = format!("{KEYS}{plugin}");
    let value = serde_json::to_vec(wish).map_err(|error| Error::Bucket(error.to_string()))?;
    match revision {
        Some(revision) => match bucket.update(key, value.into(), revision).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
            Err(error) => Err(Error::Bucket(error.to_string())),
        },
        None => match bucket.create(key, value.into()).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Error::Bucket(error.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(digest: &str) -> Wanted {
        Wanted {
            digest: digest.to_owned(),
            version: "1.0.0".to_owned(),
            at: "2026-01-01T00:00:00Z".to_owned(),
        }
    }

    #[test]
    fn a_rollback_goes_back_step_by_step_and_takes_a_canary_first() {
        let mut wish = Wish::default();
        for digest in ["a", "b", "b", "c"] {
            wish.deploy(build(digest));
        }
        wish.canary = Some(Canary {
            build: build("d"),
            percent: 5.0,
        });
        assert_eq!(wish.digests().collect::<Vec<_>>(), ["c", "d", "a", "b"]);
        let mut went = Vec::new();
        while let Some(gone) = wish.roll_back() {
            went.push(gone.digest);
        }
        assert_eq!(went, ["d", "c", "b"]);
        assert_eq!(wish.build, Some(build("a")));
    }

    #[test]
    fn a_deployment_ends_the_trial() {
        let mut wish = Wish::default();
        wish.deploy(build("a"));
        wish.canary = Some(Canary {
            build: build("b"),
            percent: 5.0,
        });
        wish.deploy(build("b"));
        assert_eq!(wish.canary, None);
        assert_eq!(wish.before, [build("a")]);
    }

    #[test]
    fn only_so_many_builds_are_kept() {
        let mut wish = Wish::default();
        for n in 0..30 {
            wish.deploy(build(&n.to_string()));
        }
        assert_eq!(wish.before.len(), KEPT);
        assert_eq!(wish.before.last(), Some(&build("28")));
    }

    #[test]
    fn what_a_newer_version_adds_is_read_past() {
        let text = br#"{"build":{"digest":"d","version":"1","at":"t"},"colour":"red"}"#;
        let wish = parse("p", text).expect("a wish");
        assert_eq!(wish.build.map(|build| build.digest).as_deref(), Some("d"));
        assert!(parse("p", b"{").is_err());
        assert_eq!(parse("p", b"").ok(), Some(Wish::default()));
    }
}
