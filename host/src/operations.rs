//! Takes what an operator asks or wants done, gives it, and writes down who wanted it: the same
//! for the command line and the console.

pub mod audit;
pub mod blocked;
pub mod catalogue;
pub mod compaction;
pub mod dead_letters;
pub mod fleet;
pub mod handled;
pub mod history;
pub mod letters;
pub mod mask;
mod positions;
pub mod projections;
pub mod redaction;
pub mod replays;
pub mod retention;
pub mod sagas;
pub mod schemas;
pub mod shadow;
pub mod state;
pub mod who;

pub use self::who::Who;
