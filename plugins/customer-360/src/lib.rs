//! Takes changes of accounts, contacts, opportunities and F&O customers, gives one row a customer.
//!
//! What belongs to a customer may come before the customer does, change its mind about whose it is,
//! and go: so each thing has a row of its own that says what it counted for, and a change takes
//! that back before it counts anew.

mod rows;

use rows::{Contact, Customer, FnoCustomer, Number, Opportunity};
use sluicegate_guest::d365::{Decimal, RemoteExecutionContext};
use sluicegate_guest::rows as table;
use sluicegate_guest::*;

const CUSTOMERS: &str = "customers";
const CONTACTS: &str = "contacts";
const OPPORTUNITIES: &str = "opportunities";
const FNO_CUSTOMERS: &str = "fno_customers";
const NUMBERS: &str = "numbers";

/// The choice of `statecode` of an opportunity that is neither won nor lost.
const OPEN: i64 = 0;

/// Takes one change into the rows.
#[projection]
fn apply(event: Event) -> Outcome {
    let record = event.record()?;
    let id = record
        .record_id()
        .ok_or_else(|| reject("the record has no id"))?;
    let id = id.to_ascii_lowercase();
    let is_gone = record.message().eq_ignore_ascii_case("Delete");
    match record.table() {
        Some("account") => account(&record, &id, is_gone),
        Some("contact") => contact(&record, &id, is_gone),
        Some("opportunity") => opportunity(&record, &id, is_gone),
        Some(_) => fno_customer(&record, &id, is_gone),
        None => Err(reject("the message names no table")),
    }
}

fn customer(id: &str) -> Result<Customer, Failure> {
    Ok(table::get_json(CUSTOMERS, id)?.unwrap_or_default())
}

/// A customer of whom nothing is known any more has no row.
fn put_customer(id: &str, customer: &Customer) -> Outcome {
    if *customer == Customer::default() {
        table::delete(CUSTOMERS, id);
        return Ok(());
    }
    Ok(table::put_json(CUSTOMERS, id, customer)?)
}

fn account(record: &RemoteExecutionContext, id: &str, is_gone: bool) -> Outcome {
    let mut row = customer(id)?;
    let before = row.number.clone();
    if is_gone {
        row = Customer {
            contacts: row.contacts,
            open_opportunities: row.open_opportunities,
            open_value: row.open_value,
            ..Customer::default()
        };
    } else {
        row.is_known = true;
        let text = |column: &str, now: Option<String>| match record.changed(column) {
            true => record.text(column).map(str::to_owned),
            false => now,
        };
        row.name = text("name", row.name);
        row.number = text("accountnumber", row.number);
        row.country = text("address1_country", row.country);
        if record.changed("creditlimit") {
            row.credit_limit = record
                .money("creditlimit")
                .and_then(|money| money.decimal());
        }
    }
    if row.number != before {
        if let Some(number) = &before {
            let mut link: Number = table::get_json(NUMBERS, number)?.unwrap_or_default();
            if link.customer.as_deref() == Some(id) {
                link.customer = None;
                put_number(number, &link)?;
            }
        }
        row.fno = None;
        if let Some(number) = &row.number {
            let mut link: Number = table::get_json(NUMBERS, number)?.unwrap_or_default();
            // The last one that says it has the number has it.
            if let Some(other) = link.customer.replace(id.to_owned())
                && other != id
            {
                let mut theirs = customer(&other)?;
                theirs.fno = None;
                put_customer(&other, &theirs)?;
            }
            if let Some(fno) = &link.fno {
                row.fno = table::get_json(FNO_CUSTOMERS, fno)?;
            }
            put_number(number, &link)?;
        }
    }
    put_customer(id, &row)
}

fn put_number(number: &str, link: &Number) -> Outcome {
    if *link == Number::default() {
        table::delete(NUMBERS, number);
        return Ok(());
    }
    Ok(table::put_json(NUMBERS, number, link)?)
}

/// Whose a thing is: of an account, or of nobody that has a row.
fn whose(record: &RemoteExecutionContext, column: &str, now: Option<String>) -> Option<String> {
    if !record.changed(column) {
        return now;
    }
    let lookup = record.lookup(column)?;
    let is_account = lookup.logical_name.as_deref() == Some("account");
    let id = lookup.known_id().filter(|_| is_account)?;
    Some(id.to_ascii_lowercase())
}

fn contact(record: &RemoteExecutionContext, id: &str, is_gone: bool) -> Outcome {
    let was: Contact = table::get_json(CONTACTS, id)?.unwrap_or_default();
    if let Some(before) = &was.customer {
        let mut row = customer(before)?;
        row.contacts = row.contacts.saturating_sub(1);
        put_customer(before, &row)?;
    }
    if is_gone {
        table::delete(CONTACTS, id);
        return Ok(());
    }
    let now = Contact {
        name: match record.changed("fullname") {
            true => record.text("fullname").map(str::to_owned),
            false => was.name,
        },
        customer: whose(record, "parentcustomerid", was.customer),
    };
    if let Some(after) = &now.customer {
        let mut row = customer(after)?;
        row.contacts += 1;
        put_customer(after, &row)?;
    }
    Ok(table::put_json(CONTACTS, id, &now)?)
}

fn opportunity(record: &RemoteExecutionContext, id: &str, is_gone: bool) -> Outcome {
    let was: Opportunity = table::get_json(OPPORTUNITIES, id)?.unwrap_or_default();
    if let Some(before) = was.counts_for() {
        let mut row = customer(before)?;
        row.open_opportunities = row.open_opportunities.saturating_sub(1);
        row.open_value -= was.value;
        row.open_value = row.open_value.normalize();
        put_customer(before, &row)?;
    }
    if is_gone {
        table::delete(OPPORTUNITIES, id);
        return Ok(());
    }
    let mut now = was;
    now.customer = whose(record, "customerid", now.customer);
    if record.changed("estimatedvalue") {
        let value = record.money("estimatedvalue");
        let value = value.and_then(|money| money.decimal());
        now.value = value.unwrap_or(Decimal::ZERO).normalize();
    }
    if record.changed("statecode") {
        now.is_closed = record.choice("statecode").unwrap_or(OPEN) != OPEN;
    }
    if let Some(after) = now.counts_for() {
        let mut row = customer(after)?;
        row.open_opportunities += 1;
        row.open_value += now.value;
        row.open_value = row.open_value.normalize();
        put_customer(after, &row)?;
    }
    Ok(table::put_json(OPPORTUNITIES, id, &now)?)
}

fn fno_customer(record: &RemoteExecutionContext, id: &str, is_gone: bool) -> Outcome {
    let was: FnoCustomer = table::get_json(FNO_CUSTOMERS, id)?.unwrap_or_default();
    let mut now = was.clone();
    let text = |column: &str, now: Option<String>| match record.changed(column) {
        true => record.text(column).map(str::to_owned),
        false => now,
    };
    now.account = text("mserp_customeraccount", now.account);
    now.name = text("mserp_organizationname", now.name);
    if record.changed("mserp_creditlimit") {
        let limit = record.money("mserp_creditlimit");
        now.credit_limit = match limit {
            Some(money) => money.decimal(),
            None => record.decimal("mserp_creditlimit"),
        };
    }
    if is_gone {
        now = FnoCustomer::default();
    }
    if was.account != now.account
        && let Some(account) = &was.account
    {
        link(account, id, None)?;
    }
    match is_gone {
        true => table::delete(FNO_CUSTOMERS, id),
        false => table::put_json(FNO_CUSTOMERS, id, &now)?,
    }
    match &now.account {
        Some(account) => link(account, id, Some(&now)),
        None => Ok(()),
    }
}

/// A number is, or is no more, that of an F&O customer; whose account has it is told.
fn link(number: &str, fno: &str, row: Option<&FnoCustomer>) -> Outcome {
    let mut link: Number = table::get_json(NUMBERS, number)?.unwrap_or_default();
    if row.is_none() && link.fno.as_deref() != Some(fno) {
        return Ok(());
    }
    link.fno = row.map(|_| fno.to_owned());
    put_number(number, &link)?;
    let Some(id) = &link.customer else {
        return Ok(());
    };
    let mut theirs = customer(id)?;
    theirs.fno = row.cloned();
    put_customer(id, &theirs)
}

#[cfg(test)]
mod tests;
