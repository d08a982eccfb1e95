//! Counts the events of each key: as a plain number under `seen/<key>`, or, where `shape` is `new`,
//! as an object under `count/<key>`, to which it carries the plain numbers over.

use serde::{Deserialize, Serialize};
use sluicegate_guest::*;

#[derive(Serialize, Deserialize)]
struct Count {
    count: u64,
}

#[consumer]
fn handle(_event: Event, delivery: Delivery) -> Outcome {
    let key = &delivery.partition_key;
    if is_new() {
        let key = format!("count/{key}");
        let count = state::get_json::<Count>(&key)?.map_or(0, |count| count.count);
        state::put_json(&key, &Count { count: count + 1 })?;
    } else {
        let key = format!("seen/{key}");
        let count = state::get_json::<u64>(&key)?.unwrap_or(0);
        state::put_json(&key, &(count + 1))?;
    }
    Ok(())
}

#[migrate]
fn carry(_from: u16, key: String, value: Vec<u8>) -> Migrated {
    let count: u64 = serde_json::from_slice(&value)?;
    match config::get("carry").as_deref() {
        Some("refuse") if count.is_multiple_of(2) => {
            Err(reject("an even number cannot be carried over"))
        }
        Some("trap") => panic!("broken on purpose"),
        Some("spin") => loop {
            std::hint::spin_loop();
        },
        Some("clash") => Ok(vec![("one".to_owned(), value)]),
        Some("write") => {
            state::put("side", "effect");
            Ok(Vec::new())
        }
        _ => {
            let key = key.replacen("seen/", "count/", 1);
            Ok(vec![(key, serde_json::to_vec(&Count { count })?)])
        }
    }
}

fn is_new() -> bool {
    config::get("shape").as_deref() == Some("new")
}
