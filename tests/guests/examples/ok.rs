//! Does nothing.

use sluicegate_guest::*;

#[consumer]
fn handle(_event: Event) -> Outcome {
    Ok(())
}
