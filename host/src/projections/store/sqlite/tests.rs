//! Takes commits, gives what is kept of them.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::plugin::rows::place;
use crate::projections::query::Query;
use crate::projections::store::{Keep, Moment, Store};

fn shape() -> Projection {
    Projection {
        tables: vec!["a".to_owned(), "b".to_owned()],
        indexes: Vec::new(),
        history: Some(Duration::from_millis(1_000)),
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::Sqlite(Sqlite::open(&dir.path().join("x.sqlite"), &shape()).unwrap());
    (dir, store)
}

fn change(key: &str, sequence: u64, row: Option<u64>) -> Change {
    Change {
        place: place("a", key),
        sequence,
        at: sequence * 10,
        row: row.map(|n| Bytes::from(format!("{{\"n\":{n}}}"))),
    }
}

fn group(changes: Vec<Change>, after: u64) -> Group {
    Group {
        after,
        at: after * 10,
        changes,
        ..Group::default()
    }
}

/// The rows of a moment: key and text.
fn rows(store: &Store, as_of: Option<Moment>) -> BTreeMap<String, String> {
    let query = Query {
        as_of,
        ..Query::default()
    };
    let answer = query.answer(store, "v", "a").unwrap();
    let rows = answer.page.rows.into_iter();
    rows.map(|row| (row.key, row.row.get().to_owned()))
        .collect()
}

#[test]
fn a_place_that_another_process_has_moved_is_not_written_over() {
    let (_dir, store) = store();
    let begin = store.standing().unwrap();
    let now = store
        .commit(&begin, &group(vec![change("k", 1, Some(1))], 1))
        .unwrap();
    assert_eq!(now.position, 1);
    let again = store.commit(&begin, &group(vec![change("k", 1, Some(2))], 1));
    assert!(matches!(again, Err(Error::Taken { .. })), "{again:?}");
    assert_eq!(rows(&store, None)["k"], "{\"n\":1}");
    assert_eq!(store.standing().unwrap(), now);
}

#[test]
fn what_is_old_goes_and_the_newest_version_at_the_bound_stays() {
    let (_dir, store) = store();
    let mut standing = store.standing().unwrap();
    for sequence in 1..=100 {
        let key = format!("k{}", sequence % 3);
        let row = (sequence % 10 != 0).then_some(sequence);
        let mut group = group(vec![change(&key, sequence, row)], sequence);
        group.seen.insert([sequence as u8; 16], sequence * 10);
        standing = store.commit(&standing, &group).unwrap();
    }
    let before = rows(&store, Some(Moment::Sequence(60)));
    let keep = Keep {
        now: 1_505,
        ids: Duration::from_millis(200),
    };
    store.keep_house(keep).unwrap();
    // Versions of the last second by the clock: the store took number 51 later than that.
    assert_eq!(rows(&store, Some(Moment::Sequence(60))), before);
    assert_eq!(rows(&store, Some(Moment::Sequence(50))).len(), 2);
    let gone = Query {
        as_of: Some(Moment::Time(490)),
        ..Query::default()
    };
    let gone = gone.answer(&store, "v", "a").unwrap_err().to_string();
    assert!(gone.contains("from event 50 on"), "{gone}");
    assert_eq!(store.seen(&[[79; 16]]).unwrap(), BTreeMap::new());
    assert_eq!(store.seen(&[[80; 16]]).unwrap()[&[80; 16]], 800);
    assert_eq!(store.counts()["a"], 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What is answered as of any place and any time is what was there then.
    #[test]
    fn the_past_is_what_it_was(
        steps in prop::collection::vec((0_u8..6, prop::option::of(0_u64..5), 1_u64..4), 1..60),
        size in 1_usize..9,
    ) {
        let (_dir, store) = store();
        let mut truth: BTreeMap<String, String> = BTreeMap::new();
        let mut recorded = vec![(0, truth.clone())];
        let mut standing = store.standing().unwrap();
        let (mut sequence, mut changes) = (0, Vec::new());
        for (key, row, gap) in steps {
            sequence += gap;
            let key = format!("k{key}");
            match row {
                Some(n) => truth.insert(key.clone(), format!("{{\"n\":{n}}}")),
                None => truth.remove(&key),
            };
            changes.push(change(&key, sequence, row));
            recorded.push((sequence, truth.clone()));
            if changes.len() == size {
                let group = group(std::mem::take(&mut changes), sequence);
                standing = store.commit(&standing, &group).unwrap();
            }
        }
        store.commit(&standing, &group(changes, sequence)).unwrap();
        prop_assert_eq!(rows(&store, None), truth);
        for asked in 0..=sequence + 1 {
            let then = recorded.iter().rev().find(|(at, _)| *at <= asked).unwrap();
            let by_place = rows(&store, Some(Moment::Sequence(asked)));
            prop_assert_eq!(&by_place, &then.1);
            prop_assert_eq!(&rows(&store, Some(Moment::Time(asked * 10 + 9))), &then.1);
        }
    }
}
