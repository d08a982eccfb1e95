//! Attacks the double of the host with a saga of every kind of step, and with chance.

use std::cell::Cell;
use std::rc::Rc;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::saga::{Next, Saga, Step, Undo};
use crate::{Data, Event, Failure, Outcome, config, http, outbox, reject, retry, saga, testing};

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Trip {
    booked: Vec<String>,
    undone: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Booking {
    trip: String,
    what: String,
}

#[saga]
impl Trip {
    fn begin(&mut self, saga: &mut Saga, asked: Data<Booking>) -> Step {
        match &*asked.what {
            "nothing" => {
                command("ignored", saga.key())?;
                return Ok(Next::ignore());
            }
            "broken" => return Err(reject("broken")),
            "busy" => return Err(retry("busy")),
            "unknown" => return Ok(Next::wait_for("trip.*", Self::REFUSED).for_ever()),
            "at once" => return Ok(Next::step(Self::BOOK_HOTEL)),
            _ => {}
        }
        command("flight.book", saga.key())?;
        saga.undo_with(Self::UNBOOK, &"flight".to_owned())?;
        Ok(Next::wait_for("trip.flight.booked", Self::BOOKED)
            .or_for("trip.*.refused", Self::REFUSED)
            .at_most(HOUR, Self::LATE))
    }

    fn booked(&mut self, saga: &mut Saga, event: Event, booking: Data<Booking>) -> Step {
        if booking.what == "another" {
            command("ignored", event.event_type())?;
            return Ok(Next::ignore());
        }
        self.booked.push(booking.0.what);
        saga.undo_with(Self::THANK, &())?;
        Ok(Next::step(Self::BOOK_HOTEL))
    }

    fn book_hotel(&mut self, saga: &mut Saga) -> Step {
        http::post("https://hotel.contoso.com/book").send()?;
        saga.undo_with(Self::UNBOOK, &"hotel".to_owned())?;
        Ok(Next::wait_for("trip.hotel.booked", Self::HOTEL_BOOKED).for_ever())
    }

    fn hotel_booked(&mut self, _: &mut Saga) -> Step {
        Ok(Next::after(HOUR * 24, Self::LEAVE))
    }

    fn leave(&mut self, saga: &mut Saga) -> Step {
        assert!(saga.began() < START + 1 + 40 * 86_400_000);
        Ok(Next::done())
    }

    fn refused(&mut self, _: &mut Saga) -> Step {
        Ok(Next::fail("refused"))
    }

    fn late(&mut self, _: &mut Saga) -> Step {
        Ok(Next::fail("late"))
    }

    fn unbook(&mut self, undo: &Undo, what: String) -> Outcome {
        if config::get("desk").as_deref() == Some(&what) {
            http::post("https://desk.contoso.com/unbook").send()?;
        }
        command(&format!("{what}.unbook"), undo.key())?;
        self.undone.push(what);
        Ok(())
    }

    fn thank(&mut self, undo: &Undo) -> Outcome {
        assert!(!undo.why().is_empty());
        Ok(())
    }
}

fn command(what: &str, trip: &str) -> Result<(), Failure> {
    let event = Event::builder(format!("command.{what}")).json(trip)?;
    outbox::emit(&format!("d365.custom.contoso.business.{what}"), event);
    Ok(())
}

fn trips() -> Sagas<Trip> {
    let hosts = testing::sagas::<Trip>().starts("trip.asked", "data:/trip");
    hosts
        .on("trip.*", "data:/trip")
        .with_answers(|_| Answer::status(200))
}

fn event(of: &str, what: &str) -> Event {
    let (trip, what) = ("t-1".to_owned(), what.to_owned());
    let event = Event::builder(of).id(of).json(&Booking { trip, what });
    event.expect("json").build()
}

#[test]
fn a_saga_goes_its_way_to_the_good_end_and_is_forgotten() {
    let mut host = trips();
    let key = host.event(event("trip.asked", "now"));
    assert_eq!(key, "t-1");
    assert_eq!(
        host.waits_for(&key),
        ["trip.flight.booked", "trip.*.refused"]
    );
    host.event(event("trip.flight.booked", "flight"));
    host.event(event("trip.hotel.booked", "hotel"));
    assert_eq!(host.compensations(&key), ["unbook", "thank", "unbook"]);
    host.passes(HOUR * 23);
    assert_eq!(host.status(&key), Some(Status::Running));
    host.passes(HOUR);
    assert_eq!(host.status(&key), Some(Status::Done));
    let ran = ["begin", "booked", "book_hotel", "hotel_booked", "leave"];
    assert_eq!(host.ran(&key), ran);
    assert_eq!(host.state(&key).booked, ["flight"]);
    assert_eq!(host.emitted().len(), 1);
    let left = &host.emitted()[0].event;
    assert_eq!(left.text("partitionkey").as_deref(), Some("t-1"));
    assert_eq!(left.text("correlationid").as_deref(), Some("trip.asked"));
    host.passes(HOUR * 24 * 30);
    assert_eq!(host.status(&key), None);
}

#[test]
fn what_was_done_is_undone_in_reverse() {
    let mut host = trips();
    let key = host.event(event("trip.asked", "now"));
    host.event(event("trip.flight.booked", "flight"));
    host.cancel(&key, "illness");
    assert_eq!(host.status(&key), Some(Status::Compensated));
    assert_eq!(host.why(&key), Some("cancelled by a test: illness"));
    assert_eq!(host.state(&key).undone, ["hotel", "flight"]);
    let emitted = host.take_emitted();
    assert_eq!(
        emitted[1].subject,
        "d365.custom.contoso.business.hotel.unbook"
    );
    assert!(host.emitted().is_empty());
    // What comes afterwards is noted, and a second trip is not begun.
    host.event(event("trip.hotel.booked", "hotel"));
    host.event(event("trip.asked", "now"));
    host.cancel(&key, "again");
    assert_eq!(
        host.timeline(&key).last().map(|entry| entry.what),
        Some(What::Passed)
    );
}

#[test]
fn an_event_that_came_early_is_taken_when_it_is_waited_for() {
    let mut host = trips();
    let key = host.event(event("trip.asked", "now"));
    host.event(event("trip.hotel.booked", "hotel"));
    assert_eq!(host.ran(&key), ["begin"]);
    host.event(event("trip.flight.booked", "another"));
    assert_eq!(host.ran(&key), ["begin"], "ignored: as if it had not come");
    host.event(event("trip.flight.booked", "flight"));
    assert_eq!(host.ran(&key).last(), Some(&"hotel_booked"));
    assert_eq!(
        host.emitted().len(),
        1,
        "what was ignored has emitted nothing"
    );
}

#[test]
fn a_start_that_is_ignored_leaves_nothing() {
    let mut host = trips();
    let key = host.event(event("trip.asked", "nothing"));
    assert_eq!((host.status(&key), host.emitted().len()), (None, 0));
    host.event(event("trip.hotel.booked", "hotel"));
    assert_eq!(host.status(&key), None);
}

#[test]
fn a_step_that_gives_up_makes_the_saga_fail() {
    let mut host = trips().attempts(3);
    let key = host.event(event("trip.asked", "busy"));
    assert_eq!(host.status(&key), None);
    host.passes(Duration::from_secs(2));
    assert_eq!(host.status(&key), None);
    assert!(host.dead_letters().is_empty());
    host.passes(Duration::from_secs(1));
    assert_eq!(host.status(&key), None, "one that has not begun is none");
    assert_eq!(host.dead_letters(), ["busy"]);
    host.event(event("trip.asked", "broken"));
    assert_eq!(host.dead_letters(), ["busy", "broken"]);

    let mut host = trips().again().with_answers(|_| Answer::status(400));
    host.event(event("trip.asked", "now"));
    host.event(event("trip.flight.booked", "flight"));
    assert_eq!(host.status(&key), Some(Status::Compensated));
    let why = host.why(&key).unwrap_or_default();
    assert!(why.contains("answered 400"), "{why}");
    assert_eq!(host.state(&key).undone, ["flight"]);
    host.event(event("trip.asked", "now"));
    assert_eq!(host.status(&key), Some(Status::Running));
}

#[test]
fn a_step_that_failed_in_between_comes_again_and_events_wait_for_it() {
    let up = Rc::new(Cell::new(false));
    let is_up = up.clone();
    let mut host = trips().with_answers(move |_| match is_up.get() {
        true => Answer::status(200),
        false => Answer::status(503),
    });
    let key = host.event(event("trip.asked", "at once"));
    host.event(event("trip.hotel.booked", "hotel"));
    assert_eq!(host.ran(&key), ["begin"]);
    host.passes(HOUR / 120);
    up.set(true);
    host.passes(HOUR / 120);
    assert_eq!(host.ran(&key), ["begin", "book_hotel", "hotel_booked"]);
    assert_eq!(host.requests().len(), 6);
    let first = host.requests()[0].url();
    assert_eq!(first, "https://hotel.contoso.com/book");
}

#[test]
fn a_compensation_that_does_not_work_waits_for_a_person() {
    let up = Rc::new(Cell::new(404));
    let status = up.clone();
    let mut host = trips()
        .with_config("desk", "flight")
        .with_answers(move |_| Answer::status(status.get()));
    let key = host.event(event("trip.asked", "now"));
    host.passes(HOUR);
    assert_eq!(host.status(&key), Some(Status::Parked));
    host.retry(&key);
    assert_eq!(host.status(&key), Some(Status::Parked));
    up.set(200);
    host.retry(&key);
    assert_eq!(host.status(&key), Some(Status::Compensated));
    assert_eq!(host.state(&key).undone, ["flight"]);

    let mut host = trips()
        .with_config("desk", "flight")
        .with_answers(|_| Answer::status(404));
    host.event(event("trip.asked", "now"));
    host.cancel(&key, "illness");
    host.done_by_hand(&key);
    assert_eq!(host.status(&key), Some(Status::Compensated));
    assert!(host.state(&key).undone.is_empty());
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Longer {
    booked: Vec<String>,
    #[serde(default)]
    since: String,
}

#[saga]
impl Longer {
    fn begin(&mut self, _: &mut Saga) -> Step {
        Ok(Next::done())
    }

    fn booked(&mut self, saga: &mut Saga) -> Step {
        self.since = saga.version().to_owned();
        self.booked.push(saga.delivery().partition_key.clone());
        Ok(Next::wait_for("trip.lost", Self::ROUND).for_ever())
    }

    fn round(&mut self, _: &mut Saga) -> Step {
        Ok(Next::step(Self::ROUND))
    }
}

#[test]
fn a_saga_that_moves_to_another_build_goes_on_with_its_steps() {
    let mut host = trips();
    let key = host.event(event("trip.asked", "now"));
    let mut host = host.migrate::<Trip>("1.1.0");
    host.event(event("trip.flight.booked", "flight"));
    assert_eq!(host.ran(&key).last(), Some(&"book_hotel"));
    // A step that this build has not is a rejection that names those which it has.
    let mut host = host.migrate::<Longer>("2.0.0");
    host.event(event("trip.hotel.booked", "hotel"));
    let why = host.why(&key).unwrap_or_default();
    assert!(
        why.contains("no step `hotel_booked`; it has begin, booked, round"),
        "{why}"
    );
    assert_eq!(host.status(&key), Some(Status::Parked));
}

#[test]
fn a_step_is_told_with_which_version_its_saga_began() {
    let mut host = trips();
    let key = host.event(event("trip.asked", "now"));
    let mut host = host.migrate::<Longer>("2.0.0");
    host.event(event("trip.flight.booked", "flight"));
    let kept = host.state(&key);
    assert_eq!((&*kept.since, &*kept.booked[0]), ("1.0.0", "t-1"));
    // What the older version has registered stands.
    assert_eq!(host.compensations(&key), ["unbook"]);
}

#[test]
#[should_panic(expected = "the saga \"t-1\" goes from step to step")]
fn a_saga_without_an_end_is_a_mistake_of_the_plug_in() {
    let mut host = trips().on("trip.lost", "data:/trip");
    host.event(event("trip.asked", "now"));
    let mut host = host.migrate::<Longer>("2.0.0");
    host.event(event("trip.flight.booked", "flight"));
    host.event(event("trip.lost", ""));
}

#[test]
fn data_that_does_not_fit_is_a_rejection_in_words() {
    let mut host = trips();
    let wrong = Event::builder("trip.asked").json(&serde_json::json!({ "trip": "t-1" }));
    host.event(wrong.expect("json"));
    let why = &host.dead_letters()[0];
    assert!(
        why.contains("is not the JSON that the plug-in reads"),
        "{why}"
    );
}

#[test]
#[should_panic(expected = "no saga hears of the type \"train.asked\"")]
fn a_type_that_nobody_has_named_is_a_mistake_of_the_test() {
    trips().event(event("train.asked", "now"));
}

#[test]
#[should_panic(expected = "has no key at data:/trip: {}")]
fn and_so_is_an_event_without_a_key() {
    let empty = Event::builder("trip.asked").json(&serde_json::json!({}));
    trips().event(empty.expect("json"));
}

#[test]
#[should_panic(expected = "there is no saga with the key \"t-2\"")]
fn and_so_is_a_cancel_of_nothing() {
    trips().cancel("t-2", "illness");
}

/// What chance has happen.
#[derive(Debug, Clone)]
enum Chance {
    Event(&'static str, &'static str),
    Passes(u32),
    Cancel,
    Answers(u16),
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        3 => Just(Chance::Event("trip.flight.booked", "flight")),
        1 => Just(Chance::Event("trip.flight.booked", "another")),
        1 => Just(Chance::Event("trip.flight.refused", "")),
        3 => Just(Chance::Event("trip.hotel.booked", "hotel")),
        1 => Just(Chance::Event("trip.asked", "now")),
        1 => Just(Chance::Event("trip.asked", "nothing")),
        4 => (0..100_u32).prop_map(Chance::Passes),
        1 => Just(Chance::Cancel),
        2 => prop_oneof![Just(200_u16), Just(503), Just(400)].prop_map(Chance::Answers),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// However events come, systems answer and time passes: in the end every saga is done and
    /// nothing of it undone, or it is compensated and each of its bookings is undone, once.
    #[test]
    fn every_saga_ends_done_or_undone(chances in prop::collection::vec(chance(), 0..30)) {
        let answers = Rc::new(Cell::new(200));
        let status = answers.clone();
        let mut host = trips()
            .with_config("desk", "flight")
            .keep(HOUR * 24 * 365)
            .with_answers(move |_| Answer::status(status.get()));
        let key = host.event(event("trip.asked", "now"));
        for chance in chances {
            match chance {
                Chance::Event(of, what) => { host.event(event(of, what)); }
                Chance::Passes(minutes) => host.passes(HOUR / 60 * minutes),
                Chance::Cancel => host.cancel(&key, "chance"),
                Chance::Answers(status) => answers.set(status),
            }
        }
        // The world is mended, people do what is theirs, and time heals the rest.
        answers.set(200);
        host.passes(HOUR * 24);
        host.retry(&key);
        host.passes(HOUR * 24);
        let is_waiting = host.status(&key) == Some(Status::Running);
        if is_waiting {
            // For the hotel: without a bound.
            prop_assert_eq!(host.waits_for(&key), ["trip.hotel.booked"]);
            host.event(event("trip.hotel.booked", "hotel"));
            host.passes(HOUR * 24);
        }
        let kept = host.state(&key);
        let unbooked = |what: &str| {
            let of = format!("command.{what}.unbook");
            host.emitted().iter().filter(|one| one.event.event_type() == of).count()
        };
        match host.status(&key) {
            Some(Status::Done) => {
                prop_assert_eq!(kept.undone.len(), 0);
                prop_assert_eq!((unbooked("flight"), unbooked("hotel")), (0, 0));
            }
            Some(Status::Compensated) => {
                // Reverse, each once; the hotel only where it was booked.
                let has_hotel = kept.undone.len() == 2;
                let undone: &[&str] = if has_hotel { &["hotel", "flight"] } else { &["flight"] };
                prop_assert_eq!(&kept.undone, undone);
                prop_assert_eq!((unbooked("flight"), unbooked("hotel")), (1, usize::from(has_hotel)));
            }
            other => prop_assert!(false, "{:?}: {:?}", other, host.timeline(&key)),
        }
    }
}
