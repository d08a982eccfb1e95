//! The queue on disk, without a broker.

mod crash;
mod damage;
mod disk_full;
mod speed;

use std::path::Path;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use bytes::Bytes;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::*;

/// As large as a test of this size needs.
const ROOM: u64 = 1 << 30;

fn event(number: u64, bytes: usize) -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, format!("/custom/test#{number}"));
    headers.insert("ce-id", number.to_string());
    Outgoing {
        subject: "d365.custom.test.custom.thing.raised.3".to_owned(),
        headers,
        payload: Bytes::from(vec![b'x'; bytes]),
        key: format!("thing/{}", number % 7),
    }
}

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

async fn opened(folder: &Path) -> Result<(Spool, TaskTracker), OpenError> {
    let tracker = TaskTracker::new();
    Spool::open(folder, ROOM, &tracker)
        .await
        .map(|spool| (spool, tracker))
}

/// Until the file is closed.
async fn closed((spool, tracker): (Spool, TaskTracker)) {
    drop(spool);
    tracker.close();
    tracker.wait().await;
}

async fn ids(spool: &Spool) -> Vec<String> {
    let found = spool.read(0, usize::MAX, usize::MAX).await.expect("read");
    let id = |found: Found| {
        let record = found.record.expect("a record");
        let id = record.outgoing.headers.get("ce-id").expect("an id");
        id.as_str().to_owned()
    };
    found.into_iter().map(id).collect()
}

#[tokio::test]
async fn what_is_appended_is_read_in_order_and_stays_until_it_is_removed() {
    let folder = folder();
    let left = Spool::left_behind(folder.path(), &TaskTracker::new()).await;
    assert_eq!(left.expect("nothing is opened"), 0);
    let (spool, tracker) = opened(folder.path()).await.expect("opens");
    assert!(spool.is_empty().await.expect("read"));
    let events: Vec<Outgoing> = (0..5).map(|number| event(number, 100)).collect();
    let all: Vec<(&Outgoing, bool)> = events.iter().map(|event| (event, false)).collect();
    spool.append(&all[..3]).await.expect("appended");
    spool.append(&[(&events[3], true)]).await.expect("appended");
    assert_eq!(ids(&spool).await, ["0", "1", "2", "3"]);
    let found = spool.read(0, 2, usize::MAX).await.expect("read");
    let numbers: Vec<u64> = found.iter().map(|found| found.number).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(spool.read(0, 10, 0).await.expect("read").len(), 1);
    let last = spool.read(4, 10, ROOM as usize).await.expect("read");
    let record = last[0].record.as_ref().expect("a record");
    assert_eq!((&record.outgoing, record.uncertain), (&events[3], true));
    let before = spool.standing();
    spool.remove(vec![1, 3]).await.expect("removed");
    assert_eq!(ids(&spool).await, ["1", "3"]);
    assert_eq!(spool.standing().records, 2);
    assert_eq!(spool.standing().bytes, before.bytes / 2);
    closed((spool, tracker)).await;
    let tracker = TaskTracker::new();
    let left = Spool::left_behind(folder.path(), &tracker).await;
    assert_eq!(left.expect("opens"), 2);
    tracker.close();
    tracker.wait().await;

    let (spool, tracker) = opened(folder.path()).await.expect("opens again");
    assert_eq!(spool.standing().records, 2);
    assert_eq!(spool.standing().bytes, before.bytes / 2);
    spool
        .append(&[(&events[4], false)])
        .await
        .expect("appended");
    assert_eq!(ids(&spool).await, ["1", "3", "4"]);
    spool.remove(vec![2, 4, 5, 77]).await.expect("removed");
    assert!(spool.is_empty().await.expect("read"));
    assert_eq!(spool.standing(), Standing::default());
    closed((spool, tracker)).await;

    // No number is given twice, even by a spool that was empty in between.
    let (spool, _tracker) = opened(folder.path()).await.expect("opens again");
    spool
        .append(&[(&events[4], false)])
        .await
        .expect("appended");
    assert_eq!(spool.read(0, 1, 1).await.expect("read")[0].number, 6);
}

#[tokio::test]
async fn the_bound_is_kept_and_room_comes_back() {
    let folder = folder();
    let tracker = TaskTracker::new();
    let spool = Spool::open(folder.path(), 20_000, &tracker)
        .await
        .expect("opens");
    let event = event(1, 6_000);
    for _ in 0..3 {
        spool
            .append(&[(&event, false)])
            .await
            .expect("there is room");
    }
    let full = spool.append(&[(&event, false)]).await.expect_err("full");
    assert!(
        matches!(
            full,
            Error::Full {
                max_bytes: 20_000,
                ..
            }
        ),
        "{full}"
    );
    assert!(
        full.to_string().contains("gateway.spool_max_bytes"),
        "{full}"
    );
    assert_eq!(spool.standing().records, 3);
    spool.remove(vec![1]).await.expect("removed");
    spool
        .append(&[(&event, false)])
        .await
        .expect("there is room again");
    // Of a request, all or none.
    spool.remove(vec![2]).await.expect("removed");
    let two = [(&event, false), (&event, false)];
    spool
        .append(&two)
        .await
        .expect_err("room for one is not room for two");
    assert_eq!(spool.standing().records, 2);
}

#[tokio::test]
async fn what_cannot_be_read_is_put_aside_and_kept() {
    let folder = folder();
    let mut store = Store::open(folder.path()).expect("opens");
    let append = vec![vec![9, 1, 2, 3], record::encode(&event(1, 10), 5, false)];
    let change = tables::Change {
        append,
        ..tables::Change::default()
    };
    store.apply(&change).expect("appended");
    drop(store);
    let (spool, tracker) = opened(folder.path()).await.expect("opens");
    let found = spool.read(0, 10, 1_000).await.expect("read");
    assert!(matches!(
        found[0].record,
        Err(record::Error::Layout(Some(9)))
    ));
    assert!(found[1].record.is_ok());
    spool.set_aside(vec![1]).await.expect("put aside");
    assert_eq!(ids(&spool).await, ["1"]);
    closed((spool, tracker)).await;
    let (spool, _tracker) = opened(folder.path()).await.expect("opens");
    let standing = spool.standing();
    assert_eq!((standing.records, standing.aside), (1, 1));
}

#[tokio::test]
async fn many_at_once_are_all_kept_and_share_the_fsyncs() {
    let folder = folder();
    let (spool, tracker) = opened(folder.path()).await.expect("opens");
    let appends = (0..500_u64).map(|number| {
        let spool = spool.clone();
        async move { spool.append(&[(&event(number, 1_000), false)]).await }
    });
    let results = futures_util::future::join_all(appends).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(spool.standing().records, 500);
    let mut kept: Vec<u64> = ids(&spool)
        .await
        .iter()
        .map(|id| id.parse().expect("a number"))
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, Vec::from_iter(0..500));
    closed((spool, tracker)).await;
}

#[tokio::test]
async fn a_second_process_is_told_that_the_spool_is_in_use() {
    let folder = folder();
    let (_spool, _tracker) = opened(folder.path()).await.expect("opens");
    let error = opened(folder.path()).await.map(|_| ()).expect_err("locked");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("host.data_dir"), "{error}");
}
