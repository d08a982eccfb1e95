//! Takes what a step wants, gives what is next for its saga.

use std::marker::PhantomData;
use std::time::Duration;

/// What comes after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "return it from the step"]
pub struct Next(pub(crate) Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Step(&'static str),
    Wait {
        events: Vec<(String, &'static str)>,
        timeout: Option<(Duration, &'static str)>,
    },
    Done,
    Fail(String),
    Ignore,
}

impl Next {
    /// The saga waits for an event of this type: exact, or a beginning and `*`. The manifest's
    /// `[[saga.on]]` must name it too. Of several that are waited for the first one counts, and
    /// one that came before it was waited for counts as well.
    pub fn wait_for(event_type: impl Into<String>, step: impl Target) -> Waiting {
        Waiting(Vec::new()).or_for(event_type, step)
    }

    /// The saga waits until this time is over, and for no event.
    pub fn after(time: Duration, step: PlainStep) -> Self {
        Self(Kind::Wait {
            events: Vec::new(),
            timeout: Some((time, step.0)),
        })
    }

    /// Another step at once, in a call and a commit of its own: what this one did is kept even
    /// when that one fails.
    pub fn step(step: PlainStep) -> Self {
        Self(Kind::Step(step.0))
    }

    /// The good end. Compensations that are registered are not needed any more.
    pub fn done() -> Self {
        Self(Kind::Done)
    }

    /// The saga cannot go on. What it did is undone, the last first; `why` is for people, and
    /// [`Undo::why`](crate::saga::Undo::why).
    pub fn fail(why: impl ToString) -> Self {
        Self(Kind::Fail(why.to_string()))
    }

    /// The event was not meant: as if it had not come. What the step did is not kept. After
    /// `begin` there is no saga; another step leaves the saga waiting for what it waited for.
    pub fn ignore() -> Self {
        Self(Kind::Ignore)
    }
}

/// What a saga waits for. [`at_most`](Self::at_most) or [`for_ever`](Self::for_ever) makes it
/// what is next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "say how long, by at_most or for_ever"]
pub struct Waiting(Vec<(String, &'static str)>);

impl Waiting {
    /// Or an event of this type.
    pub fn or_for(mut self, event_type: impl Into<String>, step: impl Target) -> Self {
        self.0.push((event_type.into(), step.name()));
        self
    }

    /// For this time, rounded up to milliseconds. When nothing has come by then, `step` is run.
    pub fn at_most(self, time: Duration, step: PlainStep) -> Next {
        Next(Kind::Wait {
            events: self.0,
            timeout: Some((time, step.0)),
        })
    }

    /// Without a bound. Somebody has to notice when nothing ever comes.
    pub fn for_ever(self) -> Next {
        Next(Kind::Wait {
            events: self.0,
            timeout: None,
        })
    }
}

/// A step that takes an event: what is waited for can lead to it, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventStep(&'static str);

/// A step that takes no event: anything can lead to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainStep(&'static str);

impl EventStep {
    #[doc(hidden)]
    pub const fn __of(name: &'static str) -> Self {
        Self(name)
    }
}

impl PlainStep {
    #[doc(hidden)]
    pub const fn __of(name: &'static str) -> Self {
        Self(name)
    }
}

/// A step that an event can lead to: one that takes it, or one that does not look at it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no step of a saga",
    note = "name the method of the #[saga] in capitals: Self::ORDER_CREATED"
)]
pub trait Target {
    /// Its name.
    #[doc(hidden)]
    fn name(self) -> &'static str;
}

impl Target for EventStep {
    fn name(self) -> &'static str {
        self.0
    }
}

impl Target for PlainStep {
    fn name(self) -> &'static str {
        self.0
    }
}

/// A compensation that takes data of the type `T`; `()` where it takes none.
#[derive(Debug)]
pub struct Compensation<T>(&'static str, PhantomData<fn(T)>);

impl<T> Compensation<T> {
    #[doc(hidden)]
    pub const fn __of(name: &'static str) -> Self {
        Self(name, PhantomData)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.0
    }
}
