//! Takes one call of the host for a saga, gives it to the method that it is for, and gives back
//! what the host writes down.

use std::any::type_name;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::extract::Call;
use crate::saga::{Compensation, Given, Next, Step};
use crate::{Delivery, Extract, Failure, Outcome, reject};

/// The saga that a call is for.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) key: String,
    pub(crate) state: Vec<u8>,
    pub(crate) began: u64,
    pub(crate) version: String,
    pub(crate) why: Option<String>,
}

/// What a step knows of its saga, and tells the host.
#[derive(Debug)]
pub struct Saga {
    about: About,
    delivery: Delivery,
    compensations: Vec<(&'static str, Vec<u8>)>,
}

impl Saga {
    /// Registers what undoes this step, with all that it needs to know. When the saga fails or
    /// is cancelled, what was registered last is run first. It counts with the step's commit: of
    /// a step that fails nothing is registered.
    ///
    /// # Errors
    /// A rejection when JSON has no form for the data.
    pub fn undo_with<T: Serialize>(&mut self, compensation: Compensation<T>, data: &T) -> Outcome {
        let name = compensation.name();
        let data = serde_json::to_vec(data).map_err(|error| {
            reject(format_args!(
                "the data of the compensation `{name}` cannot be written as JSON: {error}"
            ))
        })?;
        self.compensations.push((name, data));
        Ok(())
    }

    /// The one thing that all events of the saga have in common.
    pub fn key(&self) -> &str {
        &self.about.key
    }

    /// When it began, in Unix milliseconds.
    pub fn began(&self) -> u64 {
        self.about.began
    }

    /// The version of the plug-in that it began with. It is not this one where the manifest says
    /// `running = "migrate"` and the saga is older.
    pub fn version(&self) -> &str {
        &self.about.version
    }

    /// What the host says about this call. Give the idempotency key to systems outside.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }
}

/// What a compensation knows of its saga.
#[derive(Debug)]
pub struct Undo {
    about: About,
    delivery: Delivery,
}

impl Undo {
    /// Why the saga is undone: what a step gave to [`Next::fail`], the failure that it ended
    /// with, or who has cancelled it and why.
    pub fn why(&self) -> &str {
        self.about.why.as_deref().unwrap_or_default()
    }

    /// The one thing that all events of the saga have in common.
    pub fn key(&self) -> &str {
        &self.about.key
    }

    /// When it began, in Unix milliseconds.
    pub fn began(&self) -> u64 {
        self.about.began
    }

    /// The version of the plug-in that the saga began with.
    pub fn version(&self) -> &str {
        &self.about.version
    }

    /// What the host says about this call. Give the idempotency key to systems outside.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }
}

/// What `#[saga]` makes of a type. Its methods are for the host, and for its double in tests.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no saga",
    note = "put #[saga] on an `impl {Self}` with its steps"
)]
pub trait Steps: Serialize + DeserializeOwned + Default {
    /// The names of its steps,
    const STEPS: &'static [&'static str];
    /// and of its compensations.
    const COMPENSATIONS: &'static [&'static str];

    #[doc(hidden)]
    fn __step(&mut self, name: &str, saga: &mut Saga, event: Option<crate::Event>) -> Step;

    #[doc(hidden)]
    fn __compensate(&mut self, name: &str, undo: &Undo, data: &[u8]) -> Outcome;
}

/// What a step gave, and what the host writes down with it.
#[derive(Debug)]
pub(crate) struct Advance {
    pub(crate) state: Vec<u8>,
    pub(crate) compensations: Vec<(&'static str, Vec<u8>)>,
    pub(crate) next: Next,
}

/// Runs a step.
pub(crate) fn advance<S: Steps>(
    name: &str,
    about: About,
    event: Given,
    delivery: Delivery,
) -> Result<Advance, Failure> {
    let mut kept: S = read(&about)?;
    let mut saga = Saga {
        about,
        delivery,
        compensations: Vec::new(),
    };
    let next = kept.__step(name, &mut saga, event)?;
    Ok(Advance {
        state: write(&kept)?,
        compensations: saga.compensations,
        next,
    })
}

/// Runs a compensation.
pub(crate) fn compensate<S: Steps>(
    name: &str,
    about: About,
    data: &[u8],
    delivery: Delivery,
) -> Result<Vec<u8>, Failure> {
    let mut kept: S = read(&about)?;
    let undo = Undo { about, delivery };
    kept.__compensate(name, &undo, data)?;
    write(&kept)
}

fn read<S: Steps>(about: &About) -> Result<S, Failure> {
    if about.state.is_empty() {
        return Ok(S::default());
    }
    serde_json::from_slice(&about.state).map_err(|error| {
        reject(format_args!(
            "what the saga keeps since version {} does not fit {}: {error}; a field that is new \
             needs #[serde(default)]",
            about.version,
            type_name::<S>()
        ))
    })
}

fn write<S: Steps>(kept: &S) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(kept).map_err(|error| {
        reject(format_args!(
            "what the saga keeps cannot be written as JSON: {error}"
        ))
    })
}

/// The failure of a call that is for no step of this build.
#[doc(hidden)]
pub fn unknown(name: &str, there_are: &[&str]) -> Failure {
    reject(format_args!(
        "this build has no step `{name}`; it has {}",
        there_are.join(", ")
    ))
}

/// The failure of a step that takes an event and got none.
#[doc(hidden)]
pub fn without_event(name: &str) -> Failure {
    reject(format_args!(
        "the step `{name}` takes an event and was called without one"
    ))
}

/// A parameter of a step; the event itself is taken out of the call when all others are there.
#[doc(hidden)]
pub fn taken<P: Extract>(call: &mut Call, last: bool, into: &mut Option<P>) -> Outcome {
    if P::LAST == last {
        *into = Some(P::extract(call)?);
    }
    Ok(())
}

/// The data of a compensation.
#[doc(hidden)]
pub fn data_of<T: DeserializeOwned>(name: &str, data: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(data).map_err(|error| {
        reject(format_args!(
            "the data of the compensation `{name}` does not fit {}: {error}",
            type_name::<T>()
        ))
    })
}
