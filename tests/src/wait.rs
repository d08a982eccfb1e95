//! Takes a condition and a deadline, gives what was waited for or says what was seen instead.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep, timeout};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(25);
/// A look that takes longer than this counts as a failed one.
const ONE_LOOK: Duration = Duration::from_secs(15);

/// Runs one test on a runtime of its own and fails it when it is not done in time.
///
/// Two workers: the proxy and the publishers go on while the test's body waits.
///
/// # Errors
/// Those of the test, or its being late.
pub fn within(seconds: u64, test: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async { timeout(Duration::from_secs(seconds), test).await });
    runtime.shutdown_background();
    outcome.with_context(|| format!("the test was not done in {seconds} s"))?
}

/// Looks until `look` gives a value; an error from it means "not yet".
///
/// # Errors
/// After `seconds`, with the last error in the text.
pub async fn until<T>(what: &str, seconds: u64, look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    until_every(PAUSE, what, Duration::from_secs(seconds), look).await
}

/// [`until`] for a test that has to catch a short moment: looks every `pause`.
///
/// # Errors
/// After `limit`, with the last error in the text.
pub async fn until_every<T>(
    pause: Duration,
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        let seen = match timeout(ONE_LOOK, look()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer in {ONE_LOOK:?}"),
        };
        if Instant::now() >= end {
            bail!("waited {limit:?} for {what}; last seen: {seen}");
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{anyhow, ensure};

    #[test]
    fn a_failed_wait_says_what_it_saw_last() -> Result<()> {
        within(5, async {
            let mut looks = 0;
            let failed = until("the moon", 0, async || {
                looks += 1;
                Err::<(), _>(anyhow!("look {looks}: only clouds"))
            })
            .await;
            let text = failed
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            ensure!(
                text.contains("the moon") && text.contains("look 1: only clouds"),
                "{text}"
            );
            Ok(())
        })
    }

    #[test]
    fn a_late_test_fails() {
        assert!(within(0, std::future::pending()).is_err());
    }
}
