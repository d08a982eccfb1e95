//! Takes upcasts and bodies, checks what becomes of them.

use serde_json::json;

use super::*;

fn made(steps: Value, mut body: Value) -> Result<Value, UpcastError> {
    Upcast::read(&steps)?.apply(&mut body)?;
    Ok(body)
}

#[test]
fn members_are_renamed_moved_defaulted_and_removed() {
    let steps = json!([
        { "op": "rename", "path": "/Lines/*/Amt", "to": "Amount" },
        { "op": "move", "from": "/Currency", "to": "/Head/Currency" },
        { "op": "default", "path": "/Head/Country", "value": "DE" },
        { "op": "default", "path": "/Head/Known", "value": "no" },
        { "op": "remove", "path": "/Old" },
    ]);
    let body = json!({
        "Lines": [{ "Amt": 1.50 }, { "Amount": 2 }, {}], "Currency": "EUR",
        "Head": { "Known": "yes" }, "Old": 1,
    });
    let expected = json!({
        "Lines": [{ "Amount": 1.50 }, { "Amount": 2 }, {}],
        "Head": { "Known": "yes", "Currency": "EUR", "Country": "DE" },
    });
    assert_eq!(made(steps, body), Ok(expected));
}

#[test]
fn a_column_of_dataverse_is_named_by_its_key() {
    let steps = json!([
        { "op": "rename", "path": "/Attributes/credit", "to": "creditlimit" },
        { "op": "wrap", "path": "/Attributes/creditlimit", "member": "Value",
          "with": { "__type": "Money:x" } },
        { "op": "default", "path": "/Attributes/currency", "value": "EUR" },
        { "op": "unwrap", "path": "/Attributes/status", "member": "Value" },
        { "op": "replace", "path": "/Attributes/status", "values": { "1": "open" } },
    ]);
    let body = json!({ "Attributes": [
        { "key": "credit", "value": 10.00 },
        { "key": "status", "value": { "__type": "OptionSetValue:x", "Value": 1 } },
    ]});
    let expected = json!({ "Attributes": [
        { "key": "status", "value": "open" },
        { "key": "creditlimit", "value": { "__type": "Money:x", "Value": 10.00 } },
        { "key": "currency", "value": "EUR" },
    ]});
    assert_eq!(made(steps, body), Ok(expected));
}

#[test]
fn values_are_written_as_another_kind_with_all_their_digits() {
    let convert = |to: &str, value: Value| {
        let steps = json!([{ "op": "convert", "path": "/a", "to": to }]);
        made(steps, json!({ "a": value })).map(|body| body["a"].clone())
    };
    let digits: Value = serde_json::from_str("74999.950").expect("JSON");
    assert_eq!(convert("string", digits.clone()), Ok(json!("74999.950")));
    assert_eq!(convert("number", json!(" 74999.950 ")), Ok(digits));
    assert_eq!(convert("boolean", json!("True")), Ok(json!(true)));
    assert_eq!(convert("boolean", json!(0)), Ok(json!(false)));
    assert_eq!(convert("number", Value::Null), Ok(Value::Null));
    let error = convert("number", json!("a lot")).expect_err("no number");
    assert_eq!(
        error.to_string(),
        "/a: \"a lot\" cannot be written as a number"
    );
    convert("boolean", json!({})).expect_err("no boolean");
}

#[test]
fn a_step_that_is_none_says_which_and_why() {
    let error = |steps: Value| Upcast::read(&steps).expect_err("no upcast").to_string();
    let wrong =
        json!([{ "op": "remove", "path": "/a" }, { "op": "rename", "path": "b", "to": "c" }]);
    assert!(error(wrong).starts_with("step 2: found the path \"b\""));
    assert!(error(json!([{ "op": "shift" }])).contains("unknown variant `shift`"));
    assert!(error(json!([{ "op": "remove", "path": "/a/*" }])).contains("is an element"));
    assert!(error(json!([{ "op": "move", "from": "/a/*/b", "to": "/c" }])).contains("rename"));
    assert!(error(json!({})).contains("a list of steps"));
}

#[test]
fn what_is_not_there_is_left_as_it_is() {
    let steps = json!([
        { "op": "rename", "path": "/a/b", "to": "c" },
        { "op": "move", "from": "/a/b", "to": "/d/e" },
        { "op": "default", "path": "/x/y", "value": 1 },
        { "op": "convert", "path": "/a/*/b", "to": "number" },
    ]);
    for body in [
        json!(null),
        json!([]),
        json!({ "a": 1 }),
        json!("text"),
        json!({ "a": [1] }),
    ] {
        assert_eq!(made(steps.clone(), body.clone()), Ok(body));
    }
}
