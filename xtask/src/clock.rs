//! The only place of xtask that reads the clock or waits by it.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "xtask has no runtime; tests of the project do not run on this clock"
)]

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time since it was made; shown in seconds.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

impl fmt::Display for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Seconds(self.elapsed()))
    }
}

/// `0.42 s`, `12.3 s`, `4 min 05 s`.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 10.0 {
            f.pad(&format!("{seconds:.2} s"))
        } else if seconds < 100.0 {
            f.pad(&format!("{seconds:.1} s"))
        } else {
            let whole = self.0.as_secs();
            f.pad(&format!("{} min {:02} s", whole / 60, whole % 60))
        }
    }
}

/// Asks `probe` again and again until it gives something, at most for `limit`.
///
/// # Errors
/// What `probe` returns as an error ends the waiting at once; else "`what` did not
/// happen within …".
pub(crate) fn poll<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let watch = Stopwatch::start();
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if watch.elapsed() >= limit {
            bail!("{what}: not within {}", Seconds(limit));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_with_three_digits() {
        let shown = |millis| Seconds(Duration::from_millis(millis)).to_string();
        assert_eq!(shown(420), "0.42 s");
        assert_eq!(shown(12_340), "12.3 s");
        assert_eq!(shown(245_900), "4 min 05 s");
    }

    #[test]
    fn poll_gives_up_and_says_for_what_it_waited() {
        let err = poll("a pig in the sky", Duration::ZERO, || Ok(None::<()>)).unwrap_err();
        assert_eq!(err.to_string(), "a pig in the sky: not within 0.00 s");
    }
}
