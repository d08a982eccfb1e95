//! Takes a call, gives the parameters that the handler asks for.

use std::ops::Deref;

use serde::de::DeserializeOwned;

use crate::{Delivery, Event, Failure, Outcome};

/// One call: the event, and what the host says about it.
#[derive(Debug)]
pub struct Call {
    event: Event,
    delivery: Delivery,
}

impl Call {
    pub(crate) fn new(event: Event, delivery: Delivery) -> Self {
        Self { event, delivery }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// What the host says about this call.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }
}

/// What a handler can have as a parameter.
///
/// A type of the plug-in's own can be one too: what several handlers check is then written once.
///
/// ```
/// use sluicegate_guest::*;
///
/// /// The environment that the event is from, known and allowed.
/// struct Environment(String);
///
/// impl Extract for Environment {
///     fn extract(call: &mut Call) -> Result<Self, Failure> {
///         let environment = call.event().environment().map(|name| name.into_owned());
///         environment.map(Self).ok_or_else(|| reject("no environment in the event's source"))
///     }
/// }
///
/// #[consumer]
/// fn handle(event: Event, environment: Environment) -> Outcome {
///     info!("{} of {}", event.event_type(), environment.0);
///     Ok(())
/// }
///
/// let event = testing::record("account").update().event();
/// testing::Host::new().call(handle, event).outcome.unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler cannot have a `{Self}` as a parameter",
    note = "it can have Event, Delivery, Record<T>, BusinessEvent<T>, Data<T>, State<T>, and \
            whatever implements sluicegate_guest::Extract"
)]
pub trait Extract: Sized {
    /// Whether this takes the event out of the call, so that it comes after all others.
    #[doc(hidden)]
    const LAST: bool = false;

    /// The parameter.
    ///
    /// # Errors
    /// A failure ends the call: the handler is not run, and the host does what the failure says.
    fn extract(call: &mut Call) -> Result<Self, Failure>;
}

impl Extract for Event {
    const LAST: bool = true;

    fn extract(call: &mut Call) -> Result<Self, Failure> {
        Ok(std::mem::replace(
            &mut call.event,
            Event::builder(String::new()).build(),
        ))
    }
}

impl Extract for Delivery {
    fn extract(call: &mut Call) -> Result<Self, Failure> {
        Ok(call.delivery.clone())
    }
}

/// The event's data as a type of the plug-in's own, read as JSON: for events that are no Dynamics
/// 365 bodies, such as those that another plug-in emitted.
///
/// Data that does not fit rejects the event.
///
/// ```
/// use serde::Deserialize;
/// use sluicegate_guest::*;
///
/// #[derive(Deserialize)]
/// struct Raised {
///     limit: d365::Decimal,
/// }
///
/// #[consumer]
/// fn handle(raised: Data<Raised>) -> Outcome {
///     info!("raised to {}", raised.limit);
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data<T>(pub T);

impl<T: DeserializeOwned> Extract for Data<T> {
    fn extract(call: &mut Call) -> Result<Self, Failure> {
        Ok(Self(call.event.json()?))
    }
}

impl<T> Deref for Data<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A function that `#[consumer]` can go on: 1 to 6 parameters, each one [`Extract`], and an
/// [`Outcome`].
#[diagnostic::on_unimplemented(
    message = "#[consumer] goes on `fn(…) -> Outcome` with 1 to 6 parameters that are Extract",
    note = "such as fn(Event, Delivery) -> Outcome or fn(Record<Account>) -> Outcome"
)]
pub trait Handler<Parameters> {
    /// Takes the parameters out of the call and runs the function.
    ///
    /// # Errors
    /// What the function, or a parameter, says.
    fn handle(&self, call: Call) -> Outcome;
}

macro_rules! handler {
    ($($parameter:ident)+) => {
        impl<F, $($parameter),+> Handler<($($parameter,)+)> for F
        where
            F: Fn($($parameter),+) -> Outcome,
            $($parameter: Extract),+
        {
            #[expect(non_snake_case, reason = "a variable is called as its type")]
            fn handle(&self, mut call: Call) -> Outcome {
                let call = &mut call;
                $(let early = if $parameter::LAST { None } else { Some($parameter::extract(call)?) };
                let $parameter = early;)+
                $(let $parameter = match $parameter {
                    Some(parameter) => parameter,
                    None => $parameter::extract(call)?,
                };)+
                self($($parameter),+)
            }
        }
    };
}

handler!(A);
handler!(A B);
handler!(A B C);
handler!(A B C D);
handler!(A B C D E);
handler!(A B C D E G);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{reject, testing};

    fn event() -> Event {
        Event::builder("t").id("1").json(&[1, 2]).unwrap().build()
    }

    #[test]
    fn the_event_is_whole_wherever_it_stands_among_the_parameters() {
        fn first(event: Event, data: Data<Vec<u8>>, delivery: Delivery) -> Outcome {
            assert_eq!((event.id(), event.data()), ("1", &b"[1,2]"[..]));
            assert_eq!(*data, [1, 2]);
            assert_eq!(delivery.attempt, 1);
            Ok(())
        }
        fn last(data: Data<Vec<u8>>, event: Event) -> Outcome {
            assert_eq!(event.json::<Vec<u8>>().unwrap(), data.0);
            Ok(())
        }
        let mut host = testing::Host::new();
        host.call(first, event()).outcome.unwrap();
        host.call(last, event()).outcome.unwrap();
    }

    #[test]
    fn a_parameter_that_cannot_be_had_ends_the_call() {
        fn handle(_: Data<String>) -> Outcome {
            panic!("must not run");
        }
        let called = testing::Host::new().call(handle, event());
        let failure = called.outcome.unwrap_err();
        assert!(matches!(failure, Failure::Reject { .. }), "{failure}");

        struct Never;
        impl Extract for Never {
            fn extract(_: &mut Call) -> Result<Self, Failure> {
                Err(reject("never"))
            }
        }
        let never = |_: Event, _: Never| panic!("must not run");
        let called = testing::Host::new().call(never, event());
        assert_eq!(called.outcome, Err(reject("never")));
    }
}
