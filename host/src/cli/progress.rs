//! Takes counts while something goes on, shows them on standard error.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Redraws of a bar a second.
const REDRAWS: u8 = 10;

/// How far something is: a bar on a terminal; elsewhere a line every few seconds, or nothing.
#[derive(Debug)]
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines { total: Option<u64>, last: Instant },
    Nothing,
}

impl Progress {
    /// Of something that lasts; `total` is how many there will be, if that is known.
    pub(super) fn lasting(total: Option<u64>) -> Self {
        if std::io::stderr().is_terminal() {
            return Self::Bar(bar(total));
        }
        Self::Lines {
            total,
            last: Instant::now(),
        }
    }

    /// Of something that may be short: shown on a terminal only, and only if there are many.
    pub(super) fn of_many(total: usize) -> Self {
        const MANY: usize = 200;
        if total < MANY || !std::io::stderr().is_terminal() {
            return Self::Nothing;
        }
        Self::Bar(bar(Some(total as u64)))
    }

    pub(super) fn show(&mut self, count: u64, note: impl FnOnce() -> String) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(count);
                bar.set_message(note());
            }
            Self::Lines { total, last } if LINE_EVERY <= last.elapsed() => {
                *last = Instant::now();
                let of = total
                    .map(|total| format!(" of {total}"))
                    .unwrap_or_default();
                let note = note();
                let note = if note.is_empty() {
                    note
                } else {
                    format!(": {note}")
                };
                eprintln!("{count}{of} done{note}");
            }
            Self::Lines { .. } | Self::Nothing => {}
        }
    }

    /// Prints to standard output without a torn bar on the same terminal.
    pub(super) fn around<T>(&self, print: impl FnOnce() -> T) -> T {
        match self {
            Self::Bar(bar) if std::io::stdout().is_terminal() => bar.suspend(print),
            _ => print(),
        }
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(REDRAWS);
    let bar = ProgressBar::with_draw_target(total, target);
    let style = match total {
        Some(_) => "{elapsed} {wide_bar} {pos}/{len} {per_sec} eta {eta}  {msg}",
        None => "{elapsed} {spinner} {pos} {per_sec}  {msg}",
    };
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        // The two texts above are right; a bar in another style would do as well.
        Err(_) => bar,
    }
}
