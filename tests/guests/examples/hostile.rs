//! Does the damage that the event names: `{"do": "recurse" | …}`, after it has staged an output.

use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;
use sluicegate_guest::*;
use sluicegate_test_guests::{ECHO_SUBJECT, ECHO_TYPE, echo};

#[derive(Deserialize)]
struct Told {
    r#do: String,
}

/// What it keeps from one call to the next.
static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let told: Told = event.json()?;
    if told.r#do == "ok" {
        return echo(&event, &delivery);
    }
    // Nothing of this may ever be seen.
    echo(&event, &delivery)?;
    state::put("staged", "seen");
    let megabyte = || "x".repeat(1 << 20);
    match told.r#do.as_str() {
        "recurse" => drop(black_box(recurse(black_box(1)))),
        "reject much" => return Err(reject(megabyte().repeat(8))),
        "retry much" => return Err(retry(megabyte().repeat(8))),
        "retry late" => return Err(retry_after(Duration::from_millis(u64::MAX), "never")),
        "emit a gigabyte" => (0..1_200).for_each(|_| emit(ECHO_SUBJECT, vec![b'x'; 890 << 10])),
        "emit many" => (0..1_000_000).for_each(|_| emit(ECHO_SUBJECT, Vec::new())),
        "emit a long attribute" => {
            let event = Event::builder(ECHO_TYPE).attribute("long", megabyte().repeat(4));
            outbox::emit(ECHO_SUBJECT, event);
        }
        "emit many attributes" => {
            let mut event = Event::builder(ECHO_TYPE);
            for n in 0..10_000 {
                event = event.attribute(&format!("a{n}"), "x");
            }
            outbox::emit(ECHO_SUBJECT, event);
        }
        "emit a long id" => {
            outbox::emit(ECHO_SUBJECT, Event::builder(ECHO_TYPE).id(megabyte()));
        }
        "emit a header" => {
            let id = "x\r\nNats-Expected-Stream: OTHER\r\nSluice-Plugin: other";
            outbox::emit(ECHO_SUBJECT, Event::builder(ECHO_TYPE).id(id));
        }
        "emit to a long subject" => {
            let subject = format!("d365.custom.test.business.{}.raised", megabyte());
            emit(&subject, Vec::new());
        }
        "emit to a wildcard" => emit("d365.custom.test.business.*.raised", Vec::new()),
        "emit to two lines" => emit(
            "d365.custom.test.business.e\r\nPUB x 0\r\n.raised",
            Vec::new(),
        ),
        "emit to the ledger" => emit("ledger.hostile.0.log.a.b", Vec::new()),
        "log a gigabyte" => (0..1_000).for_each(|_| log::info(megabyte())),
        "log a million" => (0..1_000_000).for_each(|_| log::info("again")),
        "write a million" => (0..1_000_000).for_each(|n| state::put(&format!("k{n}"), "x")),
        "read a million" => (0..1_000_000).for_each(|n| drop(state::get(&format!("k{n}")))),
        "a long key" => state::put(&megabyte(), "x"),
        "no key" => state::put("", "x"),
        "a big value" => state::put("big", megabyte()),
        "a key of all kinds" => {
            for key in ["a.b", "*", ">", "a b", "\r\n", "ü", "..", "\0"] {
                state::put(key, "x");
            }
            panic!("and then it breaks");
        }
        "keep all" => {
            let mut kept = KEPT.lock().unwrap_or_else(|broken| broken.into_inner());
            loop {
                kept.push(vec![1; 1 << 20]);
            }
        }
        "break after emitting" => panic!("after all was staged"),
        other => return Err(reject(format!("no such damage: {other}"))),
    }
    Err(reject("nothing stopped it"))
}

fn emit(subject: &str, data: Vec<u8>) {
    outbox::emit(subject, Event::builder(ECHO_TYPE).data("text/plain", data));
}

#[expect(unconditional_recursion, reason = "the damage")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1) + frame.iter().sum::<u64>()
}
