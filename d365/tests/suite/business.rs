//! What an integrator asks a business event.

use sluicegate_d365::{BusinessEvent, Decimal};

use crate::fixture;

fn event(name: &str) -> BusinessEvent {
    BusinessEvent::parse(&fixture(name)).expect(name)
}

#[test]
fn the_envelope() {
    let event = event("fno-business-event");
    assert_eq!(
        event.business_event_id,
        "NwkSalesOrderConfirmedBusinessEvent"
    );
    assert_eq!(event.legal_entity(), Some("demf"));
    assert_eq!(event.context_subject(), Some("SO-004711"));
    assert_eq!(event.control_number, Some(5_637_219_034_117));
    assert_eq!(
        event.id().as_deref(),
        Some("4e9b07c2-d15a-4f83-b6e0-8a2c7d3f911c")
    );
    assert_eq!(
        event.user().as_deref(),
        Some("b7d05e4c-93f1-4a28-8c6e-1f0a5d9b3e1d"),
        "without braces"
    );
    assert_eq!(
        event.time().unwrap().rfc3339(),
        "2026-10-08T10:00:00.4127305Z"
    );
    assert_eq!(event.version().as_deref(), Some("1.2"));
}

#[test]
fn its_own_members() {
    let event = event("fno-business-event");
    assert_eq!(event.text("Customer Group"), Some("20"));
    assert_eq!(event.flag("CreditCheck"), Some(true));
    assert_eq!(event.flag("IsIntercompany"), Some(false));
    assert_eq!(event.flag("Customer Group"), None);
    assert_eq!(
        event.decimal("TotalAmount"),
        Some(Decimal::new(1_049_999_900, 4))
    );
    assert_eq!(
        event.member("TotalAmount").unwrap().to_string(),
        "104999.9900"
    );
    assert_eq!(
        event.member("Lines").unwrap()[0]["Quantity"].to_string(),
        "4.00"
    );
    assert_eq!(
        event.when("ConfirmDate").unwrap().rfc3339(),
        "2026-10-08T00:00:00Z"
    );
    assert_eq!(event.when("DeliveryDate"), None, "1900-01-01 is no date");
    assert_eq!(event.guid("SourceRecId"), None, "zero");
    assert_eq!(event.member("EventId"), None, "the envelope's are fields");
}

#[test]
fn the_seconds_stand_in_where_the_precise_time_is_missing() {
    let mut event = event("fno-business-event");
    event.event_time_iso8601 = None;
    assert_eq!(event.time().unwrap().rfc3339(), "2026-10-08T10:00:00Z");
    event.event_time_iso8601 = Some("yesterday".to_owned());
    assert_eq!(event.time().unwrap().rfc3339(), "2026-10-08T10:00:00Z");
}

#[test]
fn a_test_message_is_an_event_with_nothing_known() {
    let event = event("fno-test-message");
    assert_eq!(event.id(), None);
    assert_eq!(event.legal_entity(), None);
    assert_eq!(event.context_subject(), None);
    assert_eq!(event.time(), None);
    assert_eq!(event.user(), None);
    let null = BusinessEvent::parse(br#"{"BusinessEventId":null,"EventId":null}"#).unwrap();
    assert_eq!(null.business_event_id, "");
    assert_eq!(
        null.to_json().to_string(),
        r#"{"BusinessEventId":null,"EventId":null}"#
    );
}
