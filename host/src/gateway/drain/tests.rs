//! The spool with a real nats-server. Without one in `SLUICE_NATS_SERVER`, all of this is skipped.

mod server;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_MESSAGE_ID};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::server::{Server, server};
use super::*;
use crate::gateway::spool::gate::{Kept, Unavailable};

const SUBJECT: &str = "d365.custom.test.custom.thing.raised.3";
const FOREVER: Duration = Duration::from_secs(3_600);

fn event(id: &str, key: &str) -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, format!("/custom/test#{id}"));
    headers.insert("ce-id", id);
    Outgoing {
        subject: SUBJECT.to_owned(),
        headers,
        payload: Bytes::from(vec![b'x'; 2_000]),
        key: key.to_owned(),
    }
}

/// The gateway's end of it: a spool with its drain.
struct Door {
    spooler: Arc<Spooler>,
    publisher: Publisher,
    stop: CancellationToken,
    tracker: TaskTracker,
    draining: JoinHandle<()>,
}

impl Door {
    async fn open(folder: &TempDir, server: &Server, dedup_window: Duration) -> Self {
        let tracker = TaskTracker::new();
        let opened = Spool::open(folder.path(), 1 << 30, &tracker).await;
        let spooler = Arc::new(Spooler::new(opened.expect("opens")));
        let publisher = Publisher::new(server.context(), false);
        let stop = CancellationToken::new();
        let drain = Drain::new(
            Arc::clone(&spooler),
            publisher.clone(),
            dedup_window,
            FOREVER,
        );
        let draining = tracker.spawn(drain.run(stop.clone()));
        Self {
            spooler,
            publisher,
            stop,
            tracker,
            draining,
        }
    }

    async fn accept(&self, outgoing: &[Outgoing]) -> Result<Vec<Kept>, Unavailable> {
        self.spooler.accept(&self.publisher, outgoing).await
    }

    async fn empty(&self) {
        let is_empty = async || {
            let standing = self.spooler.spool().standing();
            !self.spooler.is_spooling() && standing.records == 0
        };
        until("the spool is empty and the broker is used", is_empty).await;
    }

    /// Stops as the host does, and waits until the file is closed.
    async fn close(self) {
        self.stop.cancel();
        let stopped = timeout(Duration::from_secs(1), self.draining).await;
        stopped.expect("within a second").expect("no panic");
        drop(self.spooler);
        self.tracker.close();
        self.tracker.wait().await;
    }
}

async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !look().await {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What each key waits between two events. Without it a fast disk takes more than an unoptimised
/// build brings to the broker, and the spool of a load that never lets up is never empty.
const PACE: Duration = Duration::from_millis(25);

/// Sends numbered events of one key, one after another, as a source does that sends again
/// what was not accepted. Gives the ids, in the order of their answers.
async fn sends(door: Arc<Door>, key: String, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut accepted = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let id = format!("{key}-{number}");
        while door.accept(&[event(&id, &key)]).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        accepted.push(id);
        sleep(PACE).await;
    }
    accepted
}

/// Each of the accepted is there once, in the order of its key, and nothing else is.
async fn assert_each_once_in_order(server: &Server, accepted: &[Vec<String>]) {
    let mut stored: HashMap<String, Vec<String>> = HashMap::new();
    for id in server.stored_ids().await {
        let key = id.rsplit_once('-').expect("a key").0.to_owned();
        stored.entry(key).or_default().push(id);
    }
    for ids in accepted {
        let key = ids[0].rsplit_once('-').expect("a key").0;
        assert_eq!(stored.remove(key).as_ref(), Some(ids), "key {key}");
    }
    assert!(stored.is_empty(), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_restarted_under_load_every_answered_event_is_stored_once_in_order() {
    let Some(mut server) = server().await else {
        return;
    };
    let folder = TempDir::new().expect("a folder");
    let door = Arc::new(Door::open(&folder, &server, Duration::from_secs(120)).await);
    let stop = Arc::new(AtomicBool::new(false));
    let sending: Vec<_> = (0..64)
        .map(|key| {
            let sends = sends(Arc::clone(&door), format!("key{key}"), Arc::clone(&stop));
            door.tracker.spawn(sends)
        })
        .collect();
    let spooled = AtomicU64::new(0);
    for _ in 0..3 {
        sleep(Duration::from_millis(500)).await;
        server.kill().await;
        until("events are spooled", async || {
            let records = door.spooler.spool().standing().records;
            spooled.fetch_max(records, Ordering::Relaxed);
            200 < records
        })
        .await;
        server.start().await;
        // Under load, too, it goes back to the broker.
        door.empty().await;
    }
    stop.store(true, Ordering::Release);
    let mut accepted = Vec::new();
    for sending in sending {
        accepted.push(sending.await.expect("no panic"));
    }
    door.empty().await;
    assert_each_once_in_order(&server, &accepted).await;
    let total: usize = accepted.iter().map(Vec::len).sum();
    println!("{total} events, at most {spooled:?} in the spool at once");
}

/// It may have what it did not answer, and gets all of it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_hangs_gets_every_event_once_and_nobody_waits_for_it() {
    let Some(server) = server().await else {
        return;
    };
    let folder = TempDir::new().expect("a folder");
    let door = Arc::new(Door::open(&folder, &server, Duration::from_secs(120)).await);
    let stop = Arc::new(AtomicBool::new(false));
    let sending: Vec<_> = (0..30)
        .map(|key| {
            let sends = sends(Arc::clone(&door), format!("key{key}"), Arc::clone(&stop));
            door.tracker.spawn(sends)
        })
        .collect();
    for _ in 0..2 {
        sleep(Duration::from_millis(300)).await;
        server.freeze(true).await;
        until("events are spooled", async || {
            200 < door.spooler.spool().standing().records
        })
        .await;
        let started = Instant::now();
        let answer = door.accept(&[event("other-0", "other")]).await;
        assert_eq!(answer, Ok(vec![Kept::Spooled]));
        assert!(started.elapsed() < Duration::from_secs(1));
        server.freeze(false).await;
        door.empty().await;
    }
    stop.store(true, Ordering::Release);
    let mut accepted = vec![vec!["other-0".to_owned()]];
    for sending in sending {
        accepted.push(sending.await.expect("no panic"));
    }
    door.empty().await;
    assert_each_once_in_order(&server, &accepted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_too_may_end_while_the_broker_is_away_and_while_the_spool_is_drained() {
    let Some(mut server) = server().await else {
        return;
    };
    let folder = TempDir::new().expect("a folder");
    let mut accepted: Vec<Vec<String>> = (0..20).map(|_| Vec::new()).collect();
    server.kill().await;
    let mut number = 0;
    for restart in 0..4 {
        let door = Door::open(&folder, &server, Duration::from_secs(120)).await;
        for _ in 0..60 {
            let mut batch = Vec::new();
            for _ in 0..25 {
                let key = number % accepted.len();
                let id = format!("key{key}-{number}");
                batch.push(event(&id, &format!("key{key}")));
                accepted[key].push(id);
                number += 1;
            }
            let answer = door.accept(&batch).await;
            assert_eq!(answer, Ok(vec![Kept::Spooled; 25]));
        }
        if restart == 3 {
            server.start().await;
            let stored = async || 300 < server.stored_ids().await.len();
            until("it is being drained", stored).await;
        }
        door.close().await;
    }
    let door = Door::open(&folder, &server, Duration::from_secs(120)).await;
    door.empty().await;
    assert_each_once_in_order(&server, &accepted).await;
    let direct = door.accept(&[event("key0-last", "key0")]).await;
    assert!(
        matches!(direct.as_deref(), Ok([Kept::Stored(_)])),
        "{direct:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_is_spooled_for_and_drained_when_it_has_room() {
    let Some(server) = server().await else {
        return;
    };
    server.bound_messages(10).await;
    let folder = TempDir::new().expect("a folder");
    let door = Door::open(&folder, &server, Duration::from_secs(120)).await;
    let mut accepted = Vec::new();
    let batch: Vec<Outgoing> = (0..25)
        .map(|number| {
            let id = format!("key{}-{number}", number % 5);
            event(&id, &format!("key{}", number % 5))
        })
        .collect();
    let answers = door.accept(&batch).await.expect("accepted");
    let stored = |answer: &&Kept| matches!(answer, Kept::Stored(_));
    assert_eq!(answers.iter().filter(stored).count(), 10);
    for key in 0..5 {
        let ids = (0..5).map(|count| format!("key{key}-{}", count * 5 + key));
        accepted.push(ids.collect());
    }
    assert_eq!(server.stored_ids().await.len(), 10);
    server.bound_messages(-1).await;
    door.empty().await;
    assert_each_once_in_order(&server, &accepted).await;
}

/// The broker has some already and has forgotten that: they are found by their headers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_has_forgotten_is_looked_for() {
    let Some(server) = server().await else {
        return;
    };
    let window = server.short_dedup_window().await;
    let folder = TempDir::new().expect("a folder");
    let tracker = TaskTracker::new();
    let opened = Spool::open(folder.path(), 1 << 30, &tracker).await;
    let spool = opened.expect("opens");
    let publisher = Publisher::new(server.context(), false);
    let mut ids = Vec::new();
    for number in 0..300 {
        let id = format!("key{}-{number}", number % 3);
        let event = event(&id, &format!("key{}", number % 3));
        // Every second one came through, and its answer did not.
        if number % 2 == 0 {
            publisher.publish(event.clone()).await.expect("published");
        }
        let appended = spool.append(&[(&event, number % 4 == 0)]).await;
        appended.expect("appended");
        ids.push(id);
    }
    drop(spool);
    tracker.close();
    tracker.wait().await;
    let probe = async || server.is_forgotten("key0-0").await;
    until("the broker has forgotten", probe).await;

    let door = Door::open(&folder, &server, window).await;
    door.empty().await;
    let mut stored = server.stored_ids().await;
    stored.sort_unstable();
    ids.sort_unstable();
    assert_eq!(stored, ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_for_good_becomes_a_dead_letter_and_stops_nobody() {
    let Some(mut server) = server().await else {
        return;
    };
    let folder = TempDir::new().expect("a folder");
    server.kill().await;
    let door = Door::open(&folder, &server, Duration::from_secs(120)).await;
    for number in 0..50 {
        let mut event = event(&format!("key-{number}"), "key");
        if number == 20 {
            event.headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, "none");
            event.payload = Bytes::from_static(b"\0\xffbody");
        }
        let answer = door.accept(&[event]).await;
        assert_eq!(answer, Ok(vec![Kept::Spooled]));
    }
    server.start().await;
    door.empty().await;
    let mut expected: Vec<String> = (0..50).map(|number| format!("key-{number}")).collect();
    expected.remove(20);
    assert_eq!(server.stored_ids().await, expected);
    let (headers, payload) = server.dead_letter("ledger.dead.gateway.refused").await;
    let header = |name| headers.get(name).map(|value| value.as_str().to_owned());
    assert_eq!(payload.as_ref(), b"\0\xffbody");
    assert_eq!(header("ce-id").as_deref(), Some("key-20"));
    assert_eq!(header("Sluice-Reason").as_deref(), Some("refused"));
    assert_eq!(header("Sluice-Plugin").as_deref(), Some("gateway"));
    assert_eq!(header("Sluice-Subject").as_deref(), Some(SUBJECT));
    assert!(header("Sluice-Error").is_some_and(|error| !error.is_empty()));
    assert_eq!(door.spooler.spool().standing(), Default::default());
}

/// Run by hand: `--ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a promise"]
async fn drained_a_second() {
    let Some(mut server) = server().await else {
        return;
    };
    let folder = TempDir::new().expect("a folder");
    server.kill().await;
    let door = Door::open(&folder, &server, Duration::from_secs(120)).await;
    let count = 20_000;
    for first in (0..count).step_by(200) {
        let numbers = first..first + 200;
        let mut batch: Vec<Outgoing> = numbers
            .map(|number| event(&format!("key-{number}"), &format!("key{}", number % 5_000)))
            .collect();
        for event in &mut batch {
            event.payload = Bytes::from(vec![b'x'; 6_000]);
        }
        door.accept(&batch).await.expect("spooled");
    }
    server.start().await;
    let is_draining = async || door.spooler.spool().standing().records < count;
    until("it is being drained", is_draining).await;
    let started = Instant::now();
    door.empty().await;
    let rate = count as f64 / started.elapsed().as_secs_f64();
    println!("{count} events of 6,000 bytes drained: {rate:.0}/s");
}
