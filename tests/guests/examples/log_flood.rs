//! Logs a million lines.

use sluicegate_guest::*;

#[consumer]
fn handle(_event: Event) -> Outcome {
    for line in 0..1_000_000 {
        info!("line {line} of a million");
    }
    Ok(())
}
