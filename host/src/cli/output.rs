//! Takes a line of text, prints it; a reader that has gone away ends the program quietly.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Prints one line to standard output.
pub(super) fn print(line: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}") {
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("error: standard output cannot be written: {error}");
        }
        // `sluice dlq list | head` has seen enough.
        std::process::exit(i32::from(error.kind() != ErrorKind::BrokenPipe));
    }
}

/// `println!`, for a command line whose output may go into a pipe.
macro_rules! line {
    ($($text:tt)*) => { $crate::cli::output::print(format_args!($($text)*)) };
}
pub(super) use line;
