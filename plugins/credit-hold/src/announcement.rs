//! Takes an account whose credit limit has passed the bound, gives the event's body and subject.

use serde::Serialize;
use sluicegate_guest::d365::{
    Decimal, EntityReference, Kind, Origin, RemoteExecutionContext, Subject, Value,
};

/// The body of what is emitted. Amounts are text, so that no reader makes a binary
/// floating-point number of one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Announcement {
    account: Option<String>,
    name: Option<String>,
    /// Digits as they came; null when the limit was taken away.
    credit_limit: Option<String>,
    currency: Option<Currency>,
    limit: String,
    /// The user who changed it.
    changed_by: Option<String>,
    /// RFC 3339.
    changed_on: Option<String>,
}

#[derive(Debug, Serialize)]
struct Currency {
    id: Option<String>,
    name: Option<String>,
}

impl Announcement {
    pub(crate) fn new(account: &RemoteExecutionContext, limit: Decimal) -> Self {
        let changed_on = account
            .when("modifiedon")
            .or_else(|| account.operation_time());
        Self {
            account: account.record_id().map(str::to_ascii_lowercase),
            name: known(account, "name")
                .and_then(Value::text)
                .map(str::to_owned),
            credit_limit: account.attribute("creditlimit").and_then(digits),
            currency: known(account, "transactioncurrencyid")
                .and_then(Value::lookup)
                .map(Currency::of),
            limit: limit.to_string(),
            changed_by: account.initiating_user_id.clone(),
            changed_on: changed_on.map(|date| date.rfc3339()),
        }
    }
}

impl Currency {
    fn of(reference: &EntityReference) -> Self {
        Self {
            id: reference.id.clone(),
            name: reference.name.clone(),
        }
    }
}

/// `d365.custom.<environment>.business.credit-hold.<action>`.
pub(crate) fn subject(environment: &str, action: &str) -> String {
    Subject {
        origin: Origin::Custom,
        environment: sluicegate_guest::d365::token(environment),
        kind: Kind::Business,
        name: "credit-hold".to_owned(),
        action: action.to_owned(),
        slot: None,
    }
    .to_string()
}

/// A column of the message, else of an image from after or before.
fn known<'a>(account: &'a RemoteExecutionContext, column: &str) -> Option<&'a Value> {
    let images = account
        .post_entity_images
        .iter()
        .chain(&account.pre_entity_images);
    let mut images = images.map(|image| image.entity.attribute(column));
    account
        .attribute(column)
        .or_else(|| images.find_map(|value| value))
}

fn digits(value: &Value) -> Option<String> {
    match value {
        Value::Money(money) => Some(money.text().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        other => other.decimal().map(|amount| amount.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_amount_digit_by_digit() {
        let body = include_bytes!("../events/2-raised-above.json");
        let account = RemoteExecutionContext::parse(body).unwrap();
        let announcement = Announcement::new(&account, "50000".parse().unwrap());
        assert_eq!(
            serde_json::to_string(&announcement).unwrap(),
            r#"{"account":"7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05","name":"Litware Ltd.","creditLimit":"50000.0001","currency":{"id":"4f1d7b2e-8c3a-4e96-a05d-6b9f2c7e1d08","name":"Euro"},"limit":"50000","changedBy":"00891ea1-854c-43bd-901c-7373ce3f5dde","changedOn":"2026-01-28T11:00:00Z"}"#
        );
    }

    #[test]
    fn the_name_may_come_from_an_image() {
        let body = br#"{"MessageName":"Update","InputParameters":[],
            "PreEntityImages":[{"key":"before","value":{"Attributes":[{"key":"name","value":"Litware"}]}}]}"#;
        let account = RemoteExecutionContext::parse(body).unwrap();
        let announcement = Announcement::new(&account, Decimal::from(1));
        assert_eq!(announcement.name.as_deref(), Some("Litware"));
        assert_eq!(announcement.credit_limit, None);
    }

    #[test]
    fn the_environment_is_a_token_of_the_subject() {
        assert_eq!(
            subject("Contoso EU", "lifted"),
            "d365.custom.contoso_eu.business.credit-hold.lifted"
        );
    }
}
