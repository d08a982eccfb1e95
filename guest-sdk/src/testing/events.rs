//! Takes a body, gives the event that the gateway makes of it; values of columns to build bodies
//! with.

use sha2::{Digest, Sha256};

use crate::d365::{self, Choice, Date, EntityReference, Money};
use crate::{Attribute, Delivery, Event};

/// The event that the gateway makes of a body: a captured one, or one of the documentation.
///
/// ```
/// use sluicegate_guest::testing;
///
/// let body = br#"{"MessageName":"Update","PrimaryEntityName":"account",
///     "PrimaryEntityId":"7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05"}"#;
/// let event = testing::event_of("contoso", body);
/// assert_eq!(event.event_type(), "d365.dataverse.account.update");
/// assert_eq!(event.subject(), Some("account/7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05"));
/// ```
///
/// # Panics
/// When the body is no Dataverse execution context and no business event: the gateway would make
/// a dead letter of it.
pub fn event_of(environment: &str, body: impl Into<Vec<u8>>) -> Event {
    let body = body.into();
    let mapped = match d365::map(environment, &body) {
        Ok(mapped) => mapped,
        Err(error) => panic!("the body is no Dynamics 365 event: {error}"),
    };
    let mut event = Event::builder(mapped.event_type)
        .id(mapped.id)
        .source(mapped.source)
        .data("application/json", body);
    for (name, value) in mapped.extensions {
        event = event.attribute(&name, value);
    }
    let mut event = event.build();
    event.subject = mapped.subject;
    event.time = mapped.time;
    event
}

/// A currency column's value, from its digits: `"75000.0000"`.
///
/// # Panics
/// When the text is no JSON number.
pub fn money(digits: &str) -> Money {
    digits
        .parse()
        .unwrap_or_else(|error| panic!("money({digits:?}): {error}"))
}

/// A choice column's value: the number of the option.
pub fn choice(option: i64) -> Choice {
    Choice::new(option)
}

/// A lookup column's value: the table's logical name, and the record's id.
pub fn lookup(table: &str, id: &str) -> EntityReference {
    EntityReference {
        logical_name: Some(table.to_owned()),
        id: Some(id.to_owned()),
        ..EntityReference::default()
    }
}

/// A date column's value, from RFC 3339.
///
/// # Panics
/// When the text is no date.
pub fn date(text: &str) -> Date {
    let parsed = Date::parse(text).and_then(|date| {
        let wire = format!("/Date({})/", date.unix_ms());
        Date::parse(&wire)
    });
    parsed.unwrap_or_else(|error| panic!("date({text:?}): {error}"))
}

/// What the host says about a first attempt.
pub(super) fn delivery(event: &Event, sequence: u64) -> Delivery {
    let key = event.attribute("partitionkey").map(Attribute::text);
    let hash = Sha256::digest(format!("{}\n{}", event.source(), event.id()));
    let digits = hash.iter().take(16).map(|byte| format!("{byte:02x}"));
    Delivery {
        idempotency_key: digits.collect(),
        partition_key: key.map(|key| key.into_owned()).unwrap_or_default(),
        sequence,
        ..Delivery::default()
    }
}
