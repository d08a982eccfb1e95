//! Values of a manifest that are allowed one by one and not together.

/// Values that do not go together.
pub(crate) struct Conflict {
    pub(crate) about: About,
    pub(crate) reason: String,
}

/// Which values.
pub(crate) enum About {
    Subjects,
    Retry,
    /// Of `on_exhausted`.
    Blocking,
    /// This key, beside `[saga]`.
    Saga(&'static str),
    /// A table and a key in it, which a projection cannot have.
    Projection(&'static str),
}

impl Conflict {
    pub(super) fn of_saga(key: &'static str, reason: String) -> Self {
        Self {
            about: About::Saga(key),
            reason,
        }
    }
}
