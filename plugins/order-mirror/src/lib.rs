//! Takes business events about orders, gives one kind of order event.

mod order;

use order::{Names, Order};
use sluicegate_guest::d365::{Kind, Origin, Subject, token};
use sluicegate_guest::*;

/// Emits the order that a business event is about.
#[consumer]
fn handle(event: Event) -> Outcome {
    let business = event.business_event()?;
    let names = Names {
        number: config::parse("number")?,
        party: config::parse("party")?,
        amount: config::parse("amount")?,
        currency: config::parse("currency")?,
    };
    let order = Order::of(&business, &names)?;
    let environment = event.environment().ok_or_else(|| {
        reject(format_args!(
            "no environment in the source {}",
            event.source()
        ))
    })?;
    let subject = Subject {
        origin: Origin::Custom,
        environment: token(&environment),
        kind: Kind::Business,
        name: "order".to_owned(),
        action: "raised".to_owned(),
        slot: None,
    };
    let mirrored = Event::builder("d365.custom.order.raised")
        .subject(order.subject())
        // Whatever events there are about one order, they stay in order.
        .partition_key(order.subject())
        .json(&order)?;
    let mirrored = match business.time() {
        Some(time) => mirrored.time(time.rfc3339()),
        None => mirrored,
    };
    outbox::emit(&subject.to_string(), mirrored);
    info!(
        "{} of order {}",
        business.business_event_id,
        order.subject()
    );
    Ok(())
}
