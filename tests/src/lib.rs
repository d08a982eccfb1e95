//! The harness of the promise tests: a real broker, a real host and a hostile network.
//!
//! The tests in `tests/` know the daemon only as an operator knows it: the `sluice`
//! binary, the broker's streams and the admin routes. They are started by
//! `cargo xtask test`, which builds what they need and says where it is.
//!
//! In the order in which a test uses them: [`environment`] finds the programs,
//! [`broker`], [`setup`] and [`host`] run them (as [`process`]es, most often both on one
//! [`stage`], or several hosts as a [`fleet`]), [`proxy`] stands between the two, [`events`]
//! publishes inputs for the [`guests`], [`outputs`], [`metrics`] and [`histogram`] show what became of them,
//! [`prometheus`] scrapes it, [`wait`] waits for it, [`checks`] judges it. [`sluice`] runs the other verbs of the command
//! line, [`projected`] asks for rows, that stand in files or in a [`postgres`], [`doctor`] reads what one of them finds, [`component`] forges plug-in files, [`journeys`] are sagas, [`collector`] takes traces, a [`receiver`] the events of a bridge, [`kafka`], on [`objects`], and [`rabbitmq`] are its other brokers, [`kafka_front`] asks who comes to the first; a [`scene`] is looked at in a browser.
//!
//! For the gateway: [`gateway`] says who may send, [`bodies`] and [`formats`] what, [`wire`] sends
//! it, [`tls`] does so over HTTPS, [`answer`] reads what comes back, [`traffic`] sends many
//! at a rate while something breaks.
//!
//! For bridges: [`rabbitmq`] is run, [`amqp`] talks to it.

pub mod amqp;
pub mod answer;
pub mod bodies;
pub mod broker;
pub mod checks;
pub mod collector;
pub mod component;
pub mod dataverse;
pub mod doctor;
pub mod environment;
pub mod events;
pub mod fleet;
pub mod formats;
pub mod gateway;
pub mod guests;
pub mod histogram;
pub mod host;
pub mod http;
pub mod journeys;
pub mod kafka;
pub mod kafka_front;
pub mod metrics;
pub mod module;
pub mod objects;
pub mod outputs;
pub mod postgres;
pub mod process;
pub mod projected;
pub mod prometheus;
pub mod proxy;
pub mod rabbitmq;
pub mod receiver;
pub mod scene;
pub mod setup;
pub mod sluice;
pub mod stage;
pub mod stamped;
pub mod tls;
pub mod traffic;
pub mod wait;
pub mod wire;

pub use answer::Answer;
pub use broker::Broker;
pub use events::Input;
pub use fleet::Fleet;
pub use gateway::{Gateway, Source};
pub use host::Host;
pub use postgres::Postgres;
pub use setup::Setup;
pub use stage::Stage;
pub use wait::{until, within};
pub use wire::{Connection, Request};
