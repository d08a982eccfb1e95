//! Takes creates and updates of accounts, gives an event when the credit limit passes a bound,
//! and another when it is within it again.

mod announcement;
mod hold;

use announcement::Announcement;
use hold::{Hold, Step};
use sluicegate_guest::d365::Decimal;
use sluicegate_guest::*;

/// Compares the account's credit limit with the configured one.
#[consumer]
fn handle(event: Event) -> Outcome {
    let account = event.record()?;
    let Some(amount) = account.attribute("creditlimit") else {
        return Ok(());
    };
    let id = account
        .record_id()
        .ok_or_else(|| reject("the account has no id: PrimaryEntityId and Target.Id are zero"))?;
    let limit: Decimal = config::parse("limit")?;
    let amount = hold::amount(amount)?;

    let environment = event.environment().ok_or_else(|| {
        reject(format_args!(
            "no environment in the source {}",
            event.source()
        ))
    })?;

    let record = format!("account/{}", id.to_ascii_lowercase());
    // Environments that were copied from one another share their records' ids.
    let key = format!("{environment}/{record}");
    let mut hold: Hold = state::get_json(&key)?.unwrap_or_default();
    let step = hold.step(amount, limit);
    let Some(action) = step.action() else {
        return Ok(());
    };
    let announced = Event::builder(format!("d365.custom.credit-hold.{action}"))
        .id(hold.event_id(&key, limit, action))
        .subject(&record)
        .partition_key(&record)
        .json(&Announcement::new(&account, limit))?;
    outbox::emit(&announcement::subject(&environment, action), announced);
    state::put_json(&key, &hold)?;
    match step {
        Step::Raise => warn!(
            "{record} is over the limit of {limit}: hold {} raised",
            hold.count
        ),
        _ => info!(
            "{record} is within the limit of {limit} again: hold {} lifted",
            hold.count
        ),
    }
    Ok(())
}
