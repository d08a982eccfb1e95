//! Takes a business event, gives the order that it is about in one shape.

use serde::Serialize;
use sluicegate_guest::d365::{BusinessEvent, Date, Json, Members};
use sluicegate_guest::{Failure, reject};

/// Which members hold what, separated by commas; the first that the body has counts.
pub(crate) struct Names {
    pub(crate) number: String,
    pub(crate) party: String,
    pub(crate) amount: String,
    pub(crate) currency: String,
}

/// The body of what is emitted. What the event does not say is absent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    number: String,
    legal_entity: String,
    /// The business event's id.
    event: String,
    /// The customer's or the vendor's account.
    #[serde(skip_serializing_if = "Option::is_none")]
    party: Option<String>,
    /// Text, with the digits as they came.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    /// Every member of the event's own: numbers as text, dates in RFC 3339.
    details: Members,
}

impl Order {
    /// Rejects an event that does not say which order it is about.
    pub(crate) fn of(business: &BusinessEvent, names: &Names) -> Result<Self, Failure> {
        let number = member(business, &names.number).ok_or_else(|| {
            reject(format_args!(
                "the {} has no order number: none of the members {} is there and filled; name the \
                 right one in the config key \"number\" and replay the event",
                business.business_event_id, names.number
            ))
        })?;
        Ok(Self {
            number,
            legal_entity: business.legal_entity().unwrap_or_default().to_lowercase(),
            event: business.business_event_id.clone(),
            party: member(business, &names.party),
            amount: member(business, &names.amount),
            currency: member(business, &names.currency),
            details: details(&business.extra),
        })
    }

    /// `order/<legal entity>/<number>`.
    pub(crate) fn subject(&self) -> String {
        format!("order/{}/{}", self.legal_entity, self.number)
    }
}

/// The first of the named members that has a text or a number in it, as text.
fn member(business: &BusinessEvent, names: &str) -> Option<String> {
    names.split(',').find_map(|name| match name.trim() {
        "ContextRecordSubject" => business.context_subject().map(str::to_owned),
        name => match business.member(name)? {
            Json::String(text) if !text.trim().is_empty() => Some(text.clone()),
            Json::Number(number) => Some(number.to_string()),
            _ => None,
        },
    })
}

fn details(members: &Members) -> Members {
    let members = members.iter();
    let members = members.filter_map(|(name, value)| Some((name.clone(), normal(value)?)));
    members.collect()
}

/// The value in the one spelling; `None` for what says nothing: null, a null date, and an
/// object or a list of such.
fn normal(value: &Json) -> Option<Json> {
    match value {
        Json::Null => None,
        Json::Bool(flag) => Some((*flag).into()),
        Json::Number(number) => Some(number.to_string().into()),
        Json::String(text) if text.starts_with("/Date(") => match Date::parse(text) {
            Ok(date) if date.is_null_date() => None,
            Ok(date) => Some(date.rfc3339().into()),
            Err(_) => Some(text.clone().into()),
        },
        Json::String(text) => Some(text.clone().into()),
        Json::Array(items) => {
            let items: Vec<Json> = items.iter().filter_map(normal).collect();
            (!items.is_empty()).then(|| items.into())
        }
        Json::Object(members) => {
            let members = details(members);
            (!members.is_empty()).then(|| members.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let names = |text: &str| text.to_owned();
        Names {
            number: names("SalesOrderNumber, PurchaseOrderNumber"),
            party: names("CustomerAccount, VendorAccount"),
            amount: names("InvoiceAmount, TransactionCurrencyAmount"),
            currency: names("CurrencyCode, TransactionCurrencyCode"),
        }
    }

    fn order(body: &str) -> Result<Order, Failure> {
        Order::of(&BusinessEvent::parse(body.as_bytes()).unwrap(), &names())
    }

    #[test]
    fn a_purchase_and_a_sale_come_out_in_one_shape() {
        let purchase = order(include_str!("../events/purchase-order-confirmed.json")).unwrap();
        assert_eq!(purchase.subject(), "order/demf/PO-00081");
        assert_eq!(purchase.amount.as_deref(), Some("98765432109.8700"));
        assert_eq!(purchase.currency.as_deref(), Some("EUR"));
        assert_eq!(purchase.party.as_deref(), Some("DE-001"));
        let sale = order(include_str!("../events/sales-order-invoiced.json")).unwrap();
        assert_eq!(
            serde_json::to_string(&sale).unwrap(),
            r#"{"number":"SO-000715","legalEntity":"usmf","event":"SalesOrderInvoicedBusinessEvent","amount":"1250.5000","currency":"USD","details":{"CurrencyCode":"USD","Customer":{"Account":"US-004","Group Name":"Wholesale"},"InvoiceAmount":"1250.5000","InvoiceDate":"2026-02-03T00:00:00Z","IsPrepaid":"No","LegalEntity":"USMF","SalesOrderNumber":"SO-000715"}}"#
        );
    }

    #[test]
    fn without_a_number_the_rejection_names_the_members_that_were_looked_for() {
        let error = order(include_str!("../events/without-a-number.json"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("reject: the PurchaseOrderConfirmedBusinessEvent"),
            "{error}"
        );
        assert!(
            error.contains("SalesOrderNumber, PurchaseOrderNumber"),
            "{error}"
        );
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let body = r#"{"BusinessEventId":"E","SalesOrderNumber":"1","A":null,"B":"/Date(-2208988800000)/",
            "C":[],"D":{"E":null},"F":[null,1.50],"G":"/Date(oops)/","H":true}"#;
        let details = serde_json::to_string(&order(body).unwrap().details).unwrap();
        assert_eq!(
            details,
            r#"{"F":["1.50"],"G":"/Date(oops)/","H":true,"SalesOrderNumber":"1"}"#
        );
    }
}
