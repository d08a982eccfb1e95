//! Takes the host's call for a saga, gives it to the method that it is for.

use super::speak_up;
use crate::bindings::saga::exports::sluicegate::plugin::steps as wit;
use crate::bindings::sluicegate::plugin::types;
use crate::saga::{self, About, Advance, Kind, Next, Steps};

/// What the export calls for a step.
pub fn step<S: Steps>(
    name: &str,
    saga: wit::Saga,
    event: Option<types::Event>,
    delivery: types::Delivery,
) -> Result<wit::Advance, types::Failure> {
    speak_up();
    let event = event.map(Into::into);
    let advance = saga::advance::<S>(name, saga.into(), event, delivery.into())?;
    Ok(advance.into())
}

/// What the export calls for a compensation.
pub fn compensate<S: Steps>(
    name: &str,
    saga: wit::Saga,
    data: &[u8],
    delivery: types::Delivery,
) -> Result<Vec<u8>, types::Failure> {
    speak_up();
    Ok(saga::compensate::<S>(
        name,
        saga.into(),
        data,
        delivery.into(),
    )?)
}

impl From<wit::Saga> for About {
    fn from(saga: wit::Saga) -> Self {
        Self {
            key: saga.key,
            state: saga.state,
            began: saga.began,
            version: saga.version,
            why: saga.why,
        }
    }
}

impl From<Advance> for wit::Advance {
    fn from(advance: Advance) -> Self {
        let compensations = advance.compensations.into_iter();
        Self {
            state: advance.state,
            compensations: compensations
                .map(|(step, data)| wit::Compensation {
                    step: step.to_owned(),
                    data,
                })
                .collect(),
            next: advance.next.into(),
        }
    }
}

impl From<Next> for wit::Next {
    fn from(next: Next) -> Self {
        match next.0 {
            Kind::Step(step) => Self::Step(step.to_owned()),
            Kind::Wait { events, timeout } => Self::Wait(wit::Waiting {
                events: events
                    .into_iter()
                    .map(|(type_, step)| wit::Wait {
                        type_,
                        step: step.to_owned(),
                    })
                    .collect(),
                timeout: timeout.map(|(after, step)| wit::Timeout {
                    after: saga::milliseconds(after),
                    step: step.to_owned(),
                }),
            }),
            Kind::Done => Self::Done,
            Kind::Fail(why) => Self::Fail(why),
            Kind::Ignore => Self::Ignore,
        }
    }
}
