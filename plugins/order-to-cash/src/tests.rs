//! Goes every way from the won opportunity to the invoice and back, with a clock of its own.

use std::time::Duration;

use serde_json::{Value as Json, json};
use sluicegate_guest::testing::{RecordBuilder, Sagas, Status};
use sluicegate_guest::*;

use super::Order;

const KEY: &str = "opportunity/7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The answers that lead to the good end, and the commands that they answer.
const WAY: [(&str, &str); 3] = [
    ("salesorder.create", "salesorder.created"),
    ("credit.reserve", "credit.reserved"),
    ("invoice.post", "invoice.posted"),
];
/// What undoes each of these commands,
const UNDO: [&str; 3] = ["salesorder.cancel", "credit.release", "invoice.void"];
/// and how long its answer may take.
const PATIENCE: [Duration; 3] = [HOUR, DAY.saturating_mul(7), DAY.saturating_mul(30)];

fn host() -> Sagas<Order> {
    testing::sagas::<Order>()
        .starts("d365.dataverse.opportunity.update", "subject")
        .on("d365.custom.salesorder.*", "data:/opportunity")
        .on("d365.custom.credit.*", "data:/opportunity")
        .on("d365.custom.invoice.*", "data:/opportunity")
        .with_config("order_seconds", PATIENCE[0].as_secs())
        .with_config("credit_seconds", PATIENCE[1].as_secs())
        .with_config("invoice_seconds", PATIENCE[2].as_secs())
}

fn won() -> RecordBuilder {
    let account = "9b1c7e52-0d3f-4c8a-b5e6-71f2a4d08c39";
    testing::record("opportunity")
        .set("statecode", testing::choice(1))
        .set("actualvalue", testing::money("12500.5000"))
        .set("customerid", testing::lookup("account", account))
}

fn answer(of: &str) -> Event {
    let data = json!({ "opportunity": KEY, "number": format!("{of}/1"), "reason": "no stock" });
    let event = Event::builder(format!("d365.custom.{of}")).id(of);
    event.json(&data).unwrap().build()
}

/// A saga that waits for the answer to the command with this number.
fn waiting(at: usize) -> Sagas<Order> {
    let mut host = host();
    host.event(won());
    for (_, answered) in WAY.iter().take(at) {
        host.event(answer(answered));
    }
    assert_eq!(host.status(KEY), Some(Status::Running));
    assert_eq!(host.emitted().len(), at + 1);
    host
}

/// The types of what was emitted, without what they all begin with.
fn commands(host: &mut Sagas<Order>) -> Vec<String> {
    let emitted = host.take_emitted().into_iter();
    let commands = emitted.map(|one| one.event.event_type().replace("d365.custom.", ""));
    commands.collect()
}

/// What undoes the commands up to this number, in the order in which it has to be done.
fn undone(at: usize) -> Vec<&'static str> {
    UNDO.iter().take(at + 1).rev().copied().collect()
}

#[test]
fn a_won_opportunity_is_invoiced() {
    let mut host = host();
    host.event(won());
    for (command, answered) in WAY {
        assert_eq!(commands(&mut host), [command]);
        host.event(answer(answered));
    }
    assert_eq!(host.status(KEY), Some(Status::Done));
    assert!(commands(&mut host).is_empty());
    let order = host.state(KEY);
    assert_eq!(order.number.as_deref(), Some("salesorder.created/1"));
    assert_eq!(order.invoice.as_deref(), Some("invoice.posted/1"));
    let ran = ["begin", "order_created", "credit_reserved", "invoiced"];
    assert_eq!(host.ran(KEY), ran);
}

#[test]
fn an_opportunity_that_is_not_won_begins_nothing() {
    let mut host = host();
    host.event(testing::record("opportunity").set("name", "700 chairs"));
    host.event(testing::record("opportunity").set("statecode", testing::choice(2)));
    assert_eq!((host.status(KEY), host.emitted().len()), (None, 0));
}

#[test]
fn a_command_has_what_is_to_be_known() {
    let mut host = waiting(1);
    let [create, reserve] = host.take_emitted().try_into().unwrap();
    assert_eq!(
        create.subject,
        "d365.custom.contoso.business.salesorder.create"
    );
    assert_eq!(
        reserve.subject,
        "d365.custom.contoso.business.credit.reserve"
    );
    assert_eq!(reserve.event.subject(), Some(KEY));
    assert_eq!(reserve.event.text("partitionkey").as_deref(), Some(KEY));
    assert_eq!(
        reserve.event.json::<Json>().unwrap(),
        json!({
            "opportunity": KEY,
            "customer": { "table": "account", "id": "9b1c7e52-0d3f-4c8a-b5e6-71f2a4d08c39", "name": null },
            "amount": "12500.5000",
            "number": "salesorder.created/1",
            "invoice": null,
        })
    );
    host.cancel(KEY, "the customer has called");
    let release = &host.emitted()[0].event.json::<Json>().unwrap();
    assert_eq!(release["amount"], "12500.5000");
    assert_eq!(
        release["reason"],
        "cancelled by a test: the customer has called"
    );
}

#[test]
fn what_the_message_does_not_carry_an_image_tells() {
    let mut host = host();
    let won = testing::record("opportunity")
        .set("statecode", testing::choice(1))
        .post_image("after", [("actualvalue", testing::money("7.00"))]);
    host.event(won);
    assert_eq!(host.state(KEY).amount, Some("7.00".parse().unwrap()));
}

#[test]
fn whatever_is_refused_everything_before_it_is_undone() {
    for (at, refused) in ["salesorder", "credit", "invoice"].into_iter().enumerate() {
        let mut host = waiting(at);
        host.take_emitted();
        host.event(answer(&format!("{refused}.refused")));
        assert_eq!(host.status(KEY), Some(Status::Compensated));
        assert_eq!(commands(&mut host), undone(at));
        let why = format!("{} was refused: no stock", WAY[at].0);
        assert_eq!(host.why(KEY), Some(&*why));
    }
}

#[test]
fn whatever_is_not_answered_everything_before_it_is_undone() {
    for (at, patience) in PATIENCE.into_iter().enumerate() {
        let mut host = waiting(at);
        host.take_emitted();
        host.passes(patience - Duration::from_secs(1));
        assert_eq!(host.status(KEY), Some(Status::Running));
        host.passes(Duration::from_secs(1));
        assert_eq!(host.status(KEY), Some(Status::Compensated));
        assert_eq!(commands(&mut host), undone(at));
        let why = format!("nobody has answered {}", WAY[at].0);
        assert_eq!(host.why(KEY), Some(&*why));
        // An answer that comes later changes nothing.
        host.event(answer(WAY[at].1));
        assert_eq!(host.status(KEY), Some(Status::Compensated));
        assert!(commands(&mut host).is_empty());
    }
}

#[test]
fn it_can_be_cancelled_at_every_step() {
    for at in 0..WAY.len() {
        let mut host = waiting(at);
        host.take_emitted();
        host.cancel(KEY, "the customer has called");
        assert_eq!(host.status(KEY), Some(Status::Compensated));
        assert_eq!(commands(&mut host), undone(at));
    }
}

#[test]
fn answers_that_overtake_each_other_are_taken_in_turn() {
    let mut host = host();
    host.event(won());
    for (_, answered) in WAY.iter().rev() {
        host.event(answer(answered));
    }
    assert_eq!(host.status(KEY), Some(Status::Done));
    assert_eq!(commands(&mut host), WAY.map(|(command, _)| command));
}

#[test]
fn edits_of_the_opportunity_take_no_room_from_answers() {
    let mut host = waiting(0);
    for edit in 0..50 {
        host.event(testing::record("opportunity").set("name", format!("{edit} chairs")));
    }
    host.event(answer("credit.reserved"));
    host.event(answer("salesorder.created"));
    let ran = ["begin", "order_created", "credit_reserved"];
    assert_eq!(host.ran(KEY), ran);
}

#[test]
fn an_answer_that_comes_twice_is_taken_once() {
    let mut host = host();
    host.event(won());
    for (_, answered) in WAY {
        host.event(answer(answered));
        host.event(answer(answered));
    }
    assert_eq!(host.status(KEY), Some(Status::Done));
    assert_eq!(commands(&mut host), WAY.map(|(command, _)| command));
}

#[test]
fn an_opportunity_that_is_won_again_is_no_second_order() {
    let mut host = waiting(0);
    host.cancel(KEY, "reopened");
    host.take_emitted();
    host.event(won());
    assert_eq!(host.status(KEY), Some(Status::Compensated));
    assert!(commands(&mut host).is_empty());
    // Until it is forgotten.
    host.passes(DAY * 30);
    host.event(won());
    assert_eq!(host.status(KEY), Some(Status::Running));
}

#[test]
fn an_answer_that_cannot_be_read_undoes_the_order() {
    let mut host = waiting(0);
    let event =
        Event::builder("d365.custom.salesorder.created").json(&json!({ "opportunity": KEY }));
    host.event(event.unwrap());
    assert_eq!(host.status(KEY), Some(Status::Compensated));
    assert!(host.why(KEY).unwrap().contains("is not the JSON"));
}
