//! Takes an opportunity that is won and the answers of Finance and Operations, gives the commands
//! from the sales order to the invoice, and those that undo them when one is refused.

mod command;
#[cfg(test)]
mod tests;

use std::time::Duration;

use command::{Customer, send};
use serde::{Deserialize, Serialize};
use sluicegate_guest::d365::{Decimal, RemoteExecutionContext, Value};
use sluicegate_guest::saga::{Next, Saga, Step, Undo};
use sluicegate_guest::*;

/// `statecode` of an opportunity that is won.
const WON: i64 = 1;

/// What is known of an order on its way.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    /// The Dataverse environment, as a part of subjects.
    environment: String,
    customer: Option<Customer>,
    /// What the opportunity was won for, digit by digit.
    amount: Option<Decimal>,
    /// The sales order's number.
    number: Option<String>,
    /// The invoice's number.
    invoice: Option<String>,
    /// The command that waits for its answer.
    asked: String,
}

/// An answer that gives what was made a number.
#[derive(Deserialize)]
struct Numbered {
    number: String,
}

/// An answer that says no.
#[derive(Deserialize)]
struct Refused {
    reason: String,
}

#[saga]
impl Order {
    /// An opportunity was updated: of those that are won an order is made.
    fn begin(&mut self, saga: &mut Saga, opportunity: Record<Opportunity>, event: Event) -> Step {
        if opportunity.row.statecode != Some(WON) {
            return Ok(Next::ignore());
        }
        let environment = event
            .environment()
            .ok_or_else(|| reject(format_args!("no environment in {}", event.source())))?;
        self.environment = d365::token(&environment);
        self.customer = known(&opportunity, "customerid").and_then(Customer::of);
        self.amount = known(&opportunity, "actualvalue").and_then(Value::decimal);
        // It is registered with the command, not with its answer: of an order whose answer never
        // came nobody knows that it is not there.
        saga.undo_with(Self::CANCEL_ORDER, &())?;
        self.ask("salesorder.create", saga.key())?;
        Ok(
            Next::wait_for("d365.custom.salesorder.created", Self::ORDER_CREATED)
                .or_for("d365.custom.salesorder.refused", Self::REFUSED)
                .at_most(seconds("order_seconds")?, Self::NOBODY_ANSWERED),
        )
    }

    fn order_created(&mut self, saga: &mut Saga, order: Data<Numbered>) -> Step {
        self.number = Some(order.0.number);
        saga.undo_with(Self::RELEASE_CREDIT, &self.amount)?;
        self.ask("credit.reserve", saga.key())?;
        Ok(
            Next::wait_for("d365.custom.credit.reserved", Self::CREDIT_RESERVED)
                .or_for("d365.custom.credit.refused", Self::REFUSED)
                .at_most(seconds("credit_seconds")?, Self::NOBODY_ANSWERED),
        )
    }

    fn credit_reserved(&mut self, saga: &mut Saga) -> Step {
        saga.undo_with(Self::VOID_INVOICE, &())?;
        self.ask("invoice.post", saga.key())?;
        Ok(Next::wait_for("d365.custom.invoice.posted", Self::INVOICED)
            .or_for("d365.custom.invoice.refused", Self::REFUSED)
            .at_most(seconds("invoice_seconds")?, Self::NOBODY_ANSWERED))
    }

    fn invoiced(&mut self, saga: &mut Saga, invoice: Data<Numbered>) -> Step {
        info!("{} is invoiced as {}", saga.key(), invoice.number);
        self.invoice = Some(invoice.0.number);
        Ok(Next::done())
    }

    fn refused(&mut self, _: &mut Saga, refused: Data<Refused>) -> Step {
        Ok(Next::fail(format_args!(
            "{} was refused: {}",
            self.asked, refused.reason
        )))
    }

    fn nobody_answered(&mut self, _: &mut Saga) -> Step {
        Ok(Next::fail(format_args!(
            "nobody has answered {}",
            self.asked
        )))
    }

    fn cancel_order(&mut self, undo: &Undo) -> Outcome {
        send("salesorder.cancel", undo.key(), self, Some(undo.why()))
    }

    fn release_credit(&mut self, undo: &Undo, amount: Option<Decimal>) -> Outcome {
        self.amount = amount;
        send("credit.release", undo.key(), self, Some(undo.why()))
    }

    fn void_invoice(&mut self, undo: &Undo) -> Outcome {
        send("invoice.void", undo.key(), self, Some(undo.why()))
    }
}

impl Order {
    /// Sends a command, and remembers what is waited for.
    fn ask(&mut self, command: &str, opportunity: &str) -> Outcome {
        command.clone_into(&mut self.asked);
        send(command, opportunity, self, None)
    }
}

/// The columns that decide.
#[derive(Deserialize)]
struct Opportunity {
    statecode: Option<i64>,
}

/// A column of the message, else of an image from after or before.
fn known<'a>(opportunity: &'a RemoteExecutionContext, column: &str) -> Option<&'a Value> {
    let after = &opportunity.post_entity_images;
    let images = after.iter().chain(&opportunity.pre_entity_images);
    let mut images = images.map(|image| image.entity.attribute(column));
    opportunity
        .attribute(column)
        .or_else(|| images.find_map(|value| value))
}

/// How long an answer may take.
fn seconds(key: &str) -> Result<Duration, Failure> {
    Ok(Duration::from_secs(config::parse(key)?))
}
