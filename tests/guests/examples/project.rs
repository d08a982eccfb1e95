//! A projection: `keys` has the count, the sum and the last `n` of each key, `lines` one row an
//! event. An event is told what to do: `delete` (the row of its key), `move` (its sum to the key that
//! `to` names), `reject`, `trap`, `retry` (until the third attempt), `array` (a row that is none),
//! `stranger` (a table that is none). A row has the config's `mark`, if there is one.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sluicegate_guest::*;

#[derive(Deserialize)]
struct Input {
    n: i64,
    #[serde(rename = "do")]
    what: Option<String>,
    to: Option<String>,
    text: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Key {
    count: u64,
    sum: i64,
    last: i64,
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
}

#[projection]
fn apply(event: Event, delivery: Delivery, input: Data<Input>) -> Outcome {
    let key = delivery.partition_key.as_str();
    let Input { n, what, to, text } = input.0;
    let mut row: Key = rows::get_json("keys", key)?.unwrap_or_default();
    row.count += 1;
    row.sum += n;
    row.last = n;
    row.mark = config::get("mark");
    row.text = text.or(row.text);
    rows::put_json("keys", key, &row)?;
    let line = json!({ "key": key, "n": n, "at": { "sequence": delivery.sequence } });
    rows::put_json("lines", event.id(), &line)?;
    match what.as_deref() {
        Some("delete") => rows::delete("keys", key),
        Some("move") => {
            let to = to.ok_or_else(|| reject("where to"))?;
            let mut other: Key = rows::get_json("keys", &to)?.unwrap_or_default();
            other.sum += row.sum;
            other.mark = config::get("mark");
            rows::put_json("keys", &to, &other)?;
            rows::delete("keys", key);
        }
        Some("reject") => return Err(reject("told to")),
        Some("trap") => panic!("told to"),
        Some("retry") if delivery.attempt < 3 => return Err(retry("told to")),
        Some("array") => rows::put("keys", key, "[1]"),
        Some("stranger") => rows::put("others", key, "{}"),
        _ => {}
    }
    Ok(())
}
