//! Every kind of value that stands in an attribute or a parameter, and the kinds unknown here.

use serde_json::json;
use sluicegate_d365::{Decimal, Json, RemoteExecutionContext, Value, map};

/// A value, read, and written as it was.
fn value(json: Json) -> Value {
    let value = Value::from_json(json.clone()).expect("a value");
    assert_eq!(value.to_json(), json);
    value
}

fn typed(name: &str, mut members: Json) -> Json {
    let tag = format!("{name}:http://schemas.microsoft.com/xrm/2011/Contracts");
    if let Some(members) = members.as_object_mut() {
        members.insert("__type".to_owned(), tag.into());
    }
    members
}

#[test]
fn references_choices_and_money() {
    let lookup = value(typed(
        "EntityReference",
        json!({"Id": "{90D3C6E8-2B7F-4E15-A6C9-4D1B80F7E302}", "KeyAttributes": [{"key": "new_number", "value": 7}],
               "LogicalName": "contact", "Name": null, "RowVersion": "12", "New": 1}),
    ));
    let contact = lookup.lookup().unwrap();
    assert_eq!(
        contact.known_id(),
        Some("90D3C6E8-2B7F-4E15-A6C9-4D1B80F7E302")
    );
    assert_eq!(contact.name, None);
    assert_eq!(contact.row_version.as_deref(), Some("12"));
    let number = contact.key_attributes.get("new_number");
    assert_eq!(number.and_then(Value::integer), Some(7));

    assert_eq!(
        value(typed("OptionSetValue", json!({"Value": 3}))).choice(),
        Some(3)
    );
    let choices = json!([
        typed("OptionSetValue", json!({"Value": 1})),
        typed("OptionSetValue", json!({"Value": 2}))
    ]);
    assert_eq!(value(choices).choices(), Some(vec![1, 2]));
    assert_eq!(value(json!([])).choices(), Some(vec![]));

    let amount: Json = serde_json::from_str("-922337203685477.5807").unwrap();
    let money = value(typed("Money", json!({"Value": amount})));
    assert_eq!(money.money().unwrap().text(), "-922337203685477.5807");
    assert_eq!(
        money.decimal(),
        Some(Decimal::new(-9_223_372_036_854_775_807, 4))
    );
}

#[test]
fn collections_relationships_and_dictionaries() {
    let parties = value(typed(
        "EntityCollection",
        json!({"Entities": [{"Attributes": [{"key": "partyid", "value": null}], "LogicalName": "activityparty", "Id": "x"}],
               "EntityName": "activityparty", "MinActiveRowVersion": "-1", "MoreRecords": false, "PagingCookie": null,
               "TotalRecordCount": -1, "TotalRecordCountLimitExceeded": false}),
    ));
    let party = &parties.entities().unwrap()[0];
    assert_eq!(party.attribute("partyid"), Some(&Value::Null));
    for nothing in [
        json!({"Entities": []}),
        json!({"Entities": null}),
        json!({}),
    ] {
        let none = value(typed("EntityCollection", nothing));
        assert_eq!(none.entities(), Some(&[][..]));
    }
    let relationship = value(typed(
        "Relationship",
        json!({"SchemaName": "a_b", "PrimaryEntityRole": null}),
    ));
    assert!(
        matches!(relationship, Value::Relationship(ref it) if it.schema_name.as_deref() == Some("a_b"))
    );
    let tag = "KeyValuePairOfstringstring:#System.Collections.Generic";
    let dictionary = value(json!([{"__type": tag, "key": "lead", "value": "Update"}]));
    assert!(
        matches!(dictionary, Value::Dictionary(ref it) if it.get("lead").and_then(Value::text) == Some("Update"))
    );
    let other = value(json!([{"__type": tag, "key": 7, "value": "Update"}]));
    assert!(matches!(other, Value::List(_)), "its keys are no texts");
}

#[test]
fn boxes_are_seen_through() {
    let boxed = |name: &str, inner: Json| {
        value(json!({"__type": format!("{name}:#System"), "__value": inner}))
    };
    assert_eq!(boxed("Guid", "ab".into()).text(), Some("ab"));
    assert_eq!(boxed("Int32", 7.into()).integer(), Some(7));
    assert_eq!(boxed("Boolean", true.into()).flag(), Some(true));
    assert_eq!(
        boxed("Decimal", serde_json::from_str("1.250").unwrap()).decimal(),
        Some(Decimal::new(1250, 3))
    );
    let date = boxed("DateTime", "/Date(1791450000500+0200)/".into());
    assert_eq!(
        date.when().unwrap().rfc3339(),
        "2026-10-08T09:00:00.5Z",
        "the offset does not count"
    );
    assert!(boxed("String", Json::Null).is_null());
    let more = value(json!({"__type": "Int32:#System", "__value": 7, "New": 1}));
    assert!(matches!(more, Value::Other(_)));
}

#[test]
fn what_is_unknown_is_kept() {
    for unknown in [
        typed(
            "QueryExpression",
            json!({"EntityName": "account", "ColumnSet": typed("ColumnSet", json!({"Columns": ["a"]}))}),
        ),
        typed("Money", json!({"Value": "7"})),
        typed("Money", json!({})),
        typed("OptionSetValue", json!({"Value": 1.5})),
        typed("OptionSetValue", json!({"Value": null})),
        json!({"__type": "Guid:#Elsewhere", "__value": 1}),
        json!({"__type": 7, "Attributes": 7}),
        json!({"LogicalName": "account", "Attributes": []}),
        json!({}),
    ] {
        let value = value(unknown);
        assert!(matches!(value, Value::Other(_)), "{value:?}");
        assert_eq!(
            (value.text(), value.choice(), value.when()),
            (None, None, None)
        );
        assert!(value.money().is_none() && value.lookup().is_none() && value.entity().is_none());
    }
    let list = value(json!([typed("OptionSetValue", json!({"Value": 1})), 7]));
    assert!(matches!(list, Value::List(ref items) if items.len() == 2));
}

/// Plug-ins that write a context again box what they hold as objects, ids and dates above all.
#[test]
fn a_context_whose_ids_are_boxed_has_the_attributes_of_one_whose_are_not() {
    let boxed =
        |name: &str, inner: &str| json!({"__type": format!("{name}:#System"), "__value": inner});
    let ids = ["11", "22", "33", "44", "55", "66", "77"]
        .map(|id| format!("{id}e0a1c7-39d2-4f68-8b0c-71d4e6f29a35"));
    let context = |id: &dyn Fn(&str) -> Json, record: &str, date: Json, mode: i64| {
        json!({
            "MessageName": "Update", "PrimaryEntityName": "account", "PrimaryEntityId": id(record),
            "OrganizationId": id(&ids[1]), "OperationId": id(&ids[2]), "OwningExtension": {"Id": id(&ids[3])},
            "CorrelationId": id(&ids[4]), "InitiatingUserId": id(&ids[5]), "OperationCreatedOn": date, "Mode": mode,
            "ParentContext": {"OperationId": id(&ids[6])},
            "InputParameters": [{"key": "Target", "value": typed("Entity", json!({"Id": id(&ids[0]), "LogicalName": "account"}))}],
        })
    };
    let zero = "00000000-0000-0000-0000-000000000000";
    for record in [ids[0].as_str(), zero] {
        for mode in [0, 1] {
            let plain = context(
                &|id| id.into(),
                record,
                "/Date(1791450000000+0200)/".into(),
                mode,
            );
            let same = context(
                &|id| boxed("Guid", id),
                record,
                boxed("DateTime", "/Date(1791450000000+0200)/"),
                mode,
            );
            let plain = map("contoso", plain.to_string().as_bytes()).unwrap();
            assert_eq!(map("contoso", same.to_string().as_bytes()).unwrap(), plain);
            assert_eq!(plain.partition_key, format!("account/{}", ids[0]));
            assert_eq!(plain.extensions.len(), 4);
            let read = RemoteExecutionContext::from_json(same.clone()).unwrap();
            assert_eq!(read.record_id(), Some(ids[0].as_str()));
            assert_eq!(read.to_json(), same);
        }
    }
}
