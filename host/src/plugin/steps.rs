//! Takes a saga's step, gives the guest's answer: the export `steps` of `wit/saga.wit`.

use sluicegate_saga::{Advance, Compensation, Next, Saga, Timeout, Wait, Waiting};
use wasmtime::Store;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, Func, Instance, Lift, Lower,
};

use super::bindings::sluicegate::plugin::types;
use super::convert;
use super::package::STEPS;
use super::store::StoreData;
use crate::event::Event;

/// Where a component exports the two functions.
pub(super) struct Steps {
    step: ComponentExportIndex,
    compensate: ComponentExportIndex,
}

/// Those of an instance.
pub(super) struct StepFuncs {
    step: Func,
    compensate: Func,
}

/// What is called.
pub(super) struct Asked<'a> {
    pub(super) name: &'a str,
    pub(super) key: &'a str,
    pub(super) saga: &'a Saga,
    pub(super) with: With<'a>,
}

/// With what.
pub(super) enum With<'a> {
    /// A step: with an event, or none.
    Event(Option<&'a Event>),
    /// A compensation: with its data.
    Data(&'a [u8]),
}

/// What it gives.
#[derive(Debug)]
pub(super) enum Answer {
    Step(Advance),
    /// What the saga keeps.
    Compensation(Vec<u8>),
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct SagaParam<'a> {
    key: &'a str,
    state: &'a [u8],
    began: u64,
    version: &'a str,
    why: Option<&'a str>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct CompensationResult {
    step: String,
    data: Vec<u8>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct WaitResult {
    #[component(name = "type")]
    event_type: String,
    step: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct TimeoutResult {
    after: u64,
    step: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct WaitingResult {
    events: Vec<WaitResult>,
    timeout: Option<TimeoutResult>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum NextResult {
    #[component(name = "step")]
    Step(String),
    #[component(name = "wait")]
    Wait(WaitingResult),
    #[component(name = "done")]
    Done,
    #[component(name = "fail")]
    Fail(String),
    #[component(name = "ignore")]
    Ignore,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct AdvanceResult {
    state: Vec<u8>,
    compensations: Vec<CompensationResult>,
    next: NextResult,
}

type Stepped = (Result<AdvanceResult, types::Failure>,);
type Compensated = (Result<Vec<u8>, types::Failure>,);

impl Steps {
    /// Fails where it does not export them.
    pub(super) fn find(component: &Component) -> wasmtime::Result<Self> {
        let find = |name| {
            let interface = component.get_export_index(None, STEPS)?;
            component.get_export_index(Some(&interface), name)
        };
        Ok(Self {
            step: find("step").ok_or_else(missing)?,
            compensate: find("compensate").ok_or_else(missing)?,
        })
    }

    /// Those of an instance of it.
    pub(super) fn of(
        &self,
        store: &mut Store<StoreData>,
        instance: &Instance,
    ) -> wasmtime::Result<StepFuncs> {
        let step = instance.get_func(&mut *store, self.step);
        let compensate = instance.get_func(&mut *store, self.compensate);
        let funcs = StepFuncs {
            step: step.ok_or_else(missing)?,
            compensate: compensate.ok_or_else(missing)?,
        };
        // What does not fit is found at load, since an instance is made there.
        funcs.step.typed::<StepParams<'_>, Stepped>(&*store)?;
        funcs
            .compensate
            .typed::<CompensateParams<'_>, Compensated>(&*store)?;
        Ok(funcs)
    }
}

fn missing() -> wasmtime::Error {
    wasmtime::Error::msg(format!("the component has no functions of {STEPS}"))
}

type StepParams<'a> = (
    &'a str,
    SagaParam<'a>,
    Option<types::EventParam<'a>>,
    types::Delivery<'a>,
);
type CompensateParams<'a> = (&'a str, SagaParam<'a>, &'a [u8], types::Delivery<'a>);

impl StepFuncs {
    pub(super) fn call(
        &self,
        store: &mut Store<StoreData>,
        asked: &Asked<'_>,
        delivery: types::Delivery<'_>,
    ) -> wasmtime::Result<Result<Answer, types::Failure>> {
        let Asked {
            name, key, saga, ..
        } = asked;
        let param = SagaParam {
            key,
            state: &saga.state,
            began: saga.began,
            version: &saga.version,
            why: saga.why.as_deref(),
        };
        match asked.with {
            With::Event(event) => {
                let extensions = event.map(convert::extensions).unwrap_or_default();
                let event = event.map(|event| convert::event(event, &extensions));
                let typed = self.step.typed::<StepParams<'_>, Stepped>(&*store)?;
                let (answer,) = typed.call(store, (name, param, event, delivery))?;
                Ok(answer.map(|advance| Answer::Step(advance.into())))
            }
            With::Data(data) => {
                let typed = self
                    .compensate
                    .typed::<CompensateParams<'_>, Compensated>(&*store)?;
                let (answer,) = typed.call(store, (name, param, data, delivery))?;
                Ok(answer.map(Answer::Compensation))
            }
        }
    }
}

impl From<AdvanceResult> for Advance {
    fn from(given: AdvanceResult) -> Self {
        let compensations = given.compensations.into_iter();
        Self {
            state: given.state,
            compensations: compensations
                .map(|one| Compensation {
                    step: one.step,
                    data: one.data,
                })
                .collect(),
            next: match given.next {
                NextResult::Step(step) => Next::Step(step),
                NextResult::Wait(waiting) => Next::Wait(waiting.into()),
                NextResult::Done => Next::Done,
                NextResult::Fail(why) => Next::Fail(why),
                NextResult::Ignore => Next::Ignore,
            },
        }
    }
}

impl From<WaitingResult> for Waiting {
    fn from(given: WaitingResult) -> Self {
        let events = given.events.into_iter();
        Self {
            events: events
                .map(|wait| Wait {
                    event_type: wait.event_type,
                    step: wait.step,
                })
                .collect(),
            timeout: given.timeout.map(|timeout| Timeout {
                after: timeout.after,
                step: timeout.step,
            }),
        }
    }
}
