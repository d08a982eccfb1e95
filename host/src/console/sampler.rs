//! Takes what all hosts and streams say, once a second while somebody looks, gives how fast things go.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use futures_util::StreamExt as _;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::fault::Fault;
use crate::broker::{DEADLETTER, EVENTS, LEDGER};
use crate::metrics::Buckets;
use crate::operations::fleet;
use crate::roster::{Answer, Entry};

/// A sample is no older than this when it is shown.
const FRESH: Duration = Duration::from_millis(900);
/// Rates are over this long, or what there is of it.
const WINDOW: Duration = Duration::from_secs(10);
/// Samples that are kept: what a line of the last minute shows.
const KEPT: usize = 61;
/// After so long without a look, what was sampled before says nothing of now.
const STALE: Duration = Duration::from_secs(15);

/// A stream of the broker.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stand {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) last: u64,
}

/// All of it at a moment.
#[derive(Debug)]
pub(super) struct Sample {
    at: Instant,
    pub(super) answers: Vec<Answer>,
    /// Names of hosts that did not answer.
    pub(super) silent: Vec<String>,
    pub(super) events: Stand,
    pub(super) ledger: Stand,
    /// How many stand there of each plug-in and reason.
    pub(super) letters: BTreeMap<(String, String), u64>,
}

/// The last minute, the newest sample last.
#[derive(Debug, Clone, Default)]
pub(super) struct Picture {
    samples: VecDeque<Arc<Sample>>,
}

/// Makes pictures.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    picture: Mutex<Picture>,
}

impl Sampler {
    /// How it is now. Whoever asks at the same time gets the same.
    pub(super) async fn picture(&self, context: &Context) -> Result<Picture, Fault> {
        let mut picture = self.picture.lock().await;
        let age = picture.samples.back().map(|newest| newest.at.elapsed());
        if age.is_some_and(|age| age < FRESH) {
            return Ok(picture.clone());
        }
        if age.is_some_and(|age| STALE < age) {
            picture.samples.clear();
        }
        let sample = sample(context).await?;
        picture.samples.push_back(Arc::new(sample));
        while KEPT < picture.samples.len() {
            picture.samples.pop_front();
        }
        Ok(picture.clone())
    }
}

async fn sample(context: &Context) -> Result<Sample, Fault> {
    let at = Instant::now();
    let (answers, events, ledger, letters) = tokio::join!(
        fleet::answers(context),
        stand(context, EVENTS),
        stand(context, LEDGER),
        letters(context),
    );
    let (answers, silent) = answers?;
    Ok(Sample {
        at,
        answers,
        silent,
        events,
        ledger,
        letters,
    })
}

/// A stream that does not answer is shown as an empty one: the hosts' silence tells more.
async fn stand(context: &Context, stream: &str) -> Stand {
    let Ok(stream) = context.get_stream(stream).await else {
        return Stand::default();
    };
    let state = &stream.cached_info().state;
    Stand {
        messages: state.messages,
        bytes: state.bytes,
        last: state.last_sequence,
    }
}

async fn letters(context: &Context) -> BTreeMap<(String, String), u64> {
    let mut letters = BTreeMap::new();
    let Ok(stream) = context.get_stream(DEADLETTER).await else {
        return letters;
    };
    if let Ok(mut subjects) = stream.info_with_subjects("dead.>").await {
        while let Some(Ok((subject, count))) = subjects.next().await {
            let mut tokens = subject.split('.').skip(1);
            if let (Some(plugin), Some(reason)) = (tokens.next(), tokens.next()) {
                let key = (plugin.to_owned(), reason.to_owned());
                letters.insert(key, count as u64);
            }
        }
    }
    letters
}

impl Picture {
    pub(super) fn newest(&self) -> Option<&Sample> {
        self.samples.back().map(|sample| &**sample)
    }

    /// The sample to compare the newest with.
    fn earlier(&self) -> Option<&Sample> {
        let newest = self.newest()?;
        let within = |sample: &&Arc<Sample>| newest.at.duration_since(sample.at) <= WINDOW;
        let earlier = self.samples.iter().find(within)?;
        (earlier.at < newest.at).then_some(earlier)
    }

    /// How fast something that only grows has grown lately, a second.
    pub(super) fn rate(&self, of: impl Fn(&Sample) -> u64) -> Option<f64> {
        let (newest, earlier) = (self.newest()?, self.earlier()?);
        let seconds = newest.at.duration_since(earlier.at).as_secs_f64();
        Some(of(newest).saturating_sub(of(earlier)) as f64 / seconds)
    }

    /// The same between each two samples of the last minute.
    pub(super) fn rates(&self, of: impl Fn(&Sample) -> u64) -> Vec<f64> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        let rates = pairs.map(|(one, other)| {
            let seconds = other.at.duration_since(one.at).as_secs_f64().max(0.001);
            of(other).saturating_sub(of(one)) as f64 / seconds
        });
        rates.collect()
    }

    /// Something that goes up and down, in each sample of the last minute.
    pub(super) fn levels(&self, of: impl Fn(&Sample) -> u64) -> Vec<f64> {
        self.samples
            .iter()
            .map(|sample| of(sample) as f64)
            .collect()
    }

    /// How long the last events of a plug-in took, p50 and p99.
    pub(super) fn latency(&self, plugin: &str) -> (Option<Duration>, Option<Duration>) {
        let sum = |sample: &Sample| {
            let mut sum = Buckets::default();
            for (_, entry) in sample.entries(plugin) {
                sum.add(&entry.latency);
            }
            sum
        };
        let Some((newest, earlier)) = self.newest().zip(self.earlier()) else {
            return (None, None);
        };
        let lately = sum(newest).since(&sum(earlier));
        (lately.quantile(0.5), lately.quantile(0.99))
    }
}

impl Sample {
    /// What each host says of a plug-in.
    pub(super) fn entries(&self, plugin: &str) -> impl Iterator<Item = (&Answer, &Entry)> {
        let all = self
            .answers
            .iter()
            .flat_map(|answer| answer.plugins.iter().map(move |entry| (answer, entry)));
        all.filter(move |(_, entry)| entry.plugin == plugin)
    }

    /// The names of all plug-ins.
    pub(super) fn plug_ins(&self) -> Vec<String> {
        let entries = self.answers.iter().flat_map(|answer| &answer.plugins);
        let names: std::collections::BTreeSet<&str> =
            entries.map(|entry| entry.plugin.as_str()).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// The sum over all hosts that run a plug-in.
    pub(super) fn sum(&self, plugin: &str, of: impl Fn(&Entry) -> i64) -> u64 {
        let sum: i64 = self.entries(plugin).map(|(_, entry)| of(entry)).sum();
        u64::try_from(sum).unwrap_or(0)
    }

    /// Deliveries of a plug-in that have come to an end.
    pub(super) fn handled(&self, plugin: &str) -> u64 {
        let counts = self.entries(plugin).map(|(_, entry)| entry.counts);
        counts
            .map(|counts| counts.done + counts.duplicate + counts.dead)
            .sum()
    }

    /// Events of a source, on all hosts.
    pub(super) fn published(&self, kind: &str, environment: &str) -> u64 {
        let sources = self.answers.iter().flat_map(|answer| &answer.sources);
        sources
            .filter(|source| source.kind == kind && source.environment == environment)
            .map(|source| source.published)
            .sum()
    }

    /// Kind and environment of every source.
    pub(super) fn sources(&self) -> Vec<(String, String)> {
        let sources = self.answers.iter().flat_map(|answer| &answer.sources);
        let names: std::collections::BTreeSet<(String, String)> = sources
            .map(|source| (source.kind.clone(), source.environment.clone()))
            .collect();
        names.into_iter().collect()
    }

    /// Dead letters of a plug-in.
    pub(super) fn letters_of(&self, plugin: &str) -> u64 {
        let of = self.letters.iter().filter(|((name, _), _)| name == plugin);
        of.map(|(_, count)| count).sum()
    }
}
