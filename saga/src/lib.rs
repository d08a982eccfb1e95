//! Takes a saga and what has happened, gives what is to be called, and what follows from the answer.
//!
//! A saga is a process of many steps over hours or weeks. It cannot be one transaction, so each
//! step says what would make it undone, its compensation, and when the saga fails, those run in
//! reverse. Here is what the host keeps of one and every rule of how it moves: no I/O and no clock,
//! so that the tests of a plug-in can run the same with a clock of their own.
//!
//! One move takes two calls. [`Saga::due`] says what is to be called, if anything; then one of
//! [`Saga::advanced`], [`Saga::compensated`] and [`Saga::gave_up`] takes how that went, and gives
//! what has to leave with the saga's new record in one commit.

mod moves;
mod record;
#[cfg(test)]
mod tests;
mod trigger;

pub use record::{
    Asked, Build, Compensation, Early, Entry, Limit, MAX_COMPENSATIONS, MAX_EARLY, MAX_EARLY_BYTES,
    MAX_ENTRIES, MAX_STATE, MAX_WAITS, Saga, Start, Status, Timer, Wait, What,
};
pub use trigger::{
    Action, Advance, Due, Given, Happened, Next, Nothing, Own, Timeout, Trigger, Waiting, matches,
};
