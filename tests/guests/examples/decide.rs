//! Rejects an account whose credit limit is above its config's `limit`; with every other it is
//! done. What a small consumer does: parse the body, decide. The benchmarks' other consumers do
//! the same with the same function.

use sluicegate_guest::*;

#[consumer]
fn handle(event: Event) -> Outcome {
    let limit: f64 = config::parse("limit")?;
    match handler::decide(event.data(), limit) {
        Ok(None) => Ok(()),
        Ok(Some(over)) => Err(reject(over)),
        Err(wrong) => Err(reject(wrong)),
    }
}
