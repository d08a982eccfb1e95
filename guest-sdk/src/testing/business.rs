//! Takes a business event's id and members, gives the event that Finance and Operations sends.

use super::event_of;
use crate::Event;
use crate::d365::{BusinessEvent, Date, Decimal, Json, Value};

/// Begins a business event of Finance and Operations: `SalesOrderInvoicedBusinessEvent`.
pub fn business_event(id: &str) -> BusinessEventBuilder {
    BusinessEventBuilder {
        environment: "contoso".to_owned(),
        event: BusinessEvent {
            business_event_id: id.to_owned(),
            business_event_legal_entity: Some("usmf".to_owned()),
            context_record_subject: Some(String::new()),
            control_number: Some(5_637_611_083),
            event_id: Some("8AE4B1F0-6B0D-4A3E-9C52-77D0E1F2A3B4".to_owned()),
            event_time: Some("/Date(1700000000000)/".to_owned()),
            event_time_iso8601: Some("2023-11-14T22:13:20.1234567Z".to_owned()),
            major_version: Some(0),
            minor_version: Some(0),
            ..BusinessEvent::default()
        },
    }
}

/// A business event, under construction.
#[derive(Debug, Clone)]
#[must_use = "event() gives the event"]
pub struct BusinessEventBuilder {
    environment: String,
    event: BusinessEvent,
}

impl BusinessEventBuilder {
    /// A member of the event's own: text, a flag, a whole number, a [`Json`]; an amount by
    /// [`amount`](Self::amount), a date by [`date`](Self::date).
    pub fn set(mut self, member: &str, value: impl Into<Json>) -> Self {
        self.event.extra.insert(member.to_owned(), value.into());
        self
    }

    /// A member that is an amount, with every digit.
    pub fn amount(self, member: &str, amount: Decimal) -> Self {
        self.set(member, Value::from(amount))
    }

    /// A member that is a date, as `/Date(ms)/`.
    pub fn date(self, member: &str, date: &Date) -> Self {
        self.set(member, format!("/Date({})/", date.unix_ms()))
    }

    /// The company; `usmf` when left out.
    pub fn legal_entity(mut self, legal_entity: &str) -> Self {
        self.event.business_event_legal_entity = Some(legal_entity.to_owned());
        self
    }

    /// The environment that sends it; `contoso` when left out.
    pub fn environment(mut self, environment: &str) -> Self {
        self.environment = environment.to_owned();
        self
    }

    /// Changes whatever else the event says: its ids, its number, its times.
    pub fn with(mut self, change: impl FnOnce(&mut BusinessEvent)) -> Self {
        change(&mut self.event);
        self
    }

    /// The body that is posted.
    pub fn body(&self) -> Vec<u8> {
        self.event.to_json().to_string().into_bytes()
    }

    /// The event that the gateway makes of it.
    pub fn event(&self) -> Event {
        event_of(&self.environment, self.body())
    }
}

impl From<BusinessEventBuilder> for Event {
    fn from(builder: BusinessEventBuilder) -> Self {
        builder.event()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::date;

    #[test]
    fn the_event_is_what_the_gateway_makes_of_such_a_body() {
        let event = business_event("CustomerCreated")
            .legal_entity("dat")
            .set("AccountNum", "C-1")
            .amount("Limit", Decimal::new(500_000_001, 4))
            .date("Created", &date("2026-11-24T09:30:00Z"))
            .event();
        assert_eq!(event.event_type(), "d365.fno.CustomerCreated");
        assert_eq!(event.legal_entity().as_deref(), Some("dat"));
        assert_eq!(event.time(), Some("2023-11-14T22:13:20.1234567Z"));
        assert_eq!(event.id(), "8ae4b1f0-6b0d-4a3e-9c52-77d0e1f2a3b4");
        let read = event.business_event().unwrap();
        assert_eq!(read.text("AccountNum"), Some("C-1"));
        assert_eq!(read.decimal("Limit").unwrap().to_string(), "50000.0001");
    }
}
