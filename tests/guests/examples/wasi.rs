//! For wasm32-wasip2: looks for a way out through the standard library, or misuses what WASI gives it.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the standard library's own clock and sleep are what it tries"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluicegate_guest::*;
use sluicegate_test_guests::{echo, emit};
use wasip2::clocks::monotonic_clock;
use wasip2::random::random::get_random_bytes;

/// What to do is in the event: `{"n": 1, "do": "sleep"}`.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    n: Option<&'a RawValue>,
    #[serde(rename = "do")]
    what: Option<String>,
}

#[derive(Serialize)]
struct Report<'a> {
    input: &'a str,
    key: &'a str,
    n: Option<&'a RawValue>,
    found: BTreeMap<&'static str, String>,
}

/// Whatever it does, it has staged an output before: that must not be seen when it fails.
#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let told: Told<'_> = event.json()?;
    let what = told.what.as_deref().unwrap_or("look");
    if what != "look" {
        echo(&event, &delivery)?;
    }
    match what {
        "look" => {
            return emit(
                &delivery,
                &Report {
                    input: event.id(),
                    key: &delivery.partition_key,
                    n: told.n,
                    found: look(),
                },
            );
        }
        "print" => {
            println!("printed by {}", event.id());
            eprint!("complained by {}, without a line's end", event.id());
        }
        "sleep" => std::thread::sleep(Duration::from_secs(3600)),
        "exit" => std::process::exit(0),
        "panic" => panic!("broken by {}", event.id()),
        "random" => drop(get_random_bytes(1 << 40)),
        "handles" => {
            let wait = |_| monotonic_clock::subscribe_duration(1);
            drop((0..1_000_000).map(wait).collect::<Vec<_>>());
        }
        "flood" => flood()?,
        other => return Err(reject(format!("no such behaviour: {other}"))),
    }
    Ok(())
}

/// A gigabyte of lines.
fn flood() -> io::Result<()> {
    let lines = "all work and no play\n".repeat(3_000);
    let mut stderr = io::stderr().lock();
    for _ in 0..(1 << 30) / lines.len() {
        stderr.write_all(lines.as_bytes())?;
    }
    Ok(())
}

fn look() -> BTreeMap<&'static str, String> {
    fn told<T>(result: io::Result<T>) -> String {
        match result {
            Ok(_) => "there".to_owned(),
            Err(error) => format!("refused: {error}"),
        }
    }
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let before = Instant::now();
    std::thread::sleep(Duration::from_millis(30));
    let slept = before.elapsed();
    let mut input = String::new();
    BTreeMap::from([
        ("environment", std::env::vars().count().to_string()),
        ("arguments", std::env::args().count().to_string()),
        (
            "input",
            told(io::stdin().read_to_string(&mut input)) + &input,
        ),
        ("read", told(fs::read("/etc/passwd"))),
        ("write", told(fs::write("left-behind", "x"))),
        ("list", told(fs::read_dir("/"))),
        ("up", told(fs::read_dir(".."))),
        ("tcp", told(TcpStream::connect("127.0.0.1:4222"))),
        ("udp", told(UdpSocket::bind("127.0.0.1:0"))),
        ("name", told("localhost:80".to_socket_addrs())),
        ("thread", told(std::thread::Builder::new().spawn(|| ()))),
        ("unix time", wall.unwrap_or_default().as_secs().to_string()),
        ("slept ms", slept.as_millis().to_string()),
        ("random", format!("{:?}", get_random_bytes(16))),
    ])
}
