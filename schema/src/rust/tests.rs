//! What is generated is what rustfmt would have, whatever the names; the SDK's tests compile it and
//! read bodies with it (`guest-sdk/tests/typed_structs.rs`).

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{names, rust};
use crate::import::dataverse;
use crate::shape::Shape;
use crate::tests::{learnt, value};

/// With `SLUICE_WRITE_GENERATED` set, the files are written anew instead.
const WRITE: &str = "SLUICE_WRITE_GENERATED";

/// The type of each file of `schema/generated`, and which version it is said to be.
const GENERATED: [(&str, &str, u32); 5] = [
    ("email_create", "d365.dataverse.email.create", 1),
    ("lead_update", "d365.dataverse.lead.update", 1),
    ("order_shipped", "d365.fno.FabOrderShippedBusinessEvent", 2),
    ("ship_order", "d365.dataverse.new_ShipOrder", 1),
    ("stock_counted", "d365.custom.stock.counted", 1),
];

fn of(body: &Value) -> String {
    rust(&learnt(std::slice::from_ref(body), 1), "acme.thing", 1)
}

#[test]
fn what_is_generated_for_the_bodies_here_is_what_the_sdk_compiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("generated");
    for (name, event_type, version) in GENERATED {
        let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("bodies");
        let bodies = match serde_json::from_str(&text).expect("JSON") {
            Value::Array(bodies) => bodies,
            body => vec![body],
        };
        let source = rust(&learnt(&bodies, 1), event_type, version);
        let path = folder.join(format!("{name}.rs"));
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&path, &source).expect("a file");
        }
        let kept = std::fs::read_to_string(&path).expect("the file of before");
        assert_eq!(source, kept, "{name}: {WRITE}=1 writes it anew");
        assert_formatted(&source);
    }
}

#[test]
fn a_column_is_read_by_its_classes_and_one_of_several_as_json() {
    let class = |name: &str| format!("{name}:http://schemas.microsoft.com/xrm/2011/Contracts");
    let money = json!({ "__type": class("Money"), "Value": 1 });
    let choice = json!({ "__type": class("OptionSetValue"), "Value": 1 });
    let lookup = json!({ "__type": class("EntityReference"), "Id": "", "LogicalName": "" });
    let record = json!({ "__type": class("Entity"), "Attributes": [{ "key": "a", "value": 1 }] });
    let boxed = json!({ "__type": "Guid:#System", "__value": "x" });
    let is = |values: &[&Value]| {
        let bodies = values.iter().map(|value| {
            json!({"MessageName": "Update", "InputParameters": [{"key": "Target", "value": {
                "__type": class("Entity"), "Attributes": [{"key": "x", "value": value}]}}]})
        });
        let shape = learnt(&bodies.collect::<Vec<_>>(), 1);
        let source = rust(&shape, "d365.dataverse.account.update", 1);
        let line = source
            .lines()
            .find_map(|line| line.strip_prefix("    pub x: Option<"));
        line.expect("a field").replace(">,", "")
    };
    assert_eq!(is(&[&money]), "Money");
    assert_eq!(is(&[&money, &json!(1), &Value::Null]), "Decimal");
    assert_eq!(is(&[&choice]), "i64");
    assert_eq!(is(&[&json!([choice, choice])]), "Vec<i64>");
    assert_eq!(is(&[&lookup]), "EntityReference");
    assert_eq!(is(&[&boxed, &json!("a")]), "String");
    assert_eq!(is(&[&record]), "AccountUpdateX");
    assert_eq!(is(&[&record, &lookup]), "Json");
    assert_eq!(is(&[&Value::Null]), "Json");
    assert_eq!(
        is(&[&json!({ "__type": "Money:else", "Value": 1 })]),
        "Json"
    );
    assert_eq!(is(&[&json!([])]), "Vec<Json>");
}

#[test]
fn columns_that_metadata_tells_of_have_their_types_too() {
    let column = |name: &str, kind: &str| json!({"LogicalName": name, "AttributeType": kind});
    let document = json!({"LogicalName": "account", "Attributes": [
        column("creditlimit", "Money"), column("new_factor", "Double"), column("ownerid", "Owner"),
        column("statecode", "State"), column("createdon", "DateTime"), column("new_odd", "Virtual"),
        column("donotemail", "Boolean")]});
    let found = dataverse(&document).expect("metadata");
    let source = rust(&found[1].shape, &found[1].event_type, 1);
    for line in [
        "pub struct AccountUpdate {",
        "    pub createdon: Option<String>,",
        "    pub creditlimit: Option<Money>,",
        "    pub donotemail: Option<bool>,",
        "    pub new_factor: Option<Decimal>,",
        "    pub new_odd: Option<Json>,",
        "    pub ownerid: Option<EntityReference>,",
        "    pub statecode: Option<i64>,",
    ] {
        assert!(
            source.lines().any(|one| one == line),
            "{line} is not in {source}"
        );
    }
}

#[test]
fn what_is_always_there_is_plain_and_what_may_be_null_is_not() {
    let bodies = [
        json!({"a": 1, "b": null, "c": [1, null], "d": {"x": true}, "e": 1}),
        json!({"a": 2, "b": "x", "c": [], "e": "one"}),
    ];
    let source = rust(&learnt(&bodies, 2), "acme.thing", 1);
    for line in [
        "pub struct AcmeThing {",
        "    pub a: Decimal,",
        "    pub b: Option<String>,",
        "    pub c: Vec<Option<Decimal>>,",
        "    pub d: Option<AcmeThingD>,",
        "    pub e: Json,",
        "pub struct AcmeThingD {",
        "    pub x: Option<bool>,",
    ] {
        assert!(
            source.lines().any(|one| one == line),
            "{line} is not in {source}"
        );
    }
}

#[test]
fn what_has_no_members_of_its_own_is_another_name() {
    let alias = |body: Value| {
        let source = of(&body);
        let line = source.lines().find(|line| line.starts_with("pub type"));
        line.unwrap_or(&source).to_owned()
    };
    assert_eq!(alias(json!([1])), "pub type AcmeThing = Vec<Decimal>;");
    assert_eq!(alias(json!(null)), "pub type AcmeThing = Json;");
    assert_eq!(
        alias(json!({})),
        "pub type AcmeThing = BTreeMap<String, Json>;"
    );
    assert_eq!(
        alias(json!({ "17": "x" })),
        "pub type AcmeThing = BTreeMap<String, String>;"
    );
    let truncated = json!({ "MessageName": "Update", "InputParameters": [] });
    let columns = "pub type AcmeThing = BTreeMap<String, Option<Json>>;";
    assert_eq!(alias(truncated), columns);
}

#[test]
fn a_name_from_outside_stays_a_name() {
    let evil = "x\"] pub evil: (), }\n//*/\r\u{202e}`{}\\";
    let source = rust(
        &Shape::of(&json!({ evil: { evil: 1 }, "a": { "b": 1 } })),
        evil,
        1,
    );
    assert!(!source.contains(['\r', '\u{202e}']), "{source}");
    for line in source.lines().filter(|line| line.contains("evil")) {
        let line = line.trim_start();
        let is_name = ["//", "rename = \"", "#[serde(", "pub "]
            .iter()
            .any(|one| line.starts_with(one));
        assert!(is_name, "{line}");
    }
    assert_sound(&source);
    assert_formatted(&source);
}

#[test]
fn names_are_told_apart() {
    let fields = |all: &[&str]| {
        let all: Vec<String> = all.iter().map(|name| (*name).to_owned()).collect();
        names::fields(all.iter())
    };
    assert_eq!(
        fields(&[
            "ID",
            "Id",
            "SalesOrderId",
            "id",
            "8601Time",
            "é",
            "self",
            "EventTimeIso8601"
        ]),
        [
            "id_2",
            "id_3",
            "sales_order_id",
            "id",
            "member_8601_time",
            "member",
            "self_",
            "event_time_iso8601"
        ]
    );
    assert_eq!(
        fields(&["AADObjectId", "UserAADObjectId"]),
        ["aad_object_id", "user_aad_object_id"]
    );
    assert_eq!(names::identifier("type"), "r#type");
    for (event_type, name) in [
        ("d365.dataverse.account.update", "AccountUpdate"),
        (
            "d365.fno.SalesInvoicePostedBusinessEvent",
            "SalesInvoicePosted",
        ),
        ("d365.custom.credit-hold.raised", "CreditHoldRaised"),
        ("acme.1st", "Acme1st"),
        ("1st", "Event1st"),
        ("é", "Member"),
    ] {
        assert_eq!(names::of_event(event_type), name);
    }
    let source = rust(
        &Shape::of(&json!({ "a": { "b": 1 }, "A": { "c": 1 } })),
        "option",
        1,
    );
    for name in ["Option2", "Option2A", "Option2A2"] {
        assert!(
            source.contains(&format!("pub struct {name} {{")),
            "{source}"
        );
    }
}

fn wild() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        3 => "[a-zA-Z0-9_. -]{0,30}",
        1 => "[a-z_]{60,110}",
        1 => "(?s).{0,12}",
        1 => prop::sample::select(vec!["type", "self", "Self", "MessageName", "InputParameters", "BusinessEventId"])
            .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        Just(json!(1))
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let members = prop::collection::btree_map(name.clone(), inner.clone(), 0..5);
        prop_oneof![
            3 => members.prop_map(|members| Value::Object(Map::from_iter(members))),
            1 => prop::collection::vec(inner, 0..3).prop_map(Value::Array),
        ]
    })
}

proptest! {
    // Each is a process.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rustfmt_has_nothing_to_say_whatever_the_body(
        body in prop_oneof![wild(), value()], event_type in "(?s).{0,20}",
    ) {
        let shape = learnt(&[body], 1);
        let source = rust(&shape, &event_type, 1);
        prop_assert_eq!(&source, &rust(&shape, &event_type, 1));
        assert_sound(&source);
        assert_formatted(&source);
    }

    #[test]
    fn the_order_of_bodies_makes_no_difference(
        mut bodies in prop::collection::vec(value(), 1..6),
    ) {
        let before = rust(&learnt(&bodies, 2), "acme.thing", 1);
        bodies.reverse();
        prop_assert_eq!(before, rust(&learnt(&bodies, 2), "acme.thing", 1));
    }
}

/// Identifiers are some, items are called each its own, and so are the fields of a struct.
fn assert_sound(source: &str) {
    let (mut items, mut fields) = (BTreeSet::new(), BTreeSet::new());
    for line in source.lines() {
        let is_item = line.starts_with("pub ");
        let Some(rest) = line.trim_start().strip_prefix("pub ") else {
            continue;
        };
        let name = match is_item {
            true => rest.split(' ').nth(1),
            false => rest.split(':').next(),
        };
        let name = name.expect("a name");
        let bare = name.strip_prefix("r#").unwrap_or(name);
        let is_start = |c: char| c.is_ascii_alphabetic();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(
            bare.starts_with(is_start) && bare.chars().all(is_part),
            "{name}"
        );
        if is_item {
            fields.clear();
            assert!(items.insert(name), "{name} is there twice in {source}");
        } else {
            assert!(fields.insert(name), "{name} is there twice in {source}");
        }
    }
}

/// Where there is a rustfmt, it can read it and would not change it.
fn assert_formatted(source: &str) {
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--edition", "2024"]);
    let piped = rustfmt
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let Ok(mut child) = piped.spawn() else {
        return;
    };
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(source.as_bytes()).expect("rustfmt reads");
    drop(stdin);
    let output = child.wait_with_output().expect("rustfmt ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}\n{source}");
    assert_eq!(source, String::from_utf8_lossy(&output.stdout));
}
