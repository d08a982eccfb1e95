//! Imports state, which its manifest does not ask for.

use sluicegate_guest::*;

#[consumer]
fn handle(_event: Event) -> Outcome {
    state::put("k", "v");
    Ok(())
}
