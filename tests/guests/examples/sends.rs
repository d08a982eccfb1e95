//! Sends the request that the event describes with the SDK's client, and emits what came back:
//! `{"n": 1, "do": "send", "url": …, "method": …, "body": …,
//! "timeout_ms": …}`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluicegate_guest::*;
use sluicegate_test_guests::emit;
use std::time::Duration;

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    n: Option<&'a RawValue>,
    url: String,
    method: Option<String>,
    body: Option<String>,
    timeout_ms: Option<u64>,
}

#[derive(Serialize)]
struct Report<'a> {
    input: &'a str,
    key: &'a str,
    n: Option<&'a RawValue>,
    status: u16,
    body: &'a str,
}

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let told: Told<'_> = event.json()?;
    let method = told.method.as_deref().unwrap_or("GET");
    let mut request =
        http::Request::new(method, told.url).header("idempotency-key", &delivery.idempotency_key);
    if let Some(body) = told.body {
        request = request.body("text/plain", body);
    }
    if let Some(millis) = told.timeout_ms {
        request = request.timeout(Duration::from_millis(millis));
    }
    let answer = request.send()?;
    let report = Report {
        input: event.id(),
        key: &delivery.partition_key,
        n: told.n,
        status: answer.status(),
        body: std::str::from_utf8(answer.body())?,
    };
    emit(&delivery, &report)
}
