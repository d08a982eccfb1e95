//! Counts all events under the one key `total`, which calls of different keys fight for.

use sluicegate_guest::*;

#[consumer]
fn handle(_event: Event) -> Outcome {
    let total = state::get_json::<u64>("total")?.unwrap_or(0) + 1;
    state::put_json("total", &total)?;
    Ok(())
}
