//! Takes a seed and a plan, gives the bodies that Dynamics 365 would send, and when.

use std::time::Duration;

use bytes::Bytes;

use super::context::Context;
use super::pace::Pace;
use super::world::World;
use super::{business, data_event, dataverse};

/// Of a hundred events of all kinds so many are Dataverse's, and business events.
const DATAVERSE: u64 = 70;
const BUSINESS: u64 = 18;

/// Which events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kinds {
    /// Operations on Dataverse's own tables.
    Dataverse,
    /// Finance and Operations: business events and data events.
    Fno,
    /// Both.
    All,
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Dataverse,
    Business,
    Data,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::Dataverse => "dataverse",
            Kind::Business => "fno business",
            Kind::Data => "fno data",
        }
    }
}

/// What makes the traffic; the same plan gives the same bodies.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) start_ms: i64,
    pub(super) kinds: Kinds,
    /// Events a second; 0 is as fast as it goes.
    pub(super) rate: f64,
    /// Events more at once, every five seconds.
    pub(super) burst: u64,
    /// Different events at most.
    pub(super) count: Option<u64>,
    /// Nothing is due from then on.
    pub(super) until: Option<Duration>,
    /// Percentages.
    pub(super) truncate: f64,
    pub(super) duplicates: f64,
    pub(super) reorder: f64,
}

/// One body, with what the source says about it beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) kind: Kind,
    /// Dataverse's message, or the business event's id.
    pub(super) message: &'static str,
    /// Empty for business events.
    pub(super) table: &'static str,
    pub(super) correlation: String,
    pub(super) is_truncated: bool,
    /// After the start.
    pub(super) due: Duration,
    pub(super) bytes: Bytes,
}

/// The bodies, each one once and in the order in which they happened.
#[derive(Debug)]
pub(super) struct Traffic {
    world: World,
    plan: Plan,
    pace: Pace,
    made: u64,
    control: u64,
}

impl Traffic {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            world: World::new(plan.seed, plan.start_ms),
            pace: Pace::new(plan.rate, plan.burst),
            plan: plan.clone(),
            made: 0,
            control: 0,
        }
    }

    fn kind(&mut self) -> Kind {
        let dice = self.world.below(100);
        match self.plan.kinds {
            Kinds::Dataverse => Kind::Dataverse,
            Kinds::All if dice < DATAVERSE => Kind::Dataverse,
            Kinds::All if dice < DATAVERSE + BUSINESS => Kind::Business,
            Kinds::All => Kind::Data,
            Kinds::Fno if dice < 60 => Kind::Business,
            Kinds::Fno => Kind::Data,
        }
    }

    fn context(&mut self, kind: Kind, due: Duration, context: &Context) -> Body {
        let is_truncated = self.world.chance(self.plan.truncate);
        Body {
            kind,
            message: context.message,
            table: context.table,
            correlation: context.correlation.to_string(),
            is_truncated,
            due,
            bytes: context.body(&self.world, is_truncated).into(),
        }
    }
}

impl Iterator for Traffic {
    type Item = Body;

    fn next(&mut self) -> Option<Body> {
        if self.plan.count.is_some_and(|count| count <= self.made) {
            return None;
        }
        let due = self.pace.next()?;
        if self.plan.until.is_some_and(|until| until <= due) {
            return None;
        }
        self.made += 1;
        let since = i64::try_from(due.as_millis()).unwrap_or_default();
        let at_ms = self.plan.start_ms.saturating_add(since);
        let kind = self.kind();
        Some(match kind {
            Kind::Dataverse => {
                let context = dataverse::operation(&mut self.world, at_ms);
                self.context(kind, due, &context)
            }
            Kind::Data => {
                let context = data_event::operation(&mut self.world, at_ms);
                self.context(kind, due, &context)
            }
            Kind::Business => {
                let event = business::event(&mut self.world, &mut self.control, at_ms);
                Body {
                    kind,
                    message: event.id,
                    table: "",
                    correlation: String::new(),
                    is_truncated: false,
                    due,
                    bytes: event.body.into(),
                }
            }
        })
    }
}
