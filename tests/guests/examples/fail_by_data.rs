//! Does what the data says: `{"do": "ok|reject|trap|spin|retry|replay", "until": N, "n": …}`.
//!
//! `ok` emits one event; `retry` asks for one while the attempt is at most `until` (for ever
//! without it), then emits one event; `replay` asks for retries until an operator has sent
//! the event again, then emits one event.

use serde::Deserialize;
use sluicegate_guest::*;
use sluicegate_test_guests::echo;

#[derive(Deserialize)]
struct Order {
    r#do: Do,
    until: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Do {
    Ok,
    Reject,
    Trap,
    Spin,
    Retry,
    Replay,
}

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let order: Order = event.json()?;
    match order.r#do {
        Do::Ok => echo(&event, &delivery),
        Do::Reject => Err(reject("the data says reject")),
        Do::Trap => panic!("the data says trap"),
        Do::Spin => loop {
            std::hint::spin_loop();
        },
        Do::Retry if delivery.attempt <= order.until.unwrap_or(u32::MAX) => {
            Err(retry("the data says retry"))
        }
        Do::Replay if !delivery.is_replay => Err(retry("the data says that it is to be mended")),
        Do::Retry | Do::Replay => echo(&event, &delivery),
    }
}
