//! Takes a line of text, prints it; a reader that has gone away ends the program quietly.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Prints one line to standard output.
pub(super) fn print(line: Arguments<'_>) {
    let written = writeln!(std::io::stdout().lock(), "{line}");
    written.unwrap_or_else(|error| end(&error));
}

/// Writes bytes to standard output, and nothing behind them.
pub(super) fn bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.unwrap_or_else(|error| end(&error));
}

fn end(error: &std::io::Error) -> ! {
    if error.kind() != ErrorKind::BrokenPipe {
        eprintln!("error: standard output cannot be written: {error}");
    }
    // `sluice dlq list | head` has seen enough.
    std::process::exit(i32::from(error.kind() != ErrorKind::BrokenPipe));
}

/// `println!`, for a command line whose output may go into a pipe.
macro_rules! line {
    ($($text:tt)*) => { $crate::cli::output::print(format_args!($($text)*)) };
}
pub(super) use line;
