//! Attacks the rules of a saga with chance, and the few that chance does not find by name.

use proptest::prelude::*;

use super::*;

const KEEP: u64 = 1_000;

fn saga() -> Saga {
    let build = Build {
        version: "1.0.0".to_owned(),
        digest: "sha256:ab".to_owned(),
    };
    let start = Start {
        run: 1,
        build,
        correlation: "c".to_owned(),
        hops: 0,
    };
    Saga::new(start, 0)
}

fn happened(event_type: &str, sequence: u64) -> Happened {
    Happened {
        event_type: event_type.to_owned(),
        sequence,
        size: 10,
    }
}

fn early(event_type: &str, sequence: u64) -> Early {
    Early {
        event_type: event_type.to_owned(),
        sequence,
        event: "{}".to_owned(),
    }
}

fn advance(next: Next) -> Advance {
    Advance {
        state: b"{}".to_vec(),
        compensations: Vec::new(),
        next,
    }
}

fn undo(step: &str) -> Compensation {
    Compensation {
        step: step.to_owned(),
        data: Vec::new(),
    }
}

fn waiting(event_type: &str) -> Next {
    Next::Wait(Waiting {
        events: vec![Wait {
            event_type: event_type.to_owned(),
            step: format!("on_{event_type}"),
        }],
        timeout: Some(Timeout {
            after: 100,
            step: "late".to_owned(),
        }),
    })
}

/// The own messages of some actions.
fn sent(actions: &[Action]) -> Vec<Own> {
    let own = actions.iter().filter_map(|action| match action {
        Action::Send(own) => Some(own.clone()),
        Action::Schedule(..) | Action::Unschedule => None,
    });
    own.collect()
}

fn own(own: &Own) -> Trigger {
    Trigger::Own {
        own: own.clone(),
        sequence: 9,
    }
}

fn begun(next: Next, undoing: &[&str]) -> (Saga, Vec<Action>) {
    let mut saga = saga();
    let due = saga.due(&Trigger::Begin(happened("won", 1)), KEEP, 1);
    assert!(matches!(due, Due::Step { ref name, event: Given::This } if name == "begin"));
    let advance = Advance {
        compensations: undoing.iter().map(|step| undo(step)).collect(),
        ..advance(next)
    };
    let actions = saga.advanced(&Given::This, advance, (KEEP, 1));
    let actions = actions.expect("within limits").expect("meant");
    (saga, actions)
}

#[test]
fn what_failed_is_undone_in_reverse_and_each_once() {
    let (mut saga, mut actions) = begun(Next::Fail("no stock".to_owned()), &["one", "two"]);
    let mut undone = Vec::new();
    while let [next] = sent(&actions).as_slice() {
        let Due::Compensation(compensation) = saga.due(&own(next), KEEP, 2) else {
            panic!("a compensation is due");
        };
        undone.push(compensation.step);
        actions = saga.compensated(Vec::new(), KEEP, 2);
        // The same once more is of no interest.
        let again = saga.due(&own(next), KEEP, 2);
        assert_eq!(again, Due::Nothing(Nothing::Stale, Vec::new()));
    }
    assert_eq!(undone, ["two", "one"]);
    assert_eq!(saga.status, Status::Compensated);
    assert_eq!(saga.why.as_deref(), Some("no stock"));
}

#[test]
fn an_event_that_came_early_is_there_when_it_is_waited_for() {
    let (mut saga, actions) = begun(Next::Step("second".to_owned()), &[]);
    let due = saga.due(&Trigger::Event(happened("paid", 2)), KEEP, 2);
    assert_eq!(due, Due::Nothing(Nothing::Keep, Vec::new()));
    saga.keep(early("paid", 2));
    let [next] = &sent(&actions)[..] else {
        panic!("one step is asked for");
    };
    saga.due(&own(next), KEEP, 3);
    let waits = saga.advanced(&Given::None, advance(waiting("paid")), (KEEP, 3));
    let actions = waits.expect("within limits").expect("meant");
    let [next] = &sent(&actions)[..] else {
        panic!("the early event is asked for");
    };
    let Due::Step { name, event } = saga.due(&own(next), KEEP, 4) else {
        panic!("a step is due");
    };
    assert_eq!(
        (name.as_str(), &event),
        ("on_paid", &Given::Early(Box::new(early("paid", 2))))
    );
    // It was another one's: the saga waits on, and its time is not over.
    let on = saga.advanced(&event, advance(Next::Ignore), (KEEP, 4));
    assert_eq!(on, Ok(Some(Vec::new())));
    assert!(saga.timer.is_some() && saga.asked.is_none() && saga.early.is_empty());
}

#[test]
fn what_would_begin_another_is_not_kept_for_later() {
    let (mut saga, _) = begun(waiting("paid"), &[]);
    let was = saga.clone();
    let due = saga.due(&Trigger::Begin(happened("won", 2)), KEEP, 2);
    assert_eq!(due, Due::Nothing(Nothing::Stale, Vec::new()));
    assert_eq!(saga, was);
    let due = saga.due(&Trigger::Begin(happened("paid", 3)), KEEP, 3);
    assert!(matches!(due, Due::Step { ref name, .. } if name == "on_paid"));
}

#[test]
fn only_what_was_given_can_be_ignored() {
    let (mut saga, actions) = begun(Next::Step("second".to_owned()), &[]);
    let next = sent(&actions);
    saga.due(&own(next.first().expect("asked")), KEEP, 2);
    assert!(
        saga.advanced(&Given::None, advance(Next::Ignore), (KEEP, 2))
            .is_err()
    );
}

#[test]
fn a_saga_that_waits_for_nothing_is_told_so() {
    let mut saga = saga();
    let nothing = Next::Wait(Waiting::default());
    assert!(
        saga.advanced(&Given::This, advance(nothing), (KEEP, 1))
            .is_err()
    );
}

#[test]
fn a_parked_compensation_is_run_again_or_was_done_by_hand() {
    let (mut saga, _) = begun(Next::Fail("x".to_owned()), &["one", "two"]);
    assert_eq!(saga.gave_up("locked", KEEP, 2), []);
    assert_eq!(saga.status, Status::Parked);
    let retry = |done| Own::Retry {
        by: "vera".to_owned(),
        done,
    };
    let Due::Nothing(Nothing::Changed, actions) = saga.due(&own(&retry(true)), KEEP, 3) else {
        panic!("it goes on");
    };
    let next = sent(&actions);
    let due = saga.due(&own(next.first().expect("asked")), KEEP, 4);
    assert_eq!(due, Due::Compensation(undo("one")));
    assert_eq!(
        saga.due(&own(&retry(false)), KEEP, 5),
        Due::Nothing(Nothing::Stale, Vec::new())
    );
}

#[test]
fn a_long_timeline_keeps_its_begin_and_its_end() {
    let (mut saga, _) = begun(waiting("paid"), &[]);
    for n in 0..2 * MAX_ENTRIES as u64 {
        saga.note(n, What::Passed, "", "x".repeat(2_000), Some(n));
    }
    assert_eq!(saga.timeline.len(), MAX_ENTRIES);
    assert_eq!(
        saga.timeline.first().map(|entry| entry.what),
        Some(What::Began)
    );
    let last = saga.timeline.last().expect("entries");
    assert_eq!(last.sequence, Some(2 * MAX_ENTRIES as u64 - 1));
    assert!(last.text.len() < 600);
}

#[test]
fn what_is_written_down_is_read_back() {
    let (mut saga, _) = begun(waiting("paid"), &["one"]);
    saga.state = vec![0xff, 0];
    saga.keep(early("paid", 2));
    let text = serde_json::to_string(&saga).expect("json");
    assert_eq!(serde_json::from_str::<Saga>(&text).expect("own json"), saga);
}

/// What chance has happen.
#[derive(Debug, Clone)]
enum Chance {
    Event(u8),
    Oldest,
    Newest,
    Repeat,
    Cancel,
    Retry(bool),
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        4 => (0..3_u8).prop_map(Chance::Event),
        6 => Just(Chance::Oldest),
        2 => Just(Chance::Newest),
        2 => Just(Chance::Repeat),
        1 => Just(Chance::Cancel),
        2 => any::<bool>().prop_map(Chance::Retry),
    ]
}

/// How a call goes.
#[derive(Debug, Clone)]
enum Went {
    Step,
    Wait(u8),
    Done,
    Fail,
    Ignore,
    GaveUp,
}

fn went() -> impl Strategy<Value = Went> {
    prop_oneof![
        4 => Just(Went::Step),
        4 => (0..3_u8).prop_map(Went::Wait),
        1 => Just(Went::Done),
        2 => Just(Went::Fail),
        1 => Just(Went::Ignore),
        1 => Just(Went::GaveUp),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// However events, timeouts, cancels, failures and repeats come: what was done is undone
    /// once, in reverse, or the saga is done and nothing is; and one that is not ended has
    /// something that will move it on, or waits for a person.
    #[test]
    fn no_saga_is_forgotten_and_none_is_undone_twice(
        chances in prop::collection::vec((chance(), went()), 1..60),
    ) {
        let mut saga = saga();
        let mut flying: Vec<Own> = Vec::new();
        let mut timer: Option<Own> = None;
        let mut before: Option<Own> = None;
        let (mut registered, mut undone, mut by_hand) = (Vec::new(), Vec::new(), Vec::new());
        let first = (Chance::Event(0), Went::Wait(0));
        for (now, (chance, went)) in std::iter::once(first).chain(chances).enumerate() {
            let now = now as u64;
            let trigger = match chance {
                Chance::Event(_) if now == 0 => Trigger::Begin(happened("won", now)),
                Chance::Event(n) => Trigger::Event(happened(&format!("e{n}"), now)),
                Chance::Oldest if !flying.is_empty() => own(&flying.remove(0)),
                Chance::Newest if timer.is_some() => own(&timer.take().expect("there")),
                Chance::Repeat if before.is_some() => own(before.as_ref().expect("there")),
                Chance::Cancel => own(&Own::Cancel { by: "v".to_owned(), reason: "r".to_owned() }),
                Chance::Retry(done) => own(&Own::Retry { by: "v".to_owned(), done }),
                Chance::Oldest | Chance::Newest | Chance::Repeat => continue,
            };
            if let Trigger::Own { own, .. } = &trigger {
                before = Some(own.clone());
            }
            if let Trigger::Own { own: Own::Retry { done: true, .. }, .. } = &trigger
                && saga.status == Status::Parked
            {
                by_hand.extend(saga.compensations.last().map(|one| one.step.clone()));
            }
            let was = saga.clone();
            let actions = match saga.due(&trigger, KEEP, now) {
                Due::Nothing(Nothing::Keep, actions) => {
                    saga.keep(early("e0", now));
                    actions
                }
                Due::Nothing(Nothing::Stale, actions) => {
                    prop_assert_eq!(&saga, &was);
                    actions
                }
                Due::Nothing(Nothing::Forget, _) => {
                    prop_assert!(saga.status.is_ended());
                    break;
                }
                Due::Nothing(Nothing::Changed, actions) => actions,
                Due::Compensation(compensation) => match went {
                    Went::GaveUp => saga.gave_up("x", KEEP, now),
                    _ => {
                        undone.push(compensation.step);
                        saga.compensated(Vec::new(), KEEP, now)
                    }
                },
                Due::Step { event, .. } => {
                    let next = match went {
                        Went::Step => Some(Next::Step("next".to_owned())),
                        Went::Wait(n) => Some(waiting(&format!("e{n}"))),
                        Went::Done => Some(Next::Done),
                        Went::Fail => Some(Next::Fail("x".to_owned())),
                        Went::Ignore => Some(Next::Ignore),
                        Went::GaveUp => None,
                    };
                    let step = format!("undo-{now}");
                    let answer = next.map(|next| Advance {
                        compensations: vec![undo(&step)],
                        ..advance(next)
                    });
                    let advanced = answer.map(|answer| saga.advanced(&event, answer, (KEEP, now)));
                    match advanced {
                        Some(Ok(Some(actions))) => {
                            if !matches!(went, Went::Ignore) {
                                registered.push(step);
                            }
                            actions
                        }
                        Some(Ok(None)) => {
                            saga = was;
                            if let Trigger::Begin(_) = trigger {
                                break;
                            }
                            Vec::new()
                        }
                        Some(Err(_)) | None => {
                            saga = was;
                            saga.gave_up("x", KEEP, now)
                        }
                    }
                }
            };
            for action in actions {
                match action {
                    Action::Send(own) => flying.push(own),
                    Action::Schedule(_, own) => timer = Some(own),
                    Action::Unschedule => timer = None,
                }
            }
            match saga.status {
                Status::Running => {
                    let moves = saga.asked.is_some() || !saga.waits.is_empty();
                    prop_assert!(moves, "nothing moves {:?}", saga);
                    prop_assert_eq!(undone.len(), 0);
                }
                Status::Compensating => prop_assert!(!flying.is_empty(), "{:?}", saga),
                Status::Parked => prop_assert!(!saga.compensations.is_empty()),
                Status::Done => prop_assert!(undone.is_empty() && timer.is_some()),
                Status::Compensated => {
                    prop_assert!(timer.is_some());
                    let mut expected = registered.clone();
                    expected.reverse();
                    expected.retain(|step| !by_hand.contains(step));
                    prop_assert_eq!(&undone, &expected);
                }
            }
        }
    }
}

#[test]
fn what_begins_one_is_of_no_interest_when_it_has_ended() {
    let (mut saga, _) = begun(Next::Done, &[]);
    let was = saga.clone();
    let due = saga.due(&Trigger::Begin(happened("won", 2)), KEEP, 2);
    assert_eq!(due, Due::Nothing(Nothing::Stale, Vec::new()));
    assert_eq!(saga, was);
}

#[test]
fn an_early_event_without_room_is_passed_over_and_said_so() {
    let (mut saga, _) = begun(Next::Step("second".to_owned()), &[]);
    saga.due(&Trigger::Event(happened("paid", 2)), KEEP, 2);
    saga.keep(early("paid", 2));
    saga.keep_not();
    assert_eq!(saga.early, []);
    let last = saga.timeline.last().expect("entries");
    assert_eq!((last.what, last.sequence), (What::Passed, Some(2)));
}
