//! Books a Dataverse invoice in an ERP on premises.
//!
//! The ERP is made up: like many a real one it is closing its books just now and turns the
//! first two calls away. What such a plug-in has to do about that is one line: ask for a retry.

use sluicegate_guest::*;

/// The ERP's answer 503.
struct Busy;

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let invoice = event.record()?;
    let number = invoice
        .text("invoicenumber")
        .ok_or_else(|| reject("the invoice has no invoicenumber"))?;
    let attempt = delivery.attempt;
    if let Err(Busy) = book(number, &delivery) {
        warn!("attempt {attempt}: the ERP answers 503 to invoice {number}");
        return Err(retry("the ERP answers 503: it is closing its books"));
    }
    info!("attempt {attempt}: invoice {number} is booked");
    Ok(())
}

/// What the ERP answers. A real call sends the delivery's idempotency key along, by which an
/// ERP knows a repeated one.
fn book(_number: &str, delivery: &Delivery) -> Result<(), Busy> {
    match delivery.attempt {
        1 | 2 => Err(Busy),
        _ => Ok(()),
    }
}
