//! What is taken for an event, and what is not.

use std::path::PathBuf;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::event::AttributeValue;

mod invalid;

const LEAST: &str = r#""specversion": "1.0", "id": "1", "source": "/a", "type": "t""#;

/// A structured event of the required attributes and these members.
fn structured_with(members: &str) -> Result<Event, Error> {
    structured(&Bytes::from(format!("{{{LEAST}, {members}}}")))
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, *value);
    }
    map
}

/// A binary event of the required attributes and these headers.
fn binary_with(pairs: &[(&str, &str)], payload: &'static str) -> Result<Event, Error> {
    let least = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/a"),
        ("ce-type", "t"),
    ];
    let map = headers(&[&least, pairs].concat());
    decode(Some(&map), &Bytes::from_static(payload.as_bytes()))
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::Text(value.to_owned())
}

#[test]
fn the_header_content_type_decides_on_the_mode() {
    let json = Bytes::from(format!("{{{LEAST}}}"));
    for (name, value) in [
        ("content-type", "application/cloudevents"),
        ("Content-Type", "application/cloudevents+json"),
        (
            "CONTENT-TYPE",
            "Application/CloudEvents+JSON; charset=utf-8",
        ),
        ("Content-type", "application/cloudevents ; charset=utf-8"),
    ] {
        // Attributes beside a structured event are not looked at.
        let map = headers(&[(name, value), ("ce-id", "2")]);
        assert_eq!(
            decode(Some(&map), &json).unwrap().id,
            "1",
            "{name}: {value}"
        );
    }
    let twice = [
        ("content-type", "application/cloudevents"),
        ("Content-Type", "text/plain"),
    ];
    assert!(matches!(
        decode(Some(&headers(&twice)), &json),
        Err(Error::Missing { .. })
    ));
    let binary = binary_with(&[("content-type", "application/json")], "{}").unwrap();
    assert_eq!(binary.data.as_deref(), Some(&b"{}"[..]));
}

#[test]
fn other_formats_are_named() {
    let decoded = |value: &str| decode(Some(&headers(&[("Content-Type", value)])), &Bytes::new());
    for batch in [
        "application/cloudevents-batch+json",
        "application/cloudevents-batch",
    ] {
        assert_eq!(
            decoded(batch),
            Err(Error::Batch {
                found: batch.to_owned()
            })
        );
    }
    for other in [
        "application/cloudevents+avro",
        "application/cloudevents+json2",
        "application/cloudeventsx",
    ] {
        assert_eq!(
            decoded(other),
            Err(Error::Format {
                found: other.to_owned()
            })
        );
    }
}

#[test]
fn binary_headers_are_unquoted_and_decoded() {
    for (value, expected) in [
        ("plain", "plain"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("\"a \\\"b\\\"\"", "a \"b\""),
        ("\"quoted %22 too\"", "quoted \" too"),
        ("\"\"", ""),
        // Nobody encoded these.
        ("a b", "a b"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("Zürich", "Zürich"),
        ("\"half", "\"half"),
        ("\"a\" and \"b\"", "\"a\" and \"b\""),
        ("\"", "\""),
        ("\"a\\\"", "\"a\\\""),
    ] {
        let event = binary_with(&[("ce-ext", value)], "").unwrap();
        assert_eq!(
            event.extensions,
            [("ext".to_owned(), text(expected))],
            "{value}"
        );
    }
    // One round only.
    assert_eq!(
        binary_with(&[("ce-ext", "%2541")], "").unwrap().extensions[0].1,
        text("%41")
    );
}

#[test]
fn binary_header_names_are_of_any_case() {
    let map = headers(&[
        ("CE-SpecVersion", "1.0"),
        ("Ce-Id", "1"),
        ("cE-source", "/a"),
        ("ce-TYPE", "t"),
        ("ce-PartitionKey", "k"),
        ("Nats-Msg-Id", "other"),
        ("cecil", "other"),
        ("ce", "other"),
    ]);
    let event = decode(Some(&map), &Bytes::new()).unwrap();
    assert_eq!(event.extensions, [("partitionkey".to_owned(), text("k"))]);
}

#[test]
fn binary_attributes_find_their_places() {
    let event = binary_with(
        &[
            ("ce-subject", "account/1"),
            ("ce-time", "2018-04-05T17:31:00Z"),
            ("ce-dataschema", "https://a/b"),
            ("ce-datacontenttype", "text/plain"),
            ("content-type", "application/json"),
            ("ce-z", "26"),
            ("ce-a", "1"),
        ],
        "body",
    )
    .unwrap();
    assert_eq!(event.subject.as_deref(), Some("account/1"));
    assert_eq!(event.time.as_deref(), Some("2018-04-05T17:31:00Z"));
    assert_eq!(event.dataschema.as_deref(), Some("https://a/b"));
    assert_eq!(event.datacontenttype.as_deref(), Some("text/plain"));
    assert_eq!(
        event.extensions,
        [("a".to_owned(), text("1")), ("z".to_owned(), text("26"))]
    );
    let bare = binary_with(&[("Content-Type", "text/xml; charset=utf-8")], "<a/>").unwrap();
    assert_eq!(
        bare.datacontenttype.as_deref(),
        Some("text/xml; charset=utf-8")
    );
}

#[test]
fn binary_data_is_the_payload_itself() {
    let payload = Bytes::from_static(b"\xff\x00 any bytes");
    let map = headers(&[
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/a"),
        ("ce-type", "t"),
    ]);
    let data = decode(Some(&map), &payload).unwrap().data.unwrap();
    assert_eq!(data.as_ptr(), payload.as_ptr());
    assert_eq!(decode(Some(&map), &Bytes::new()).unwrap().data, None);
}

#[test]
fn structured_json_data_is_a_slice_of_the_payload() {
    for body in [
        r#"{"ControlNumber": 5637611083,  "Amount": 1.10, "big": 12345678901234567890.00, "e": 1E400}"#,
        r#"{"a":"\/Date(1)\/","a":2}"#,
        "[ 1 , 2 ]",
        "\"text\"",
        "-0.0",
        "true",
        r#""\ud800""#,
    ] {
        let json = Bytes::from(format!("{{{LEAST}, \"data\":  {body} }}"));
        let event = structured(&json).unwrap();
        let data = event.data.unwrap();
        assert_eq!(data, body);
        assert!(
            json.as_ptr_range().contains(&data.as_ptr()),
            "{body} was copied"
        );
        assert_eq!(event.datacontenttype.as_deref(), Some("application/json"));
    }
}

#[test]
fn structured_data_follows_its_content_type() {
    for (members, expected) in [
        (
            r#""datacontenttype": "text/plain", "data": "a\n\u00fc""#,
            Some("a\nü"),
        ),
        (r#""datacontenttype": "text/plain", "data": """#, Some("")),
        (r#""datacontenttype": "text/plain", "data": null"#, None),
        (
            r#""datacontenttype": "application/json", "data": "a\n""#,
            Some(r#""a\n""#),
        ),
        (
            r#""datacontenttype": "application/x+json; v=1", "data": {"a":1}"#,
            Some(r#"{"a":1}"#),
        ),
        (
            r#""datacontenttype": "application/json", "data": null"#,
            Some("null"),
        ),
        (r#""datacontenttype": null, "data": [1]"#, Some("[1]")),
        (r#""data": null"#, None),
        (r#""data_base64": "TWE=""#, Some("Ma")),
        (r#""data_base64": """#, Some("")),
        (r#""data_base64": null"#, None),
        (r#""data_base64": null, "data": 1"#, Some("1")),
        (
            r#""datacontenttype": "application/json", "data_base64": "ewo=""#,
            Some("{\n"),
        ),
        (r#""subject": null"#, None),
    ] {
        let event = structured_with(members).unwrap();
        assert_eq!(
            event.data.as_deref(),
            expected.map(str::as_bytes),
            "{members}"
        );
    }
    // Only what the format calls equivalent to application/json is given that type.
    let type_of = |members| structured_with(members).unwrap().datacontenttype;
    assert_eq!(type_of(r#""data": 1"#).as_deref(), Some("application/json"));
    assert_eq!(type_of(r#""data_base64": "TWE=""#), None);
    assert_eq!(type_of(r#""data": null"#), None);
    assert_eq!(type_of(r#""subject": "a""#), None);
}

#[test]
fn structured_extensions_keep_their_types() {
    let event = structured_with(
        r#""t": "\u20ac", "b": true, "f": false, "i": -2147483648, "j": 2147483647, "n": null, "\u007a": "escaped name""#,
    )
    .unwrap();
    let expected = [
        ("b", AttributeValue::Boolean(true)),
        ("f", AttributeValue::Boolean(false)),
        ("i", AttributeValue::Integer(i32::MIN)),
        ("j", AttributeValue::Integer(i32::MAX)),
        ("t", text("€")),
        ("z", text("escaped name")),
    ];
    assert_eq!(
        event.extensions,
        expected.map(|(name, value)| (name.to_owned(), value))
    );
}

#[test]
fn a_numeric_partition_key_is_the_same_key_in_both_modes() {
    let json = structured_with(r#""partitionkey": 5"#).unwrap();
    let binary = binary_with(&[("ce-partitionkey", "5")], "").unwrap();
    assert_eq!(
        (json.partition_key(), &json.extensions),
        ("5", &binary.extensions)
    );
}

fn fixture(name: &str) -> Option<Value> {
    let folder = std::env::var_os("SLUICEGATE_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures"),
        PathBuf::from,
    );
    let text = std::fs::read(folder.join(name)).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

/// The valid events of the CloudEvents conformance suite; skipped where it is not there.
#[test]
fn the_valid_events_of_the_conformance_suite_are_valid() {
    let Some(suite) = fixture("ce-format-tests-json-valid-events.json") else {
        return;
    };
    let tests = suite["tests"].as_array().unwrap();
    assert_eq!(tests.len(), 10);
    for test in tests {
        let id = test["id"].as_str().unwrap();
        let json = Bytes::from(test["event"].to_string());
        let event = structured(&json).unwrap_or_else(|error| panic!("{id}: {error}"));
        for (name, value) in test["event"].as_object().unwrap() {
            let expected = value
                .as_str()
                .map(str::to_owned)
                .unwrap_or_else(|| value.to_string());
            match (name.as_str(), value) {
                ("data", _) => assert_eq!(event.data.as_deref(), Some(expected.as_bytes()), "{id}"),
                (_, Value::Null) => assert_eq!(event.text(name), None, "{id} {name}"),
                _ => assert_eq!(event.text(name).as_deref(), Some(&*expected), "{id} {name}"),
            }
        }
    }
}

/// The examples of the JSON Schema in the CloudEvents repository; skipped likewise.
#[test]
fn the_examples_of_the_json_schema_are_valid() {
    let Some(schema) = fixture("ce-spec-cloudevents.schema.json") else {
        return;
    };
    for (name, property) in schema["properties"].as_object().unwrap() {
        let examples = property["examples"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        for example in examples
            .iter()
            .filter(|_| name != "id" && name != "specversion")
        {
            let mut event = serde_json::json!({
                "specversion": "1.0", "id": "1", "source": "/a", "type": "t", "datacontenttype": "text/plain",
            });
            event[name] = example.clone();
            let result = structured(&Bytes::from(event.to_string()));
            assert!(result.is_ok(), "{name} = {example}: {result:?}");
        }
    }
}
