//! The harness of the promise tests: a real broker, a real host and a hostile network.
//!
//! The tests in `tests/` know the daemon only as an operator knows it: the `sluice`
//! binary, the broker's streams and the admin routes. They are started by
//! `cargo xtask test`, which builds what they need and says where it is.
//!
//! In the order in which a test uses them: [`environment`] finds the programs,
//! [`broker`] and [`host`] run them (as [`process`]es, most often both on one [`stage`]),
//! [`proxy`] stands between the two, [`events`] publishes inputs for the [`guests`],
//! [`outputs`] and [`metrics`] show what became of them, [`wait`] waits for it, [`checks`]
//! judges it. [`sluice`] runs the other verbs of the command line, [`component`] forges
//! plug-in files.

pub mod broker;
pub mod checks;
pub mod component;
pub mod environment;
pub mod events;
pub mod guests;
pub mod host;
pub mod http;
pub mod metrics;
pub mod outputs;
pub mod process;
pub mod proxy;
pub mod sluice;
pub mod stage;
pub mod wait;

pub use broker::Broker;
pub use events::Input;
pub use host::{Host, Setup};
pub use stage::Stage;
pub use wait::{until, within};
