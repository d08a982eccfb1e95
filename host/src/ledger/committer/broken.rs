//! Takes commits, writes them as a host would that keeps no promise: for the tests of the checker.
//!
//! The position first, without a fence, and the effects one after another behind it: what is
//! killed in between loses effects, and who is not the owner any more repeats them. No
//! release build has this.

use std::sync::LazyLock;
use std::time::Duration;

use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::Context;

use super::Commit;
use crate::ledger::batch::{self, Failure};

const SWITCH: &str = "SLUICE_BREAK_COMMITS";
/// The moment in which a kill loses something.
const GAP: Duration = Duration::from_millis(1);

static WANTED: LazyLock<bool> = LazyLock::new(|| std::env::var_os(SWITCH).is_some());

pub(super) fn is_wanted() -> bool {
    *WANTED
}

pub(super) async fn write(context: &Context, group: &[Commit]) -> Result<Vec<u64>, Failure> {
    let mut sequences = Vec::with_capacity(group.len());
    for commit in group {
        let mut log = commit.log.clone();
        let headers = log.headers.iter();
        log.headers = headers
            .filter(|(name, _)| **name != NATS_EXPECTED_LAST_SUBJECT_SEQUENCE)
            .flat_map(|(name, values)| values.iter().map(|value| (name.clone(), value.clone())))
            .collect();
        sequences.push(batch::one(context, &log).await?);
        for effect in &commit.effects {
            tokio::time::sleep(GAP).await;
            batch::one(context, effect).await?;
        }
    }
    Ok(sequences)
}
