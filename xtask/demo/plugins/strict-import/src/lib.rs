//! Imports posted F&O free text invoices into a ledger that knows some currencies only.
//!
//! An invoice in another one is rejected: no retry would help, somebody has to set the currency
//! up. The invoice waits as a dead letter, and is replayed when that is done.

use serde::Deserialize;
use sluicegate_guest::*;

/// What the import needs of the business event `CustFreeTextInvoicePostedBusinessEvent`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Invoice {
    invoice_id: String,
    transaction_currency_code: String,
    /// With the digits that it was written with.
    transaction_currency_amount: d365::Number,
}

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let invoice: Invoice = event.json()?;
    let currency = &invoice.transaction_currency_code;
    let known: String = config::parse("currencies")?;
    if !known.split_whitespace().any(|code| code == currency) {
        return Err(reject(format!(
            "invoice {} is in {currency}, and the import knows {known}: set the currency up, add \
             it to `currencies`, replay the event",
            invoice.invoice_id
        )));
    }
    let replayed = if delivery.is_replay { ", replayed" } else { "" };
    info!(
        "invoice {} over {} {currency} is imported{replayed}",
        invoice.invoice_id, invoice.transaction_currency_amount
    );
    Ok(())
}
