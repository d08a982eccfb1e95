//! Attacks shapes with chance: what was learnt holds for what it was learnt of, whatever the order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const FIXTURES: [&str; 9] = [
    include_str!("../../d365/fixtures/account-create.json"),
    include_str!("../../d365/fixtures/account-update.json"),
    include_str!("../../d365/fixtures/account-associate.json"),
    include_str!("../../d365/fixtures/contact-update-offset.json"),
    include_str!("../../d365/fixtures/custom-api-unbound.json"),
    include_str!("../../d365/fixtures/fno-business-event.json"),
    include_str!("../../d365/fixtures/incident-delete.json"),
    include_str!("../../d365/fixtures/opportunity-assign.json"),
    include_str!("../../d365/fixtures/task-create-boxed.json"),
];

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn account() -> Value {
    json_of(include_str!(
        "../../tests/fixtures/dataverse-account-update.json"
    ))
}

pub(crate) fn learnt(bodies: &[Value], least: u64) -> Shape {
    let mut shape = Shape::default();
    for body in bodies {
        shape.absorb(Shape::of(body));
    }
    shape.settle(least);
    shape
}

/// The list that stands at the columns of the record.
fn columns(body: &mut Value) -> &mut Vec<Value> {
    let list = body.pointer_mut("/InputParameters/0/value/Attributes");
    list.and_then(Value::as_array_mut).expect("columns")
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
    ]
}

fn name() -> BoxedStrategy<String> {
    prop_oneof![
        4 => "[a-e]".prop_map(|name| name),
        1 => Just("FormattedValues".to_owned()),
        1 => Just("ParentContext".to_owned()),
        1 => Just("a/b~c".to_owned()),
        1 => "[0-9]{3}".prop_map(|name| name),
        1 => Just("__type".to_owned()),
    ]
    .boxed()
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 5, |inner| {
        let members = prop::collection::btree_map(name(), inner.clone(), 0..5);
        let object = |members: BTreeMap<String, Value>| Value::Object(Map::from_iter(members));
        let pairs = |members: BTreeMap<String, Value>| {
            let pairs = members.into_iter();
            Value::Array(
                pairs
                    .map(|(key, value)| json!({"key": key, "value": value}))
                    .collect(),
            )
        };
        prop_oneof![
            3 => members.clone().prop_map(object),
            2 => members.prop_map(pairs),
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::Array),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_learnt_holds_for_what_it_was_learnt_of(
        bodies in prop::collection::vec(value(), 1..8), least in 1_u64..4,
    ) {
        let shape = learnt(&bodies, least);
        for body in &bodies {
            prop_assert_eq!(shape.drift(body), vec![]);
        }
    }

    #[test]
    fn the_order_in_which_bodies_are_learnt_makes_no_difference(
        mut bodies in prop::collection::vec(value(), 1..8), turn in 0_usize..8,
    ) {
        let before = learnt(&bodies, 2);
        bodies.reverse();
        let by = turn % bodies.len();
        bodies.rotate_left(by);
        prop_assert_eq!(before, learnt(&bodies, 2));
    }

    #[test]
    fn two_halves_give_the_whole(bodies in prop::collection::vec(value(), 2..8)) {
        let (one, other) = bodies.split_at(bodies.len() / 2);
        let mut both = learnt(one, 2);
        both.absorb(learnt(other, 2));
        both.settle(2);
        prop_assert_eq!(both, learnt(&bodies, 2));
    }

    #[test]
    fn a_schema_is_read_back_as_it_was_written(bodies in prop::collection::vec(value(), 1..8)) {
        let shape = learnt(&bodies, 2);
        let schema = shape.schema("t");
        prop_assert_eq!(&Shape::read(&schema).expect("a schema"), &shape, "{}", schema);
    }

    #[test]
    fn a_body_of_the_same_structure_has_the_same_number_and_another_has_not(
        one in value(), other in value(),
    ) {
        let text = |value: &Value| serde_json::to_vec(value).expect("text");
        let number = |value: &Value| structure(&text(value)).expect("JSON");
        prop_assert_eq!(number(&one), number(&one));
        if number(&one) == number(&other) {
            let shape = learnt(std::slice::from_ref(&one), 1);
            prop_assert_eq!(shape.drift(&other), vec![], "{} and {}", one, other);
        }
    }

    #[test]
    fn a_column_that_is_removed_added_or_retyped_is_found(which in 0_usize..12) {
        let shape = learnt(&vec![account(); 20], REQUIRED_AFTER);
        let path = |name: &str| format!("/InputParameters/Target/Attributes/{name}");
        let found = |body: &Value| {
            let drift = shape.drift(body);
            drift.into_iter().map(|one| (one.path, one.kind)).collect::<Vec<_>>()
        };
        let mut body = account();
        let removed = columns(&mut body).remove(which);
        let name = removed["key"].as_str().expect("a name").to_owned();
        prop_assert_eq!(found(&body), vec![(path(&name), What::Removed)]);

        let mut body = account();
        columns(&mut body)[which]["value"] = json!([[1]]);
        let wanted = if removed["value"].is_null() { vec![] } else {
            vec![(path(&name), What::Retyped)]
        };
        let is_list = removed["value"].is_array();
        let wanted = if is_list { vec![(path(&format!("{name}/*")), What::Retyped)] } else { wanted };
        prop_assert_eq!(found(&body), wanted);

        let mut body = account();
        columns(&mut body).insert(which, json!({"key": "new_x", "value": 1}));
        prop_assert_eq!(found(&body), vec![(path("new_x"), What::Added)]);
    }

    #[test]
    fn who_learns_more_is_compatible_with_what_came_before(
        bodies in prop::collection::vec(value(), 1..6), more in prop::collection::vec(value(), 0..4),
    ) {
        let old = learnt(&bodies, 1);
        let all: Vec<Value> = bodies.iter().chain(&more).cloned().collect();
        prop_assert_eq!(incompatible(Rule::Backward, &old, &learnt(&all, 1)), vec![]);
        prop_assert_eq!(incompatible(Rule::Full, &old, &old), vec![]);
    }
}

#[test]
fn the_bodies_of_the_project_are_learnt_and_found_again() {
    for text in FIXTURES {
        let body = json_of(text);
        let shape = learnt(&vec![body.clone(); 3], 2);
        assert_eq!(shape.drift(&body), vec![]);
        assert_eq!(Shape::read(&shape.schema("t")).expect("a schema"), shape);
    }
}

#[test]
fn another_class_of_a_column_is_told_by_its_name() {
    let shape = learnt(&vec![account(); 20], REQUIRED_AFTER);
    let text = account()
        .to_string()
        .replacen("Money:", "OptionSetValue:", 1);
    let drift = shape.drift(&json_of(&text));
    let [only] = drift.as_slice() else {
        panic!("{drift:?}");
    };
    assert_eq!(only.path, "/InputParameters/Target/Attributes/creditlimit");
    assert_eq!((&*only.was, &*only.is), ("Money", "OptionSetValue"));
    assert!(only.example.contains("74999.9500"), "{}", only.example);
}

#[test]
fn a_column_may_be_cleared_and_a_member_is_asked_for_only_after_enough() {
    let shape = learnt(&vec![account(); 19], REQUIRED_AFTER);
    let mut body = account();
    columns(&mut body)[0]["value"] = Value::Null;
    columns(&mut body).remove(1);
    assert_eq!(shape.drift(&body), vec![]);
}

#[test]
fn names_that_are_data_do_not_grow_a_shape() {
    let mut shape = Shape::default();
    for n in 0..5_000 {
        let id = format!("{n:08x}-0000-4000-8000-000000000000");
        shape.absorb(Shape::of(&json!({
            id: 1,
            "rows": { format!("row {n}"): { "a": 1 } },
            "FormattedValues": [{ "key": format!("c{n}"), "value": "x" }],
        })));
    }
    shape.settle(20);
    assert_eq!(shape.members.named.len(), 2);
    assert!(shape.schema("t").to_string().len() < 2_000);
    let more = json!({ "rows": { "one more": { "a": "b" } }, "FormattedValues": [] });
    let drift = shape.drift(&more);
    let paths: Vec<&str> = drift.iter().map(|one| &*one.path).collect();
    assert_eq!(paths, ["/rows/*/a"]);
}

#[test]
fn what_is_huge_or_deep_is_bounded() {
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!({ "a": [deep] });
    }
    let wide: Map<String, Value> = (0..300)
        .map(|n| {
            let inner: Map<String, Value> = (0..300).map(|m| (format!("m{m}"), json!(m))).collect();
            (format!("n{n}"), Value::Object(inner))
        })
        .collect();
    for body in [deep, Value::Object(wide)] {
        let shape = learnt(&[body.clone(), body.clone()], 1);
        assert_eq!(shape.drift(&body), vec![]);
        assert!(shape.schema("t").to_string().len() < 1 << 20);
    }
    let many = json!(
        (0..1_000)
            .map(|n| json!({ format!("x{n}"): 1 }))
            .collect::<Vec<_>>()
    );
    let drift = learnt(&[json!([{ "a": 1 }])], 1).drift(&many);
    assert_eq!(drift.len(), MAX_FINDINGS);
}

#[test]
fn rules_of_compatibility_go_their_ways() {
    let shape = |text: &str| Shape::read(&json_of(text)).expect("a schema");
    let one = shape(r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}"#);
    let less = shape(r#"{"type":"object","properties":{"a":{"type":"string"}}}"#);
    let wider = shape(
        r#"{"type":"object","properties":{"a":{"type":["string","null"]}},"required":["a"]}"#,
    );
    for (old, new, backward, forward) in [
        (&one, &one, 0, 0),
        (&one, &less, 0, 1),
        (&less, &one, 1, 0),
        (&one, &wider, 0, 1),
        (&wider, &one, 1, 0),
        (&less, &wider, 1, 1),
    ] {
        assert_eq!(
            incompatible(Rule::Backward, old, new).len(),
            backward,
            "{old:?} {new:?}"
        );
        assert_eq!(
            incompatible(Rule::Forward, old, new).len(),
            forward,
            "{old:?} {new:?}"
        );
        let full = incompatible(Rule::Full, old, new);
        assert_eq!(full.len(), backward + forward);
        assert!(full.iter().all(|one| one.path == "/a"), "{full:?}");
    }
}

#[test]
fn a_member_is_looked_up_by_its_path() {
    let shape = learnt(&[account()], 1);
    let is = |path: &str| shape.look(path);
    let money = Known::Is("Money".to_owned());
    assert_eq!(is("/InputParameters/Target/Attributes/creditlimit"), money);
    assert_eq!(is("/InputParameters/Target/Attributes/limit"), Known::Not);
    assert_eq!(
        is("/InputParameters/Target/Attributes/new_regions/*/Value"),
        Known::Is("number".into())
    );
    assert_eq!(is("/ParentContext/Depth"), Known::Hidden);
    assert!(concerns("/a", "/a/b") && concerns("/a/b", "/a") && !concerns("/a", "/ab"));
}

#[test]
fn schemas_of_others_are_read_as_far_as_a_shape_can_tell() {
    let schema = json_of(
        r##"{"$defs":{"Line":{"type":"object","properties":{"sku":{"type":"string"},"next":{"$ref":"#/$defs/Line"}},"required":["sku"]}},
        "type":"object","required":["id","lines"],"properties":{"id":{"type":"integer"},
        "state":{"enum":["a","b",null]},"lines":{"type":"array","items":{"$ref":"#/$defs/Line"}},
        "to":{"oneOf":[{"type":"string"},{"type":"object","properties":{"mail":{"type":"string"}}}]}}}"##,
    );
    let shape = Shape::read(&schema).expect("a schema");
    let good = json!({"id": 1, "lines": [{"sku": "a", "next": {"sku": "b"}}], "state": null, "to": {"mail": "x"}});
    assert_eq!(shape.drift(&good), vec![]);
    let bad = json!({"lines": [{"sku": 5}], "to": 1, "more": true});
    let found: Vec<(String, What)> = shape
        .drift(&bad)
        .into_iter()
        .map(|one| (one.path, one.kind))
        .collect();
    assert_eq!(
        found,
        [
            ("/lines/*/sku".to_owned(), What::Retyped),
            ("/more".to_owned(), What::Added),
            ("/to".to_owned(), What::Retyped),
            ("/id".to_owned(), What::Removed),
        ]
    );
    for wrong in [
        json!({"type": "text"}),
        json!({"$ref": "https://example.org/x"}),
        json!({"properties": {"a": 5}}),
        json!([]),
    ] {
        Shape::read(&wrong).expect_err("no schema");
    }
    let endless = json!({"$ref": "#"});
    assert_eq!(
        Shape::read(&endless).expect("nothing is known"),
        Shape::read(&json!(true)).expect("true")
    );
}

#[test]
fn metadata_of_dataverse_takes_a_body_and_finds_what_is_not_in_it() {
    let column = |name: &str, kind: &str| json!({"LogicalName": name, "AttributeType": kind});
    let mut columns_known: Vec<Value> = [
        ("creditlimit", "Money"),
        ("new_factor", "Decimal"),
        ("new_exact", "Decimal"),
        ("new_large", "BigInt"),
        ("numberofemployees", "Integer"),
        ("accountcategorycode", "Picklist"),
        ("name", "String"),
        ("description", "Memo"),
        ("donotemail", "Boolean"),
        ("primarycontactid", "Lookup"),
        ("accountid", "Uniqueidentifier"),
        ("modifiedon", "DateTime"),
    ]
    .map(|(name, kind)| column(name, kind))
    .to_vec();
    columns_known.push(
        json!({"LogicalName": "new_regions", "AttributeType": "Virtual",
        "@odata.type": "#Microsoft.Dynamics.CRM.MultiSelectPicklistAttributeMetadata"}),
    );
    let document = json!({"value": [{"LogicalName": "account", "Attributes": columns_known}]});
    let found = dataverse(&document).expect("metadata");
    let types: Vec<&str> = found.iter().map(|one| &*one.event_type).collect();
    assert_eq!(
        types,
        [
            "d365.dataverse.account.create",
            "d365.dataverse.account.update"
        ]
    );
    let shape = &found[1].shape;
    let mut body = account();
    assert_eq!(shape.drift(&body), vec![]);
    assert_eq!(
        &Shape::read(&shape.schema("t")).expect("a schema").bare(),
        shape
    );
    columns(&mut body)[0]["value"] = json!("a lot");
    let drift = shape.drift(&body);
    assert_eq!(drift.len(), 1, "{drift:?}");
    dataverse(&json!({"value": [{}]})).expect_err("nothing of Dataverse");
}

#[test]
fn asyncapi_and_fno_are_read() {
    let document = json!({"asyncapi": "3.0.0",
        "channels": {"c": {"messages": {"two": {"payload": {"type": "string"}}}}},
        "components": {"schemas": {"One": {"type": "object", "properties": {"a": {"type": "number"}}}},
            "messages": {"one": {"name": "acme.one", "payload": {"$ref": "#/components/schemas/One"}}}}});
    let found = asyncapi(&document).expect("AsyncAPI");
    let types: Vec<&str> = found.iter().map(|one| &*one.event_type).collect();
    assert_eq!(types, ["acme.one", "two"]);
    assert_eq!(found[0].shape.drift(&json!({"a": "x"})).len(), 1);
    asyncapi(&json!({})).expect_err("no AsyncAPI");
    let body = json_of(FIXTURES[5]);
    assert_eq!(fno(&body).expect("a body").drift(&body), vec![]);
    fno(&json!([])).expect_err("a list");
}
