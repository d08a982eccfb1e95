//! What is written can be read again, by this host and by the SDK.

use async_nats::{HeaderMap, HeaderValue};
use cloudevents::AttributesReader;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::decode::{decode, structured as decode_structured};
use crate::event::{is_extension_name, validate};

fn event() -> Event {
    Event {
        id: "1".to_owned(),
        source: "/dataverse/contoso".to_owned(),
        event_type: "d365.dataverse.account.update".to_owned(),
        subject: Some("account/Zürich \"100%\"".to_owned()),
        time: Some("2026-05-04T11:30:00.10+02:00".to_owned()),
        datacontenttype: Some("application/json; charset=utf-8".to_owned()),
        dataschema: Some("https://contoso.example".to_owned()),
        extensions: vec![
            ("text".to_owned(), AttributeValue::Text("~a:b".to_owned())),
            ("number".to_owned(), AttributeValue::Integer(-5)),
            ("flag".to_owned(), AttributeValue::Boolean(true)),
        ],
        data: Some(Bytes::from_static(br#"{"amount":1.10, "id":5637611083}"#)),
    }
}

fn structured_data(datacontenttype: Option<&str>, data: &[u8]) -> String {
    let event = Event {
        datacontenttype: datacontenttype.map(str::to_owned),
        data: Some(Bytes::copy_from_slice(data)),
        id: "1".to_owned(),
        source: "/a".to_owned(),
        event_type: "t".to_owned(),
        ..Event::default()
    };
    let json = structured(&event);
    let (_, data) = json.split_once(",\"data").unwrap();
    // What is behind a datacontenttype starts the same way.
    let data = data.rsplit_once(",\"data").map_or(data, |(_, data)| data);
    format!("data{}", data.strip_suffix('}').unwrap())
}

#[test]
fn binary_headers_follow_the_nats_binding() {
    let (headers, payload) = binary(event());
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/dataverse/contoso"),
        ("ce-type", "d365.dataverse.account.update"),
        ("ce-subject", "account/Z%C3%BCrich%20%22100%25%22"),
        ("ce-time", "2026-05-04T11:30:00.10+02:00"),
        ("ce-datacontenttype", "application/json;%20charset=utf-8"),
        ("ce-dataschema", "https://contoso.example"),
        ("ce-text", "~a:b"),
        ("ce-number", "-5"),
        ("ce-flag", "true"),
    ] {
        assert_eq!(
            headers.get(name).map(HeaderValue::as_str),
            Some(value),
            "{name}"
        );
    }
    assert_eq!(headers.len(), 11);
    assert_eq!(payload.as_ptr(), event().data.unwrap().as_ptr());
    assert_eq!(
        binary(Event {
            data: None,
            ..event()
        })
        .1,
        Bytes::new()
    );
}

#[test]
fn a_value_of_one_byte_is_encoded_too() {
    for (value, header) in [
        (" ", "%20"),
        ("%", "%25"),
        ("\"", "%22"),
        ("a", "a"),
        ("ä", "%C3%A4"),
    ] {
        let event = Event {
            id: value.to_owned(),
            ..event()
        };
        let (headers, _) = binary(event);
        let found = headers.get("ce-id").map(|value| value.as_str());
        assert_eq!(found, Some(header));
    }
}

#[test]
fn a_name_that_is_no_header_name_does_not_panic() {
    for name in ["a:b", "a b", "", "é", "a\r\nb: c"] {
        let extensions = vec![(name.to_owned(), AttributeValue::Boolean(true))];
        let (headers, payload) = binary(Event {
            extensions,
            ..event()
        });
        assert!(decode(Some(&headers), &payload).is_err(), "{name}");
    }
}

#[test]
fn structured_data_is_a_member_of_the_same_bytes_where_it_can_be() {
    for (datacontenttype, data, expected) in [
        (
            Some("application/json"),
            "{\"a\": 1.10}",
            "data\":{\"a\": 1.10}",
        ),
        (Some("application/x+json"), "1E400", "data\":1E400"),
        (Some("application/json"), "null", "data\":null"),
        (
            Some("application/json"),
            "{\"a\": 1}\n",
            "data_base64\":\"eyJhIjogMX0K\"",
        ),
        (Some("application/json"), "{\n}", "data_base64\":\"ewp9\""),
        (Some("application/json"), "{", "data_base64\":\"ew==\""),
        (Some("application/json"), "", "data_base64\":\"\""),
        (Some("text/plain"), "a\n\"b\"", "data\":\"a\\n\\\"b\\\"\""),
        (Some("application/xml"), "<a/>", "data\":\"<a/>\""),
        (
            Some("text/plain; charset=latin1"),
            "a",
            "data_base64\":\"YQ==\"",
        ),
        (
            Some("application/octet-stream"),
            "a",
            "data_base64\":\"YQ==\"",
        ),
        (None, "{\"a\":1}", "data\":{\"a\":1}"),
        (None, "null", "data_base64\":\"bnVsbA==\""),
        (None, "plain", "data_base64\":\"cGxhaW4=\""),
    ] {
        assert_eq!(structured_data(datacontenttype, data.as_bytes()), expected);
    }
    assert_eq!(
        structured_data(Some("text/plain"), b"\xff"),
        "data_base64\":\"/w==\""
    );
}

#[test]
fn the_sdk_reads_what_is_written() {
    let sdk: cloudevents::Event = serde_json::from_str(&structured(&event())).unwrap();
    assert_eq!(sdk.id(), "1");
    assert_eq!(sdk.subject(), event().subject.as_deref());
    assert_eq!(
        sdk.time().unwrap().to_rfc3339(),
        "2026-05-04T09:30:00.100+00:00"
    );
    assert_eq!(sdk.extension("number").unwrap().to_string(), "-5");

    let sdk = BinaryDeserializer::into_event(&event()).unwrap();
    assert_eq!(sdk.datacontenttype(), event().datacontenttype.as_deref());
    let data: Vec<u8> = sdk.data().unwrap().clone().try_into().unwrap();
    assert_eq!(Some(data), event().data.map(Vec::from));
}

#[test]
fn the_sdk_writes_what_is_read() {
    let sdk = BinaryDeserializer::into_event(&event()).unwrap();
    let message = BinaryDeserializer::deserialize_binary(sdk.clone(), Message::default()).unwrap();
    let read = decode(Some(&message.headers), &message.payload).unwrap();
    assert_eq!(
        (read.id, read.subject, read.data),
        (event().id, event().subject, event().data)
    );

    let message =
        StructuredDeserializer::deserialize_structured(&event(), Message::default()).unwrap();
    let read = decode(Some(&message.headers), &message.payload).unwrap();
    assert_eq!(
        (read.id, read.time, read.data),
        (event().id, event().time, event().data)
    );
}

#[test]
fn both_ways_into_binary_mode_give_the_same_message() {
    let event = event();
    let (headers, payload) = binary(event.clone());
    let through_the_sdk = BinaryDeserializer::deserialize_binary(&event, Message::default());
    assert_eq!(through_the_sdk.unwrap(), Message { headers, payload });
}

/// Text of every plane, without what CloudEvents keeps out of strings.
fn any_text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 1..12)
        .prop_map(|chars| {
            chars
                .into_iter()
                .filter(|c| !c.is_control())
                .collect::<String>()
        })
        .prop_filter("allowed", |text| {
            let subject = Some(text.clone());
            validate(&Event { subject, ..event() }).is_ok()
        })
}

fn any_value() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        any::<bool>().prop_map(AttributeValue::Boolean),
        any::<i32>().prop_map(AttributeValue::Integer),
        prop_oneof![any_text(), Just(String::new())].prop_map(AttributeValue::Text),
    ]
}

fn any_data() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        vec(any::<u8>(), 1..40).prop_map(Bytes::from),
        any_text().prop_map(Bytes::from),
        any_text().prop_map(|text| serde_json::json!({ "a": [text, null, 1.5] })
            .to_string()
            .into()),
        any_text().prop_map(|text| format!(" {{\"a\" :\t{:?}}}\r\n", text).into()),
        "[ \t\r\n]{0,2}-?[0-9]{1,30}(\\.0{1,9})?([eE][+-]?[0-9]{1,3})?\n?".prop_map(Bytes::from),
    ]
}

prop_compose! {
    fn any_event()(
        id in any_text(),
        source in "(/[a-z0-9%]{0,3}|urn:[a-z]{2,5}:[a-z]+|#[a-z]+|[a-z]+)"
            .prop_filter("URI", |source| validate(&Event { source: source.clone(), ..event() }).is_ok()),
        event_type in any_text(),
        subject in option::of(any_text()),
        time in option::of("2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,12})?(Z|[+-]0[0-9]:[0-5][0-9])"),
        datacontenttype in option::of(prop_oneof![
            Just("application/json"), Just("text/plain"), Just("application/vnd.a+json; v=\"a b\""),
            Just("text/xml; charset=utf-8"), Just("application/octet-stream"),
        ]),
        dataschema in option::of(Just("https://a.example/%20?b#c".to_owned())),
        extensions in proptest::collection::btree_map(
            "[a-z0-9]{1,8}".prop_filter("reserved", |name| is_extension_name(name)), any_value(), 0..5),
        data in option::of(any_data()),
    ) -> Event {
        let datacontenttype = datacontenttype.map(str::to_owned);
        let extensions = extensions.into_iter().collect();
        Event { id, source, event_type, subject, time, datacontenttype, dataschema, extensions, data }
    }
}

proptest! {
    #[test]
    fn binary_round_trip(event in any_event()) {
        prop_assert_eq!(validate(&event), Ok(()));
        let (headers, payload) = binary(event.clone());
        for (_, values) in headers.iter() {
            prop_assert!(values.iter().all(|value| value.as_str().bytes().all(|byte| (0x21..=0x7e).contains(&byte))));
        }
        // Headers are text.
        let mut expected = event;
        for (_, value) in &mut expected.extensions {
            *value = AttributeValue::Text(value.to_string());
        }
        prop_assert_eq!(decode(Some(&headers), &payload), Ok(expected));
    }

    #[test]
    fn structured_round_trip(event in any_event()) {
        let json = structured(&event);
        prop_assert!(!json.contains(['\n', '\r']));
        let read = decode_structured(&Bytes::from(json.clone()));
        // No type and JSON data is what the format calls application/json.
        let mut expected = event;
        if expected.datacontenttype.is_none() && json.contains(",\"data\":") {
            expected.datacontenttype = Some("application/json".to_owned());
        }
        prop_assert_eq!(read, Ok(expected));
    }

    #[test]
    fn any_headers_and_bytes_are_an_event_or_an_error(
        pairs in vec((
            prop_oneof![
                Just("ce-specversion".to_owned()), Just("ce-id".to_owned()), Just("ce-source".to_owned()),
                Just("ce-type".to_owned()), Just("ce-time".to_owned()), Just("ce-datacontenttype".to_owned()),
                Just("Content-Type".to_owned()), "[!-9;-~]{0,12}",
            ],
            prop_oneof![
                Just("1.0".to_owned()), Just("application/cloudevents+json".to_owned()),
                "[^\\r\\n]{0,20}", "\"[\\\\\"a%0-9]{0,8}\"?", "[a-z]{1,5}/[a-z+]{0,5}[;= \"a]{0,9}",
            ],
        ), 0..8),
        payload in prop_oneof![
            vec(any::<u8>(), 0..60),
            "\\{(\"[a-z]{0,4}\": ?[\\{\\[\"0-9tfn]{0,5},?){0,4}\\}?".prop_map(String::into_bytes),
        ],
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        let payload = Bytes::from(payload);
        for headers in [Some(&headers), None] {
            if let Ok(event) = decode(headers, &payload) {
                prop_assert_eq!(validate(&event), Ok(()));
            }
        }
        let _ = decode_structured(&payload);
    }
}

#[test]
fn what_is_written_exactly_is_read_as_the_very_same_event() {
    for datacontenttype in [None, Some("application/json"), Some("text/plain")] {
        for data in [&b"{\"n\":1.0}"[..], b"null", b"a\nb", b"\xff", b""] {
            let event = Event {
                datacontenttype: datacontenttype.map(str::to_owned),
                data: Some(Bytes::copy_from_slice(data)),
                ..event()
            };
            let json = Bytes::from(exactly(&event));
            let again = decode_structured(&json).unwrap();
            assert_eq!(again.data, event.data, "{json:?}");
            assert_eq!(again.datacontenttype, event.datacontenttype, "{json:?}");
        }
    }
}
