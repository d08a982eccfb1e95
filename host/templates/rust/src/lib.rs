//! Takes changes of accounts, gives an event when a credit limit goes over the configured one.

use serde::{Deserialize, Serialize};
use sluicegate_guest::d365::{Decimal, Money};
use sluicegate_guest::*;

/// The columns that the plug-in reads. An update carries the changed ones only.
#[derive(Deserialize)]
struct Account {
    name: Option<String>,
    creditlimit: Option<Decimal>,
}

/// What is kept of each account.
#[derive(Default, Serialize, Deserialize)]
struct Seen {
    raised: u64,
}

#[derive(Serialize)]
struct Raised<'a> {
    name: Option<&'a str>,
    limit: Money,
    times: u64,
}

#[consumer]
fn handle(event: Event, account: Record<Account>, mut seen: State<Seen>) -> Outcome {
    let Some(limit) = account.row.creditlimit else {
        return Ok(());
    };
    let bound: Decimal = config::parse("limit")?;
    if limit <= bound {
        info!("{} is within the limit", account.record_id().unwrap_or("an account"));
        return Ok(());
    }
    seen.raised += 1;
    let environment = event.environment().ok_or_else(|| reject("the source names no environment"))?;
    let subject = format!("d365.custom.{}.business.{{name}}.raised", d365::token(&environment));
    let raised = Raised {
        name: account.row.name.as_deref(),
        limit: limit.into(),
        times: seen.raised,
    };
    let raised = Event::builder("d365.custom.{{name}}.raised")
        .subject(event.subject().unwrap_or_default())
        .json(&raised)?;
    outbox::emit(&subject, raised);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> testing::Host {
        testing::Host::new().with_config("limit", "50000")
    }

    #[test]
    fn a_limit_over_the_bound_is_told_once_for_each_change() {
        let mut host = host();
        let change = testing::record("account").set("creditlimit", testing::money("50000.0001"));
        for times in 1..=2 {
            let called = host.call(handle, change.event());
            assert_eq!(called.outcome, Ok(()));
            assert_eq!(called.emitted[0].subject, "d365.custom.contoso.business.{{name}}.raised");
            let told = String::from_utf8_lossy(called.emitted[0].event.data()).into_owned();
            assert_eq!(told, format!(r#"{{"name":null,"limit":50000.0001,"times":{times}}}"#));
        }
    }

    #[test]
    fn nothing_is_told_of_a_limit_within_the_bound_or_of_another_column() {
        for change in [
            testing::record("account").set("creditlimit", testing::money("50000.0000")),
            testing::record("account").set("name", "Contoso"),
            testing::record("account").delete(),
        ] {
            let called = host().call(handle, change.event());
            assert_eq!(called.outcome, Ok(()));
            assert!(called.emitted.is_empty());
        }
    }

    #[test]
    fn a_bound_that_is_no_number_rejects_and_says_so() {
        let mut host = testing::Host::new().with_config("limit", "much");
        let change = testing::record("account").set("creditlimit", testing::money("1"));
        let failure = host.call(handle, change.event()).outcome.unwrap_err();
        assert!(failure.message().contains("\"limit\" is \"much\""), "{failure}");
    }
}
