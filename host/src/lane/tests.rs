//! One lane by itself, and many beside each other.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[test]
fn a_parked_head_is_not_overtaken_and_does_not_hold_others() {
    let mut lanes = Lanes::default();
    lanes.push(1, "a1");
    lanes.push(1, "a2");
    lanes.push(2, "b1");
    assert_eq!(
        lanes.start_next().map(|(id, item)| (id, *item)),
        Some((1, "a1"))
    );
    lanes.park(1, 100);
    assert_eq!(
        lanes.start_next().map(|(id, item)| (id, *item)),
        Some((2, "b1"))
    );
    assert_eq!(lanes.start_next(), None);
    lanes.wake(99);
    assert_eq!(lanes.start_next(), None);
    lanes.wake(100);
    assert_eq!(
        lanes.start_next().map(|(id, item)| (id, *item)),
        Some((1, "a1"))
    );
    assert_eq!(lanes.finish(1), Some("a1"));
    assert_eq!(
        lanes.start_next().map(|(id, item)| (id, *item)),
        Some((1, "a2"))
    );
}

#[test]
fn one_that_is_preferred_comes_next_and_the_others_keep_their_order() {
    let mut lanes = Lanes::default();
    for (id, item) in [(1, 5), (2, 3), (3, 3), (4, 9)] {
        lanes.push(id, item);
    }
    lanes.prefer(|item| *item);
    let mut started = Vec::new();
    while let Some((id, _)) = lanes.start_next() {
        started.push(id);
    }
    assert_eq!(started, [2, 1, 3, 4]);
    lanes.prefer(|item| *item);
}

#[test]
fn a_blocked_head_keeps_its_lane_until_it_is_released() {
    let mut lanes = Lanes::default();
    for item in ["a1", "a2"] {
        lanes.push(1, item);
    }
    lanes.start_next();
    lanes.block(1);
    lanes.push(1, "a3");
    lanes.push(2, "b1");
    assert!(lanes.is_blocked(1));
    assert_eq!((lanes.blocked(), lanes.stuck(), lanes.held()), (1, 3, 4));
    let next = lanes.start_next().map(|(id, item)| (id, *item));
    assert_eq!(next, Some((2, "b1")));
    lanes.wake(u64::MAX);
    assert_eq!(lanes.start_next(), None);
    for item in lanes.queue(1).take(1) {
        *item = "mended";
    }
    lanes.release(1);
    lanes.release(1);
    assert_eq!((lanes.blocked(), lanes.stuck()), (0, 0));
    for expected in ["mended", "a2", "a3"] {
        let next = lanes.start_next().map(|(id, item)| (id, *item));
        assert_eq!(next, Some((1, expected)));
        assert_eq!(lanes.finish(1), Some(expected));
    }
}

#[test]
fn what_was_blocked_before_is_blocked_again_when_it_comes_to_the_head() {
    let mut lanes = Lanes::default();
    lanes.push_blocked(1, "a1");
    assert_eq!((lanes.blocked(), lanes.stuck()), (1, 1));
    lanes.push_blocked(1, "a2");
    assert_eq!((lanes.blocked(), lanes.stuck()), (1, 2));
    assert_eq!(lanes.start_next(), None);
    lanes.release(1);
    assert_eq!(lanes.start_next().map(|(_, item)| *item), Some("a1"));
    lanes.finish(1);
    // Who starts it sees what it is.
    assert_eq!(lanes.start_next().map(|(_, item)| *item), Some("a2"));
    lanes.block(1);
    assert!(lanes.is_blocked(1));
}

#[test]
fn what_does_not_belong_is_refused() {
    assert!(step(State::Ready, Input::Due).is_err());
    assert!(step(State::Ready, Input::Finished { more: true }).is_err());
    assert!(step(State::Parked { due: 1 }, Input::Started).is_err());
    assert!(step(State::Running, Input::Started).is_err());
    assert!(step(State::Blocked, Input::Due).is_err());
    assert!(step(State::Blocked, Input::Finished { more: true }).is_err());
    assert!(step(State::Ready, Input::Released).is_err());
}

proptest! {
    /// Whatever fails and in whatever order the calls come back: each lane hands its
    /// deliveries over in the order of arrival, one at a time, and ends empty.
    #[test]
    fn order_within_a_lane_holds(
        arrivals in prop::collection::vec(0u64..5, 1..60),
        choices in prop::collection::vec((0usize..64, 0u8..3), 0..300),
    ) {
        let mut lanes = Lanes::default();
        for (n, lane) in arrivals.iter().enumerate() {
            lanes.push(*lane, n);
        }
        let mut running: Vec<(LaneId, usize)> = Vec::new();
        let mut done: HashMap<LaneId, Vec<usize>> = HashMap::new();
        let mut now = 0;
        let mut choices = choices.into_iter();
        while lanes.held() > 0 {
            while let Some((id, item)) = lanes.start_next() {
                prop_assert!(running.iter().all(|(other, _)| *other != id));
                running.push((id, *item));
            }
            let (index, fate) = choices.next().unwrap_or((0, 0));
            if running.is_empty() {
                now = lanes.next_due().expect("something must be due");
                lanes.wake(now);
                continue;
            }
            let (id, item) = running.swap_remove(index % running.len());
            if fate == 1 {
                lanes.park(id, now + 10);
            } else {
                prop_assert_eq!(lanes.finish(id), Some(item));
                done.entry(id).or_default().push(item);
            }
        }
        for (lane, seen) in done {
            let expected: Vec<usize> = arrivals.iter().enumerate()
                .filter(|(_, l)| **l == lane).map(|(n, _)| n).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
