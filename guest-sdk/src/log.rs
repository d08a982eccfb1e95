//! Lines for the operator, in the host's log, with the plug-in and the event named.
//!
//! Each level is a function for a text that is there, and a macro of the same name for one to
//! be put together: `log::info("done")`, `log::info!("{count} lines")`. The host bounds the
//! number of lines and their size for each call; what is over is cut, and the cut is logged.
//! A native build writes to stderr.

use std::fmt;

use crate::host;

pub use crate::{debug, error, info, trace, warn};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    Trace,
    /// For the author of the plug-in.
    Debug,
    /// What happened.
    Info,
    /// Something that the operator may have to look at.
    Warn,
    /// Something that the operator has to look at.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// Writes one line.
pub fn log(level: Level, message: impl AsRef<str>) {
    host::log(level, message.as_ref());
}

/// Writes one line of [`Level::Trace`].
pub fn trace(message: impl AsRef<str>) {
    log(Level::Trace, message);
}

/// Writes one line of [`Level::Debug`].
pub fn debug(message: impl AsRef<str>) {
    log(Level::Debug, message);
}

/// Writes one line of [`Level::Info`].
pub fn info(message: impl AsRef<str>) {
    log(Level::Info, message);
}

/// Writes one line of [`Level::Warn`].
pub fn warn(message: impl AsRef<str>) {
    log(Level::Warn, message);
}

/// Writes one line of [`Level::Error`].
pub fn error(message: impl AsRef<str>) {
    log(Level::Error, message);
}

/// Logs a line of level trace, put together as by [`format!`].
#[macro_export]
macro_rules! trace {
    ($($part:tt)+) => { $crate::log::trace(::std::format!($($part)+)) };
}

/// Logs a line of level debug, put together as by [`format!`].
#[macro_export]
macro_rules! debug {
    ($($part:tt)+) => { $crate::log::debug(::std::format!($($part)+)) };
}

/// Logs a line of level info, put together as by [`format!`].
#[macro_export]
macro_rules! info {
    ($($part:tt)+) => { $crate::log::info(::std::format!($($part)+)) };
}

/// Logs a line of level warn, put together as by [`format!`].
#[macro_export]
macro_rules! warn {
    ($($part:tt)+) => { $crate::log::warn(::std::format!($($part)+)) };
}

/// Logs a line of level error, put together as by [`format!`].
#[macro_export]
macro_rules! error {
    ($($part:tt)+) => { $crate::log::error(::std::format!($($part)+)) };
}
