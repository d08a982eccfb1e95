//! Takes which builds run on this host, gives that to whoever asks over the broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::Client;
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::deployment::TakenBack;
use crate::health::{Health, Partition};
use crate::manifest::{Isolation, Manifest, OnExhausted, Ordering, Reads};
use crate::metrics::{Buckets, Counts, Metrics, SourceCounts};
use crate::plugin::generation::Generation;
use crate::projections::{self, Projections};
use crate::rollout::{Canary, Rollout};

/// Where every host is asked for its plug-ins: each answers with an [`Answer`].
pub const QUESTION: &str = "sluicegate.ask.plugins";

/// What this process takes.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// What one host says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// `host.name`.
    pub host: String,
    /// Of its process.
    pub host_id: String,
    /// Its plug-ins, by name.
    pub plugins: Vec<Entry>,
    /// Files and plug-ins that it does not run, and why.
    pub refused: BTreeMap<String, String>,
    /// The sources of its gateway, and what they have sent since it was started.
    #[serde(default)]
    pub sources: Vec<SourceCounts>,
    /// Events on its disk that the broker does not have yet.
    #[serde(default)]
    pub spool_events: u64,
    /// Bytes of memory that its process takes; 0 where the system does not say.
    #[serde(default)]
    pub memory_bytes: u64,
}

/// A plug-in as one host runs it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub plugin: String,
    /// Of the build that runs.
    #[serde(flatten)]
    pub build: Build,
    /// The build that is tried beside it.
    #[serde(default)]
    pub canary: Option<OnTrial>,
    /// The last canary that a host took back.
    #[serde(default)]
    pub taken_back: Option<TakenBack>,
    /// No call is begun.
    #[serde(default)]
    pub paused: bool,
    /// It is a saga.
    #[serde(default)]
    pub saga: bool,
    /// Instances of the build, in a call or waiting for one.
    #[serde(default)]
    pub instances: usize,
    /// The partitions that run here, `credit-hold/0`.
    pub partitions: Vec<String>,
    /// Those among them, or about to be, whose state the build has not carried over yet.
    #[serde(default)]
    pub carrying_over: Vec<String>,
    /// How long ago the store took the oldest event that a partition here has not read yet.
    #[serde(default)]
    pub lag_seconds: f64,
    /// What it has done on this host since the host was started, and what it holds now.
    #[serde(flatten)]
    pub counts: Counts,
    /// From the events' own time to their outcome.
    #[serde(default)]
    pub latency: Buckets,
    /// What it is held to, the config's word over the manifest's.
    #[serde(default)]
    pub limits: Option<Limits>,
    /// Which members of which events it reads, as far as its manifest says so.
    #[serde(default)]
    pub reads: Vec<Reads>,
    /// How far it is, where it is a projection.
    #[serde(default)]
    pub projection: Option<projections::State>,
}

/// What a plug-in is held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// `key`, `none` or `strict`.
    pub ordering: String,
    /// Calls at a time.
    pub max_in_flight: usize,
    /// Shares.
    pub partitions: u8,
    /// Of one call.
    pub timeout_ms: u64,
    /// Attempts in all.
    pub max_attempts: u32,
    /// `dead-letter` or `block-key`.
    pub on_exhausted: String,
    /// Bytes of linear memory.
    pub memory: usize,
    /// `warm` or `fresh`.
    pub isolation: String,
    /// What it hears.
    pub subjects: Vec<String>,
    /// And of which types, none for all; a host of an earlier version does not say.
    #[serde(default)]
    pub types: Option<Vec<String>>,
    /// Where it may send events.
    pub emit: Vec<String>,
    /// Which origins it may call.
    pub http: Vec<String>,
}

impl From<&Manifest> for Limits {
    fn from(manifest: &Manifest) -> Self {
        let Manifest {
            subscribe,
            delivery,
            retry,
            limits,
            capabilities,
            ..
        } = manifest;
        Self {
            ordering: match delivery.ordering {
                Ordering::Key => "key",
                Ordering::None => "none",
                Ordering::Strict => "strict",
            }
            .to_owned(),
            max_in_flight: delivery.max_in_flight,
            partitions: delivery.partitions,
            timeout_ms: u64::try_from(delivery.timeout.as_millis()).unwrap_or(u64::MAX),
            max_attempts: retry.max_attempts,
            on_exhausted: match retry.on_exhausted {
                OnExhausted::DeadLetter => "dead-letter",
                OnExhausted::BlockKey => "block-key",
            }
            .to_owned(),
            memory: limits.memory,
            isolation: match limits.isolation {
                Isolation::Warm => "warm",
                Isolation::Fresh => "fresh",
            }
            .to_owned(),
            subjects: subscribe.subjects.clone(),
            types: Some(subscribe.types.iter().map(ToString::to_string).collect()),
            emit: capabilities.emit.clone(),
            http: capabilities.http.clone(),
        }
    }
}

/// The build that runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Build {
    /// From its manifest.
    pub version: String,
    /// `sha256:<hex>`.
    pub digest: String,
    /// 1 for the first that this host ran since it was started.
    pub generation: u64,
    /// When it took over, RFC 3339.
    pub since: String,
    /// Where it came from.
    pub file: String,
}

/// A build that is tried, and how it does on this host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OnTrial {
    /// From its manifest.
    pub version: String,
    /// `sha256:<hex>`.
    pub digest: String,
    /// Percent of the keys.
    pub percent: f64,
    /// How often it was called.
    pub calls: u64,
    /// How many events it failed that the other build has handled.
    pub broken: u64,
}

impl From<&Canary> for OnTrial {
    fn from(canary: &Canary) -> Self {
        let (calls, broken) = canary.record();
        Self {
            version: canary.generation.manifest().version.clone(),
            digest: canary.generation.digest().to_owned(),
            percent: canary.percent,
            calls,
            broken,
        }
    }
}

/// The builds of this host.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    inner: Arc<Mutex<Inner>>,
    projections: Projections,
}

#[derive(Debug, Default)]
struct Inner {
    builds: BTreeMap<String, Build>,
    rollouts: BTreeMap<String, (Arc<Rollout>, Option<TakenBack>)>,
}

impl Roster {
    /// With what the host has of projections.
    pub fn new(projections: Projections) -> Self {
        Self {
            inner: Arc::default(),
            projections,
        }
    }

    /// This build runs from now on.
    pub fn runs(&self, generation: &Generation, file: &str) {
        let manifest = generation.manifest();
        let builds = &mut self.inner.lock().builds;
        let last = builds.get(&manifest.name).map_or(0, |last| last.generation);
        let build = Build {
            version: manifest.version.clone(),
            digest: generation.digest().to_owned(),
            generation: last + 1,
            since: clock::rfc3339(clock::unix_millis()),
            file: file.to_owned(),
        };
        builds.insert(manifest.name.clone(), build);
    }

    /// The same build comes from this file now.
    pub fn moved(&self, plugin: &str, file: &str) {
        if let Some(build) = self.inner.lock().builds.get_mut(plugin) {
            file.clone_into(&mut build.file);
        }
    }

    /// The plug-in does not run here any more.
    pub fn ended(&self, plugin: &str) {
        let mut inner = self.inner.lock();
        inner.builds.remove(plugin);
        inner.rollouts.remove(plugin);
    }

    /// What is tried beside it, or was, and whether it is paused.
    pub fn follows(&self, plugin: &str, rollout: &Arc<Rollout>, taken_back: Option<TakenBack>) {
        let rollout = (Arc::clone(rollout), taken_back);
        let mut inner = self.inner.lock();
        inner.rollouts.insert(plugin.to_owned(), rollout);
    }

    fn answer(&self, (host, host_id): (&str, &str), health: &Health, metrics: &Metrics) -> Answer {
        let readiness = health.readiness();
        let partitions = |plugin: &str, wanted: &dyn Fn(&str, &Partition) -> bool| {
            let here = readiness.partitions.iter();
            here.filter(|(name, _)| name.rsplit_once('/').is_some_and(|(of, _)| of == plugin))
                .filter(|(name, state)| wanted(name, state))
                .map(|(name, _)| name.clone())
                .collect()
        };
        let inner = self.inner.lock();
        let entry = |(plugin, build): (&String, &Build)| {
            let known = inner.rollouts.get(plugin);
            let rollout = known.map(|(rollout, _)| rollout);
            let canary = rollout.and_then(|rollout| rollout.canary.as_deref());
            let manifest = rollout.map(|rollout| rollout.generation.manifest());
            let version = manifest.filter(|manifest| manifest.migrate_from.is_some());
            let version = version.map(|manifest| manifest.state_version);
            let is_behind = |name: &str, state: &Partition| {
                *state != Partition::Elsewhere
                    && version.is_some()
                    && health.state_version(name) != version
            };
            let metrics = metrics.plugin(plugin);
            let running: Vec<String> = partitions(plugin, &|_, state| *state == Partition::Running);
            let numbers = running.iter().filter_map(|name| number(name));
            let ages = numbers.map(|number| metrics.age(number).get());
            Entry {
                lag_seconds: ages.fold(0.0, f64::max),
                partitions: running,
                carrying_over: partitions(plugin, &is_behind),
                counts: metrics.counts(),
                latency: metrics.latency(),
                limits: manifest.map(Limits::from),
                reads: manifest
                    .map(|manifest| manifest.reads.clone())
                    .unwrap_or_default(),
                projection: self.projections.state(plugin),
                plugin: plugin.clone(),
                build: build.clone(),
                canary: canary.map(OnTrial::from),
                taken_back: known.and_then(|(_, taken_back)| taken_back.clone()),
                paused: rollout.is_some_and(|rollout| rollout.paused),
                saga: manifest.is_some_and(|manifest| manifest.saga.is_some()),
                instances: rollout.map_or(0, |rollout| rollout.generation.instances()),
            }
        };
        Answer {
            host: host.to_owned(),
            host_id: host_id.to_owned(),
            plugins: inner.builds.iter().map(entry).collect(),
            refused: readiness.refused,
            sources: metrics.sources(),
            spool_events: metrics.spool_events(),
            memory_bytes: resident_bytes(),
        }
    }

    /// Answers whoever asks, until the host has stopped.
    pub async fn answer_all(
        self,
        client: Client,
        (host, host_id): (String, String),
        (health, metrics): (Health, Metrics),
        stop: CancellationToken,
    ) {
        let mut questions = match client.subscribe(QUESTION).await {
            Ok(questions) => questions,
            Err(error) => {
                tracing::warn!(%error, "`sluice plugins` will not hear of this host");
                return;
            }
        };
        loop {
            let question = tokio::select! {
                question = questions.next() => question,
                () = stop.cancelled() => return,
            };
            let Some(question) = question else { return };
            let Some(reply) = question.reply else {
                continue;
            };
            let answer = self.answer((&host, &host_id), &health, &metrics);
            let body = serde_json::to_vec(&answer).unwrap_or_default();
            // Who asked may be gone.
            let _ = client.publish(reply, body.into()).await;
        }
    }
}

/// The 3 of `credit-hold/3`.
fn number(partition: &str) -> Option<u8> {
    partition.rsplit_once('/')?.1.parse().ok()
}
