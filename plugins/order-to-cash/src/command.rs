//! Takes a command and what is known of the order, gives the event that asks for it.

use serde::{Deserialize, Serialize};
use sluicegate_guest::d365::{Decimal, Kind, Origin, Subject, Value};
use sluicegate_guest::{Event, Outcome, outbox};

use crate::Order;

/// Who buys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Customer {
    /// `account` or `contact`.
    table: Option<String>,
    id: Option<String>,
    name: Option<String>,
}

impl Customer {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        let reference = value.lookup()?;
        Some(Self {
            table: reference.logical_name.clone(),
            id: reference.id.clone(),
            name: reference.name.clone(),
        })
    }
}

/// The body of a command. Whoever does it has all that there is to know.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    /// Key of the saga: the answer has to carry it.
    opportunity: &'a str,
    customer: &'a Option<Customer>,
    /// Text, so that no reader makes a binary floating-point number of it.
    amount: Option<Decimal>,
    number: &'a Option<String>,
    invoice: &'a Option<String>,
    /// Why something is undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Sends `salesorder.create` as `d365.custom.salesorder.create`, to
/// `d365.custom.<environment>.business.salesorder.create`.
pub(crate) fn send(command: &str, opportunity: &str, order: &Order, why: Option<&str>) -> Outcome {
    let (name, action) = command.split_once('.').unwrap_or((command, "raised"));
    let subject = Subject {
        origin: Origin::Custom,
        environment: order.environment.clone(),
        kind: Kind::Business,
        name: name.to_owned(),
        action: action.to_owned(),
        slot: None,
    };
    let event = Event::builder(format!("d365.custom.{command}"))
        .subject(opportunity)
        .json(&Body {
            opportunity,
            customer: &order.customer,
            amount: order.amount,
            number: &order.number,
            invoice: &order.invoice,
            reason: why,
        })?;
    outbox::emit(&subject.to_string(), event);
    Ok(())
}
