//! Takes what became of each body, gives the closing table.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::traffic::Kind;

/// Different reasons that are kept; what else goes wrong is only counted.
const REASONS: usize = 20;
/// The longest time that is told apart, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// What a row of the table is about.
pub(super) type Place = (Kind, &'static str);

/// What became of one body.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) place: Place,
    pub(super) end: End,
    /// Attempts after the first one.
    pub(super) retries: u64,
    pub(super) took: Duration,
}

#[derive(Debug)]
pub(super) enum End {
    Accepted {
        /// The broker had it already.
        is_known: bool,
        /// On the gateway's disk until the broker is back.
        is_spooled: bool,
    },
    Refused(String),
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Counts {
    sent: u64,
    accepted: u64,
    /// Of those accepted.
    duplicates: u64,
    /// Of those accepted.
    spooled: u64,
    refused: u64,
    /// No answer came before the end.
    unanswered: u64,
    /// Attempts after the first.
    retried: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.sent += more.sent;
        self.accepted += more.accepted;
        self.duplicates += more.duplicates;
        self.spooled += more.spooled;
        self.refused += more.refused;
        self.unanswered += more.unanswered;
        self.retried += more.retried;
    }
}

/// Counts and times of a run.
#[derive(Debug)]
pub(super) struct Tally {
    rows: BTreeMap<Place, Counts>,
    /// Microseconds.
    latency: Histogram<u64>,
    reasons: BTreeMap<String, u64>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    seed: u64,
    start: String,
    seconds: f64,
    #[serde(flatten)]
    total: Counts,
    /// Accepted events a second.
    rate: f64,
    /// From when each was due (of a run without a rate: sent) to its answer.
    latency_ms: Latency,
    rows: Vec<Row>,
    refusals: Vec<Refusal>,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    kind: &'static str,
    message: &'static str,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Debug, Serialize)]
struct Refusal {
    reason: String,
    count: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST, 3);
        Self {
            rows: BTreeMap::new(),
            latency: latency.expect("bounds in order and three digits"),
            reasons: BTreeMap::new(),
        }
    }

    pub(super) fn sent(&mut self, place: Place) {
        self.rows.entry(place).or_default().sent += 1;
    }

    pub(super) fn done(&mut self, done: Done) {
        let row = self.rows.entry(done.place).or_default();
        row.retried += done.retries;
        match done.end {
            End::Accepted {
                is_known,
                is_spooled,
            } => {
                row.accepted += 1;
                row.duplicates += u64::from(is_known);
                row.spooled += u64::from(is_spooled);
                let micros = u64::try_from(done.took.as_micros()).unwrap_or(LONGEST);
                self.latency.saturating_record(micros);
            }
            End::Refused(reason) => {
                row.refused += 1;
                if self.reasons.len() < REASONS || self.reasons.contains_key(&reason) {
                    *self.reasons.entry(reason).or_default() += 1;
                }
            }
        }
    }

    /// Whether the broker has all that was sent.
    pub(super) fn is_clean(&self) -> bool {
        let total = self.total();
        total.sent == total.accepted
    }

    /// Of all rows together.
    pub(super) fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.rows.values() {
            total += with_unanswered(*counts);
        }
        total
    }

    /// For the progress bar.
    pub(super) fn note(&self) -> String {
        let total = self.total();
        let mut note = format!("{} accepted", total.accepted);
        for (count, what) in [
            (total.duplicates, "known"),
            (total.spooled, "spooled"),
            (total.retried, "retries"),
            (total.refused, "refused"),
        ] {
            if 0 < count {
                note.push_str(&format!(", {count} {what}"));
            }
        }
        note
    }

    pub(super) fn report(&self, seed: u64, start_ms: i64, took: Duration) -> Report {
        let total = self.total();
        let seconds = took.as_secs_f64().max(0.001);
        let ms = |micros: u64| micros as f64 / 1_000.0;
        let start = u64::try_from(start_ms).unwrap_or_default();
        Report {
            seed,
            start: crate::clock::rfc3339(start),
            seconds,
            total,
            rate: total.accepted as f64 / seconds,
            latency_ms: Latency {
                p50: ms(self.latency.value_at_quantile(0.5)),
                p99: ms(self.latency.value_at_quantile(0.99)),
                max: ms(self.latency.max()),
            },
            rows: self
                .rows
                .iter()
                .map(|((kind, message), counts)| Row {
                    kind: kind.as_str(),
                    message,
                    counts: with_unanswered(*counts),
                })
                .collect(),
            refusals: self
                .reasons
                .iter()
                .map(|(reason, count)| Refusal {
                    reason: reason.clone(),
                    count: *count,
                })
                .collect(),
        }
    }
}

fn with_unanswered(counts: Counts) -> Counts {
    let answered = counts.accepted + counts.refused;
    Counts {
        unanswered: counts.sent.saturating_sub(answered),
        ..counts
    }
}

impl Counts {
    /// Bodies that have their answer.
    pub(super) fn answered(&self) -> u64 {
        self.accepted + self.refused
    }
}

impl Report {
    /// One JSON object a line.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let cells = |kind: &str, message: &str, counts: &Counts| {
            format!(
                "{kind:<13} {message:<58} {:>9} {:>9} {:>9} {:>8} {:>8}\n",
                counts.sent,
                counts.accepted,
                counts.duplicates,
                counts.refused + counts.unanswered,
                counts.retried
            )
        };
        let mut table = format!(
            "{:<13} {:<58} {:>9} {:>9} {:>9} {:>8} {:>8}\n",
            "kind", "message", "sent", "accepted", "known", "refused", "retried"
        );
        for row in &self.rows {
            table.push_str(&cells(row.kind, row.message, &row.counts));
        }
        table.push_str(&cells("total", "", &self.total));
        for refusal in &self.refusals {
            table.push_str(&format!("{} refused: {}\n", refusal.count, refusal.reason));
        }
        if 0 < self.total.unanswered {
            table.push_str(&format!(
                "{} without an answer at the end\n",
                self.total.unanswered
            ));
        }
        if 0 < self.total.spooled {
            table.push_str(&format!(
                "{} on the gateway's spool when answered\n",
                self.total.spooled
            ));
        }
        table.push_str(&format!(
            "{:.1} s, {:.0} accepted a second",
            self.seconds, self.rate
        ));
        let Latency { p50, p99, max } = self.latency_ms;
        // Nothing answers what is written into a file.
        if 0.0 < max {
            table.push_str(&format!(
                "; latency p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms"
            ));
        }
        table.push_str(&format!(
            "\nagain with --seed {} --start {}",
            self.seed, self.start
        ));
        table
    }
}
