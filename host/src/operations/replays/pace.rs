//! Takes a rate, gives turns: no more than so many a second, and no burst after a pause.

use std::time::Duration;

use tokio::time::Instant;

/// The clock does not wake for less than this.
const GRAIN: Duration = Duration::from_millis(5);

/// So many turns a second.
#[derive(Debug)]
pub(in crate::operations) struct Pace {
    between: Duration,
    next: Instant,
}

impl Pace {
    pub(in crate::operations) fn new(rate: u32) -> Self {
        Self {
            between: Duration::from_secs(1) / rate.max(1),
            next: Instant::now(),
        }
    }

    /// When the next turn is.
    pub(in crate::operations) fn due(&self) -> Instant {
        self.next.checked_sub(GRAIN).unwrap_or(self.next)
    }

    /// A turn was taken.
    pub(in crate::operations) fn taken(&mut self) {
        let now = Instant::now();
        // Late by more than some grains: what was missed is not caught up with.
        self.next = self.next.max(now.checked_sub(GRAIN * 4).unwrap_or(now));
        self.next += self.between;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep_until;

    use super::*;

    async fn turns_in(pace: &mut Pace, time: Duration) -> u32 {
        let end = Instant::now() + time;
        let mut turns = 0;
        while Instant::now() < end {
            sleep_until(pace.due()).await;
            pace.taken();
            turns += 1;
        }
        turns
    }

    #[tokio::test(start_paused = true)]
    async fn it_keeps_to_its_rate_and_does_not_catch_up() {
        for rate in [1, 7, 200, 5_000, 20_000] {
            let mut pace = Pace::new(rate);
            let turns = turns_in(&mut pace, Duration::from_secs(10)).await;
            let burst = rate / 20 + 2;
            assert!(
                10 * rate - burst <= turns && turns <= 10 * rate + burst,
                "{rate}: {turns}"
            );
            tokio::time::sleep(Duration::from_secs(60)).await;
            let turns = turns_in(&mut pace, Duration::from_secs(1)).await;
            assert!(turns <= rate + burst, "{rate}: {turns} after a pause");
        }
    }
}
