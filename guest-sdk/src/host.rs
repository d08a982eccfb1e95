//! Takes calls of the SDK, gives them to the host that the plug-in runs in.
//!
//! In WebAssembly these are the component's imports. In a native build it is the host of
//! [`crate::testing`]; without one a log line goes to stderr, and everything else panics with an
//! advice.

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod wasm;

#[cfg(not(target_family = "wasm"))]
pub(crate) use native::*;
#[cfg(target_family = "wasm")]
pub(crate) use wasm::*;
#[cfg(target_family = "wasm")]
pub use wasm::{apply, compensate, handle, migrate, step};
