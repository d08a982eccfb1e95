//! Asks for another attempt at every event until one says `{"do": "heal"}`; that one, and from
//! then on all others, emit one event.

use serde::Deserialize;
use sluicegate_guest::*;
use sluicegate_test_guests::echo;

#[derive(Deserialize)]
struct Order<'a> {
    r#do: &'a str,
}

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let order: Order<'_> = event.json()?;
    if order.r#do == "heal" {
        state::put_json("up", &true)?;
    } else if state::get_json::<bool>("up")?.is_none() {
        return Err(retry("what this plug-in depends on is down"));
    }
    echo(&event, &delivery)
}
