//! Takes a component and events, gives answers: everything about the sandbox.

mod bindings;
pub mod bounds;
pub mod call;
pub mod code_cache;
pub mod compiler;
mod convert;
mod cores;
pub mod emit;
pub mod engine;
pub mod generation;
mod guest;
pub mod http;
mod imports;
pub mod instance;
pub mod lines;
pub mod migration;
pub mod package;
pub mod rows;
pub mod runners;
pub mod saga;
mod sending;
pub mod signature;
pub mod state_version;
mod steps;
pub mod store;
pub mod traced;
pub mod wasi;
