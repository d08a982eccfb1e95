//! The Sluicegate host: Dynamics 365 events from NATS JetStream to sandboxed plug-ins.
//!
//! The modules stand in the order in which an event passes through them:
//!
//! ```text
//! gateway -> (broker) -> cursor -> decode -> route -> lane -> plugin::call -> outcome -> backoff -> ledger
//! ```
//!
//! [`partition`] is the spine that runs them, one task for each partition of each plug-in;
//! [`host`] wires everything together.

pub mod gateway;

pub mod http_binding;

pub mod cursor;

pub mod claim_check;
pub mod redacted;

pub mod decode;
pub mod delivery;

pub mod event;

pub mod route;

pub mod lane;

pub mod held;

pub mod contract;

pub mod bridge;

pub mod plugin;

pub mod outcome;

pub mod backoff;

pub mod breaker;

pub mod journal;

pub mod ledger;

pub mod encode;

pub mod carry_over;

pub mod partition;

pub mod ownership;

pub mod leases;

pub mod host;

pub mod load;

pub mod catalog;

pub mod deployment;

pub mod objects;

pub mod builds;
pub mod rollout;

pub mod projections;

pub mod relaying;

pub mod schemas;

pub mod system_events;

pub mod roster;

pub mod manifest;

pub mod config;

pub mod broker;

pub mod nats_server;

pub mod tls;

pub mod operations;

pub mod console;

pub mod admin;

pub mod health;

pub mod metrics;

pub mod telemetry;

pub mod clock;

mod digest;

pub mod hex;

pub mod cli;
