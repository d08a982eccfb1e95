//! Takes what bodies looked like, gives the schemas of their types: versions in the KV bucket `schemas`.
//!
//! A version never changes: what is learnt or imported anew is the next one. The same schemas are
//! files in git, `<type>/<version>.json`.

pub mod drifts;
pub mod files;
pub mod fits;
pub mod fitting;
pub mod known;
pub mod learning;
pub mod readers;
pub mod registry;
pub mod upcasts;
pub mod watcher;

pub use registry::{Error, Version, stream_config};
pub use watcher::Watcher;
