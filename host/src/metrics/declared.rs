//! Takes a metric with its name, gives it back registered: each is declared in one place.

use prometheus_client::registry::{Metric, Registry, Unit};

/// The registry in the making.
pub(super) struct Declared(Registry);

impl Default for Declared {
    fn default() -> Self {
        Self(Registry::with_prefix("sluicegate"))
    }
}

impl Declared {
    pub(super) fn register<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    pub(super) fn register_with_unit<M: Metric + Clone>(
        &mut self,
        name: &str,
        help: &str,
        unit: Unit,
        metric: M,
    ) -> M {
        self.0.register_with_unit(name, help, unit, metric.clone());
        metric
    }
}

impl From<Declared> for Registry {
    fn from(declared: Declared) -> Self {
        declared.0
    }
}
