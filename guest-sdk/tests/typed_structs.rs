//! Promise: what `sluice schema rust` generates compiles, and reads the bodies that it was made of.
//!
//! The files are those that the crate `schema` holds its own output against.

use std::cell::Cell;

use sluicegate_guest::d365::{Decimal, Json};
use sluicegate_guest::testing::Host;
use sluicegate_guest::{BusinessEvent, Data, Event, Outcome, Record};

#[path = "../../schema/generated/email_create.rs"]
mod email_create;
#[path = "../../schema/generated/lead_update.rs"]
mod lead_update;
#[path = "../../schema/generated/order_shipped.rs"]
mod order_shipped;
#[path = "../../schema/generated/ship_order.rs"]
mod ship_order;
#[path = "../../schema/generated/stock_counted.rs"]
mod stock_counted;

use email_create::EmailCreate;
use lead_update::{LeadUpdate, LeadUpdatePreImageBefore};
use order_shipped::FabOrderShipped;
use ship_order::{NewShipOrderParameters, NewShipOrderResults};
use stock_counted::StockCounted;

fn event(body: &str) -> Event {
    let event = Event::builder("t").id("1");
    event.data("application/json", body).build()
}

/// Every body of a file that has a list of them.
fn events(bodies: &str) -> Vec<Event> {
    let bodies: Vec<Json> = serde_json::from_str(bodies).expect("bodies");
    bodies.iter().map(|body| event(&body.to_string())).collect()
}

fn decimal(text: &str) -> Option<Decimal> {
    Some(text.parse().expect("a decimal"))
}

#[test]
fn columns_of_a_record_and_of_its_image() {
    fn handle(lead: Record<LeadUpdate>) -> Outcome {
        let row = &lead.row;
        assert_eq!(row.subject.as_deref(), Some("1,000 bicycles"));
        let amount = row.estimatedamount.as_ref().unwrap();
        assert_eq!(amount.text(), "1250000.0100");
        assert_eq!(row.leadqualitycode, Some(2));
        assert_eq!(row.new_channels, Some(vec![727_000_001, 727_000_004]));
        assert_eq!(row.numberofemployees, decimal("250"));
        assert_eq!(row.new_score, decimal("0.875"));
        assert_eq!(row.donotphone, Some(true));
        assert_eq!(row.r#type, Some(1));
        assert_eq!(row.modifiedon.as_deref(), Some("2026-09-21T14:13:20Z"));
        let process = row.processid.as_deref();
        assert_eq!(process, Some("8daeabc7-a7c9-4acf-9b88-3c4d5e6f7a89"));
        let account = row.parentaccountid.as_ref().unwrap();
        assert_eq!(account.name.as_deref(), Some("Fabrikam"));
        // Cleared, and not touched.
        assert_eq!(row.description, None);
        assert!(lead.changed("description") && !lead.changed("fax"));
        let before = lead.before::<LeadUpdatePreImageBefore>("before")?.unwrap();
        let amount = before.estimatedamount.unwrap();
        assert_eq!(amount.decimal(), decimal("900000.0000"));
        Ok(())
    }
    let event = event(include_str!("../../schema/generated/lead_update.json"));
    Host::new().call(handle, event).outcome.unwrap();
}

#[test]
fn records_in_a_column() {
    fn handle(email: Record<EmailCreate>) -> Outcome {
        let to = email.row.to.as_ref().unwrap();
        let addresses: Vec<&str> = to
            .iter()
            .filter_map(|to| to.addressused.as_deref())
            .collect();
        assert_eq!(
            addresses,
            ["sales@fabrikam.example", "desk@fabrikam.example"]
        );
        let tables = to
            .iter()
            .filter_map(|to| to.partyid.as_ref()?.logical_name.as_deref());
        assert_eq!(tables.collect::<Vec<_>>(), ["contact", "queue"]);
        assert_eq!(to[1].participationtypemask, Some(2));
        Ok(())
    }
    let event = event(include_str!("../../schema/generated/email_create.json"));
    Host::new().call(handle, event).outcome.unwrap();
}

#[test]
fn parameters_and_results_of_a_custom_api() {
    fn handle(event: Event) -> Outcome {
        let context = event.record()?;
        let asked = context.input_parameters.row::<NewShipOrderParameters>()?;
        assert_eq!(asked.order_number.as_deref(), Some("SO-17"));
        assert_eq!(asked.freight, decimal("12.50"));
        let carrier = asked.carrier.unwrap();
        assert_eq!(carrier.logical_name.as_deref(), Some("account"));
        let done = context.output_parameters.row::<NewShipOrderResults>()?;
        assert_eq!(done.accepted, Some(true));
        Ok(())
    }
    let event = event(include_str!("../../schema/generated/ship_order.json"));
    Host::new().call(handle, event).outcome.unwrap();
}

#[test]
fn members_of_a_business_event() {
    thread_local! { static SEEN: Cell<u32> = const { Cell::new(0) }; }
    fn handle(order: BusinessEvent<FabOrderShipped>) -> Outcome {
        SEEN.set(SEEN.get() + 1);
        assert_eq!(order.legal_entity(), Some("usmf"));
        let own = &order.data;
        if own.sales_order_id == "SO-18" {
            assert_eq!((own.lines.len(), &own.extra), (0, &"none".into()));
            assert_eq!(own.note, None);
            assert_eq!(own.delivery_address.lines, None);
            return Ok(());
        }
        assert_eq!(own.r#type, "Sales");
        assert_eq!(own.total_amount.to_string(), "104999.9900");
        let lines = own.delivery_address.lines.as_ref().unwrap();
        assert_eq!(lines[..], [Some("Hafenstrasse 1".to_owned()), None]);
        let serials = own.lines[0].serials.as_ref().unwrap();
        assert_eq!(Some(serials["100017"].warranty), decimal("24"));
        assert_eq!(own.lines[1].amount, None);
        Ok(())
    }
    for event in events(include_str!("../../schema/generated/order_shipped.json")) {
        Host::new().call(handle, event).outcome.unwrap();
    }
    assert_eq!(SEEN.get(), 2);
}

#[test]
fn members_of_what_another_plug_in_emitted() {
    fn handle(counted: Data<StockCounted>) -> Outcome {
        if counted.self_ == "count-10" {
            assert_eq!((&counted.by, counted.counts.len()), (&None, 0));
            return Ok(());
        }
        let ids = (counted.item_id.as_str(), counted.item_id_2.as_str());
        assert_eq!(ids, ("B-200", "b-200"));
        assert_eq!(counted.counts.get("4051").copied(), decimal("12.5"));
        assert_eq!(counted.bins, [vec!["A1", "A2"], vec![]]);
        assert_eq!(counted.line_break, "\"quoted\" */");
        let by = counted.by.as_ref().unwrap();
        assert!(by.ok && by.user == "jo");
        Ok(())
    }
    for event in events(include_str!("../../schema/generated/stock_counted.json")) {
        Host::new().call(handle, event).outcome.unwrap();
    }
}
