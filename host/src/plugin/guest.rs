//! Takes a component that is linked, gives what is called of it: the export that its manifest is for.

use tokio::time::Duration;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::bindings::exports::sluicegate::plugin::{consumer, projector};
use super::bindings::sluicegate::plugin::types;
use super::convert;
use super::generation::Error;
use super::instance::Call;
use super::package::{CONSUMER, PROJECTOR, STEPS};
use super::steps::{Answer, Asked, StepFuncs, Steps};
use super::store::StoreData;
use crate::contract;
use crate::manifest::Manifest;

/// Where a component has the function that handles an event.
pub(super) enum Entry {
    Consumer(consumer::GuestIndices),
    Projector(projector::GuestIndices),
    Saga(Steps),
}

/// That function, of one instance.
pub(super) enum Guest {
    Consumer(consumer::Guest),
    Projector(projector::Guest),
    Saga(StepFuncs),
}

/// Whether a component with these exports is what its manifest says.
pub(super) fn check_exports(exports: &[String], manifest: &Manifest) -> Result<(), Error> {
    let (wanted, interface, remedy) = match (&manifest.projection, &manifest.saga) {
        (Some(_), _) => (
            PROJECTOR,
            "projector",
            "the manifest has a table [projection]: mark a function with #[projection], or take \
             the table out",
        ),
        (None, Some(_)) => (
            STEPS,
            "steps",
            "the manifest has a table [saga]: mark an impl with #[saga], or take the table out",
        ),
        (None, None) => (
            CONSUMER,
            "consumer",
            "mark a function with #[consumer]; one with #[projection] needs a table [projection] \
             in the manifest, and an impl with #[saga] a table [saga]",
        ),
    };
    if exports
        .iter()
        .any(|name| contract::is_served(name, interface))
    {
        return Ok(());
    }
    Err(Error::Misfit {
        wanted,
        found: match exports {
            [] => "nothing at all".to_owned(),
            names => names.join(", "),
        },
        remedy,
    })
}

impl Entry {
    pub(super) fn find(
        linked: &InstancePre<StoreData>,
        manifest: &Manifest,
    ) -> wasmtime::Result<Self> {
        Ok(match (&manifest.projection, &manifest.saga) {
            (Some(_), _) => Self::Projector(projector::GuestIndices::new(linked)?),
            (None, Some(_)) => Self::Saga(Steps::find(linked.component())?),
            (None, None) => Self::Consumer(consumer::GuestIndices::new(linked)?),
        })
    }

    pub(super) fn of(
        &self,
        store: &mut Store<StoreData>,
        instance: &Instance,
    ) -> wasmtime::Result<Guest> {
        Ok(match self {
            Self::Consumer(entry) => Guest::Consumer(entry.load(store, instance)?),
            Self::Projector(entry) => Guest::Projector(entry.load(store, instance)?),
            Self::Saga(entry) => Guest::Saga(entry.of(store, instance)?),
        })
    }
}

impl Guest {
    pub(super) fn handle(
        &self,
        store: &mut Store<StoreData>,
        call: &Call,
        timeout: Duration,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        let extensions = convert::extensions(&call.event);
        let event = convert::event(&call.event, &extensions);
        let delivery = delivery(call, timeout);
        match self {
            Self::Consumer(consumer) => consumer.call_handle(store, event, delivery),
            Self::Projector(projector) => projector.call_apply(store, event, delivery),
            Self::Saga(_) => Err(wasmtime::Error::msg("a saga is called by its steps")),
        }
    }

    /// Runs a step of a saga, or a compensation.
    pub(super) fn step(
        &self,
        store: &mut Store<StoreData>,
        call: &Call,
        (asked, timeout): (&Asked<'_>, Duration),
    ) -> wasmtime::Result<Result<Answer, types::Failure>> {
        match self {
            Self::Saga(steps) => steps.call(store, asked, delivery(call, timeout)),
            Self::Consumer(_) | Self::Projector(_) => {
                Err(wasmtime::Error::msg("only a saga has steps"))
            }
        }
    }
}

fn delivery(call: &Call, timeout: Duration) -> types::Delivery<'_> {
    types::Delivery {
        attempt: call.attempt,
        idempotency_key: &call.idempotency_key,
        partition_key: &call.key,
        sequence: call.sequence,
        deadline_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
        is_replay: call.is_replay,
        traceparent: Some(&call.traceparent),
    }
}
