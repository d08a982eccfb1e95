//! Takes a reading of `/metrics`, gives what became of each plug-in's events.

use super::checks::Checks;
use super::metrics::Metrics;

/// A plug-in of the demo.
pub(super) struct Plugin {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Until the host is restarted.
    pub(super) expected: Outcomes,
}

/// How often what came of it, since the host was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) done: u64,
    pub(super) duplicate: u64,
    pub(super) retry: u64,
    pub(super) dead: u64,
}

pub(super) const PLUGINS: [Plugin; 5] = [
    Plugin {
        name: "audit-trail",
        about: "keeps a trail of every changed field, in its state",
        expected: Outcomes {
            done: 40,
            duplicate: 1,
            retry: 0,
            dead: 0,
        },
    },
    Plugin {
        name: "credit-hold",
        about: "announces accounts whose credit limit passes 50000",
        expected: Outcomes {
            done: 12,
            duplicate: 1,
            retry: 0,
            dead: 0,
        },
    },
    Plugin {
        name: "order-mirror",
        about: "brings order events of F&O into one shape",
        expected: Outcomes {
            done: 5,
            duplicate: 0,
            retry: 0,
            dead: 0,
        },
    },
    Plugin {
        name: "slow-erp",
        about: "books invoices in an ERP that is busy at first",
        expected: Outcomes {
            done: 1,
            duplicate: 0,
            retry: 2,
            dead: 0,
        },
    },
    Plugin {
        name: "strict-import",
        about: "imports posted invoices, in EUR and in USD",
        expected: Outcomes {
            done: 4,
            duplicate: 0,
            retry: 0,
            dead: 1,
        },
    },
];

impl Outcomes {
    pub(super) fn of(plugin: &str, metrics: &Metrics) -> Self {
        let count = |outcome| {
            let labels = [("plugin", plugin), ("outcome", outcome)];
            metrics.sum("sluicegate_outcomes_total", &labels)
        };
        Self {
            done: count("done"),
            duplicate: count("duplicate"),
            retry: count("retry"),
            dead: count("dead"),
        }
    }

    /// Events that are over and done with.
    pub(super) fn ended(self) -> u64 {
        self.done + self.duplicate + self.dead
    }

    pub(super) fn all(self) -> u64 {
        self.ended() + self.retry
    }
}

/// Of each plug-in in turn.
pub(super) fn read(metrics: &Metrics) -> [Outcomes; PLUGINS.len()] {
    PLUGINS
        .each_ref()
        .map(|plugin| Outcomes::of(plugin.name, metrics))
}

pub(super) fn show(seen: &[Outcomes; PLUGINS.len()]) {
    println!(
        "   {:<14} {:>6} {:>10} {:>8} {:>6}",
        "", "done", "duplicate", "retried", "dead"
    );
    for (plugin, seen) in PLUGINS.iter().zip(seen) {
        println!(
            "   {:<14} {:>6} {:>10} {:>8} {:>6}",
            plugin.name, seen.done, seen.duplicate, seen.retry, seen.dead
        );
    }
}

/// Adds a row for every number of which there is anything to say.
pub(super) fn compare(seen: &[Outcomes; PLUGINS.len()], checks: &mut Checks) {
    for (plugin, seen) in PLUGINS.iter().zip(seen) {
        let expected = plugin.expected;
        let numbers = [
            ("handled", expected.done, seen.done),
            (
                "suppressed as a duplicate",
                expected.duplicate,
                seen.duplicate,
            ),
            ("retries", expected.retry, seen.retry),
            ("dead letters", expected.dead, seen.dead),
        ];
        for (what, expected, seen) in numbers {
            if expected + seen > 0 {
                checks.add(format!("{}: {what}", plugin.name), expected, seen);
            }
        }
    }
}
