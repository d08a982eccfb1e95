//! Takes what happens to a projection, gives its metrics, the labels looked up once.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::gauge;
use crate::projections::Version;
use crate::projections::store::Group;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Projection {
    projection: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ProjectionVersion {
    projection: String,
    version: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ProjectionTable {
    projection: String,
    table: String,
}

/// Those of all projections.
#[derive(Clone, Debug)]
pub(super) struct All {
    pub(super) position: Family<ProjectionVersion, Gauge>,
    pub(super) behind: Family<ProjectionVersion, Gauge>,
    pub(super) rows: Family<ProjectionTable, Gauge>,
    pub(super) applied: Family<Projection, Counter>,
    pub(super) refused: Family<Projection, Counter>,
    pub(super) lost: Family<Projection, Counter>,
    pub(super) commit: Family<Projection, Histogram>,
}

impl All {
    pub(super) fn of(&self, name: &str) -> ProjectionMetrics {
        let label = Projection {
            projection: name.to_owned(),
        };
        ProjectionMetrics {
            all: self.clone(),
            applied: self.applied.get_or_create(&label).clone(),
            refused: self.refused.get_or_create(&label).clone(),
            lost: self.lost.get_or_create(&label).clone(),
            commit: self.commit.get_or_create(&label).clone(),
            name: name.to_owned(),
        }
    }
}

/// The metrics of one projection.
#[derive(Clone, Debug)]
pub struct ProjectionMetrics {
    all: All,
    name: String,
    applied: Counter,
    refused: Counter,
    lost: Counter,
    commit: Histogram,
}

impl ProjectionMetrics {
    /// A group of events was committed.
    pub fn committed(&self, group: &Group, duration: Duration) {
        self.applied.inc_by(group.applied);
        self.refused.inc_by(group.refused.len() as u64);
        self.lost.inc_by(group.lost);
        self.commit.observe(duration.as_secs_f64());
    }

    /// How far it is.
    pub fn stand(&self, current: &Version, building: Option<&Version>) {
        for (role, version) in [("current", Some(current)), ("building", building)] {
            let label = self.version(role);
            let Some(version) = version else {
                self.all.position.remove(&label);
                self.all.behind.remove(&label);
                continue;
            };
            let position = self.all.position.get_or_create(&label).clone();
            position.set(gauge(version.standing().position));
            if let Some(behind) = version.behind() {
                let gauge_of = self.all.behind.get_or_create(&label).clone();
                gauge_of.set(gauge(behind));
            }
        }
        for (table, rows) in current.store.counts() {
            let label = ProjectionTable {
                projection: self.name.clone(),
                table,
            };
            let count = self.all.rows.get_or_create(&label).clone();
            count.set(gauge(rows));
        }
    }

    /// It is not there any more.
    pub fn gone(&self) {
        for role in ["current", "building"] {
            let label = self.version(role);
            self.all.position.remove(&label);
            self.all.behind.remove(&label);
        }
    }

    fn version(&self, role: &'static str) -> ProjectionVersion {
        ProjectionVersion {
            projection: self.name.clone(),
            version: role,
        }
    }
}
