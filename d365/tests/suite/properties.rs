//! What holds for every body: no panic, and nothing lost between reading and writing.

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use sluicegate_d365::{
    BusinessEvent, Date, EventGridEvent, Money, RemoteExecutionContext, Subject, Value, event_grid,
    map, token,
};

use crate::{fixture, fixtures};

/// Decimal text as JSON spells it, up to more digits than any column has.
fn digits() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?"
}

/// A number with these digits.
fn number(digits: &str) -> Json {
    serde_json::from_str(digits).expect(digits)
}

/// Any JSON, numbers with digits that no `f64` holds.
fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        digits().prop_map(|text| number(&text)),
        ".*".prop_map(Json::from),
        (-5_000_000_000_000_i64..5_000_000_000_000)
            .prop_map(|ms| Json::from(format!("/Date({ms})/"))),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::hash_map("[A-Za-z_]{1,12}", inner, 0..5)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

const TYPES: [&str; 7] = [
    "Entity",
    "EntityReference",
    "EntityCollection",
    "OptionSetValue",
    "Money",
    "Relationship",
    "ColumnSet",
];

/// A value as Dataverse spells it, some of them misshapen, with members that nobody knows.
fn dataverse_value() -> impl Strategy<Value = Json> {
    let contracts = "http://schemas.microsoft.com/xrm/2011/Contracts";
    any_json().prop_recursive(4, 30, 4, move |inner| {
        let pair = ("[a-z]{1,8}", inner.clone())
            .prop_map(|(key, value)| json!({"key": key, "value": value}));
        let pairs = prop::collection::vec(pair, 0..4);
        prop_oneof![
            (
                prop::sample::select(&TYPES[..]),
                pairs.clone(),
                inner.clone(),
                digits()
            )
                .prop_map(move |(name, pairs, unknown, value)| {
                    let value = number(&value);
                    json!({
                        "__type": format!("{name}:{contracts}"), "Id": "d", "LogicalName": null,
                        "Attributes": pairs, "Value": value, "Unknown": unknown,
                    })
                }),
            (
                inner.clone(),
                prop::sample::select(&["Guid", "Int32", "Other"][..])
            )
                .prop_map(
                    |(value, name)| json!({"__type": format!("{name}:#System"), "__value": value})
                ),
            pairs.prop_map(|pairs| {
                let typed = |mut pair: Json| {
                    let tag = "KeyValuePairOfstringanyType:#System.Collections.Generic";
                    if let Some(members) = pair.as_object_mut() {
                        members.insert("__type".to_owned(), tag.into());
                    }
                    pair
                };
                pairs.into_iter().map(typed).collect()
            }),
            prop::collection::vec(inner, 0..4).prop_map(Json::from),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = map("contoso", &bytes);
        let _ = RemoteExecutionContext::parse(&bytes);
        let _ = BusinessEvent::parse(&bytes);
        let _ = event_grid("contoso", &bytes);
        let _ = EventGridEvent::parse(&bytes);
    }

    #[test]
    fn a_real_body_with_bytes_changed_does_not_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut names = fixtures();
        names.push("event-grid/delivery".to_owned());
        let name: &String = which.get(&names);
        let mut body = fixture(name);
        for (at, byte) in changes {
            *at.get_mut(&mut body) = byte;
        }
        if let Ok(event) = map("contoso", &body) {
            prop_assert!(event.nats_subject.parse::<Subject>().is_ok());
        }
        if let Ok(context) = RemoteExecutionContext::parse(&body) {
            let again = RemoteExecutionContext::from_json(context.to_json()).unwrap();
            prop_assert_eq!(again, context);
        }
        if let Ok(event) = BusinessEvent::parse(&body) {
            let again = BusinessEvent::from_json(event.to_json()).unwrap();
            prop_assert_eq!(again, event);
        }
        for item in event_grid("contoso", &body).into_iter().flatten() {
            prop_assert!(String::from_utf8_lossy(&body).contains(item.raw));
            if let Ok(event) = item.mapped {
                prop_assert!(event.nats_subject.parse::<Subject>().is_ok());
            }
        }
    }

    #[test]
    fn an_event_of_event_grid_has_clean_attributes(
        members in prop::collection::hash_map(
            prop::sample::select(&["topic", "subject", "eventTime", "dataVersion", "data", "Topic", "x"][..]),
            any_json(), 0..7),
        id in ".{0,9}",
        event_type in "(Microsoft\\.)?.{0,20}",
        topic in prop_oneof![".{0,20}", "[a-z/:?#@%\\[\\]0-9]{0,12}"],
    ) {
        let mut event: Map<String, Json> =
            members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let filled = |text: &str| !text.trim().is_empty();
        let good = filled(&id) && filled(&event_type);
        event.insert("id".to_owned(), id.into());
        event.insert("eventType".to_owned(), event_type.into());
        event.entry("topic".to_owned()).or_insert(topic.into());
        let body = Json::from(vec![Json::Object(event.clone())]).to_string();
        let items = event_grid("contoso", body.as_bytes()).unwrap();
        prop_assert_eq!(items[0].mapped.is_ok(), good);
        if let Ok(mapped) = &items[0].mapped {
            let texts = [&mapped.id, &mapped.event_type, &mapped.partition_key]
                .into_iter()
                .chain(&mapped.subject)
                .chain(mapped.extensions.iter().map(|(_, value)| value));
            for text in texts {
                prop_assert!(filled(text) && !text.chars().any(char::is_control), "{text:?}");
            }
            prop_assert!(fluent_uri::UriRef::parse(mapped.source.as_str()).is_ok(), "{}", mapped.source);
            prop_assert!(mapped.nats_subject.parse::<Subject>().is_ok());
            prop_assert_eq!(EventGridEvent::from_json(Json::Object(event.clone())).unwrap().to_json(), Json::Object(event));
        }
    }

    #[test]
    fn arbitrary_json_does_not_panic_and_attributes_are_clean(
        members in prop::collection::hash_map(
            prop::sample::select(&["MessageName", "PrimaryEntityName", "PrimaryEntityId", "OrganizationId",
                "BusinessEventId", "BusinessEventLegalEntity", "ContextRecordSubject", "EventId", "ControlNumber",
                "Depth", "OperationCreatedOn", "Mode", "ParentContext", "InputParameters"][..]),
            any_json(), 0..10),
        message in ".{1,20}",
        environment in ".{0,40}",
    ) {
        let mut body: Map<String, Json> =
            members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        body.insert("MessageName".to_owned(), message.into());
        body.entry("InputParameters".to_owned()).and_modify(|list| *list = Json::Null);
        let body = Json::Object(body).to_string();
        if let Ok(event) = map(&environment, body.as_bytes()) {
            let texts = [&event.id, &event.source, &event.event_type, &event.partition_key]
                .into_iter()
                .chain(&event.subject)
                .chain(event.extensions.iter().map(|(_, value)| value));
            for text in texts {
                prop_assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
            }
            prop_assert!(event.source.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(event.nats_subject.parse::<Subject>().is_ok(), "{}", event.nats_subject);
        }
    }

    #[test]
    fn a_value_is_written_as_it_was_read(json in dataverse_value()) {
        let value = Value::from_json(json.clone());
        if let Ok(value) = value {
            prop_assert_eq!(value.to_json(), json.clone());
            prop_assert_eq!(serde_json::to_string(&value).unwrap(), json.to_string());
            let again: Value = serde_json::from_str(&json.to_string()).unwrap();
            prop_assert_eq!(again, value);
        }
    }

    #[test]
    fn a_context_is_written_as_it_was_read(
        target in dataverse_value(),
        unknown in any_json(),
        depth in any_json(),
        parent in any_json(),
    ) {
        let json = json!({
            "MessageName": "Update", "InputParameters": [{"key": "Target", "value": target, "More": unknown}],
            "PostEntityImages": [{"key": "after", "value": {"Attributes": [{"key": "a", "value": unknown}], "New": unknown}}],
            "Unknown": unknown, "Depth": depth, "ParentContext": {"MessageName": depth, "Later": parent},
        });
        if let Ok(context) = RemoteExecutionContext::from_json(json.clone()) {
            prop_assert_eq!(context.to_json(), json.clone());
            let text = serde_json::to_string(&context).unwrap();
            prop_assert_eq!(serde_json::from_str::<RemoteExecutionContext>(&text).unwrap(), context);
        }
    }

    #[test]
    fn a_business_event_is_written_as_it_was_read(
        own in prop::collection::hash_map("[A-Z][A-Za-z ]{3,12}", any_json(), 0..6),
        number in any_json(),
    ) {
        let mut members: Map<String, Json> = own.into_iter().collect();
        members.insert("BusinessEventId".to_owned(), "NwkSomething".into());
        members.insert("ControlNumber".to_owned(), number);
        let json = Json::Object(members);
        let event = BusinessEvent::from_json(json.clone()).unwrap();
        prop_assert_eq!(event.to_json(), json);
    }

    #[test]
    fn money_keeps_its_digits(text in digits()) {
        let money: Money = text.parse().unwrap();
        prop_assert_eq!(money.text(), &text);
        match money.decimal() {
            Some(decimal) if decimal.is_zero() => prop_assert!(!text.contains(|c| ('1'..='9').contains(&c))),
            Some(decimal) => prop_assert_eq!(decimal.to_string(), text),
            None => prop_assert!(text.chars().filter(char::is_ascii_digit).count() > 28),
        }
    }

    #[test]
    fn dates_and_names_do_not_panic(text in ".*", sign in "[+-]?", digits in "[0-9]{0,20}", offset in "([+-].{0,5})?") {
        let wire = format!("/Date({sign}{digits}{offset})/");
        for text in [&text, &wire] {
            for mode in [None, Some(0), Some(1)] {
                if let Ok(date) = Date::of_operation(text, mode) {
                    prop_assert_eq!(Date::parse(&date.rfc3339()).unwrap().rfc3339(), date.rfc3339());
                    prop_assert_eq!(date.raw(), text.as_str());
                }
            }
        }
        let name = token(&text);
        let subject = format!("d365.custom.{name}.business.{name}.{name}.0");
        prop_assert!(subject.parse::<Subject>().is_ok());
    }
}

#[test]
fn every_body_of_our_own_is_written_as_it_was_read() {
    for name in fixtures() {
        let body = fixture(&name);
        let json: Json = serde_json::from_slice(&body).unwrap();
        let written = if json.get("BusinessEventId").is_some() {
            BusinessEvent::parse(&body).unwrap().to_json()
        } else {
            RemoteExecutionContext::parse(&body).unwrap().to_json()
        };
        assert_eq!(written, json, "{name}");
    }
}
