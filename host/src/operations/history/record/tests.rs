//! A message and its line are the same thing in two forms.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::decode::decode;
use crate::delivery::Delivery;

const ON: &str = "d365.custom.test.record.thing.update.7";
/// 2026-11-30T00:47:15.123456789Z.
const AT: u64 = 1_795_999_635_123_456_789;

fn stored(headers: &[(&str, &str)], payload: &[u8]) -> Stored {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, *value);
    }
    of(map, payload)
}

fn of(headers: HeaderMap, payload: &[u8]) -> Stored {
    Stored::whole(Delivery {
        sequence: 4_711,
        subject: ON.to_owned(),
        headers: Some(headers),
        payload: Bytes::copy_from_slice(payload),
        stored: AT,
        ..Delivery::default()
    })
}

const EVENT: [(&str, &str); 5] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "a%20b"),
    ("ce-source", "/x"),
    ("ce-type", "t"),
    ("ce-partitionkey", "k"),
];

fn event(more: &[(&str, &str)], payload: &[u8]) -> Stored {
    stored(&[&EVENT[..], more].concat(), payload)
}

/// The message of a line that has to be one event of the JSON event format.
fn back(line: &str) -> Outgoing {
    assert!(!line.contains(['\n', '\r']), "{line}");
    let bytes = Bytes::from(line.to_owned());
    decode::structured(&bytes).expect("a CloudEvent");
    match read(&bytes).expect("a line") {
        Line::Message(outgoing) => *outgoing,
        Line::Event(event) => panic!("not taken for one of ours: {event:?}"),
    }
}

/// All but what the broker is told for itself.
fn plain(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let text = |values: &[HeaderValue]| values.iter().map(|value| value.to_string()).collect();
    headers
        .iter()
        .map(|(name, values)| (name.to_string(), text(values)))
        .filter(|(name, _)| !name.starts_with("Nats-"))
        .collect()
}

#[test]
fn a_line_is_a_cloud_event_with_all_of_the_message() {
    let json = [("ce-datacontenttype", "application/json")];
    let line = line(&event(&json, br#"{"n": 1.10}"#));
    assert_eq!(
        line,
        r#"{"specversion":"1.0","id":"a b","source":"/x","type":"t","datacontenttype":"application/json","partitionkey":"k","sluicesubject":"d365.custom.test.record.thing.update.7","sluicesequence":"4711","sluicestored":"2026-11-30T00:47:15.123456789Z","data":{"n": 1.10}}"#
    );
    let outgoing = back(&line);
    assert_eq!(outgoing.subject, ON);
    assert_eq!(outgoing.payload, &br#"{"n": 1.10}"#[..]);
    assert_eq!(
        outgoing.headers.get(NATS_MESSAGE_ID).unwrap().as_str(),
        "/x#a b"
    );
}

#[test]
fn bodies_come_back_byte_for_byte() {
    let json = ("ce-datacontenttype", "application/json");
    let text = ("ce-datacontenttype", "text/plain");
    let latin = ("ce-datacontenttype", "text/plain;%20charset=latin1");
    let bodies: [&[u8]; 9] = [
        b"",
        b"{}",
        b"{\n  \"n\": 1\n}\n",
        b"null",
        b"\"\\ud800\"",
        b"a\tb\r\nc",
        b"\xff\x00\xfe",
        "Zürich 😀".as_bytes(),
        b"{\"n\":1}{\"n\":2}",
    ];
    for body in bodies {
        for more in [&[][..], &[json], &[text], &[latin]] {
            let stored = event(more, body);
            let line = line(&stored);
            let outgoing = back(&line);
            assert_eq!(outgoing.payload, body, "{more:?} {line}");
            assert_eq!(plain(&outgoing.headers), plain(&stored.headers), "{line}");
        }
    }
}

#[test]
fn headers_that_are_no_attributes_are_kept() {
    let headers = [
        ("x-own", "b & = % é"),
        ("x-own", "a"),
        ("X-Own", "other"),
        ("content-type", "application/json"),
        ("Sluice-Replay", "12"),
        ("Sluice-Redacted", "7"),
        ("Nats-Msg-Id", "replay 12"),
        ("Nats-Stream-Source", "LEDGER 7"),
        ("Nats-Expected-Last-Sequence", "7"),
    ];
    let stored = event(&headers, b"");
    let outgoing = back(&line(&stored));
    let mut expected = plain(&stored.headers);
    // The binding's own header is written besides the one that was there.
    expected.insert("ce-datacontenttype".into(), vec!["application/json".into()]);
    assert_eq!(plain(&outgoing.headers), expected);
    let id = outgoing.headers.get(NATS_MESSAGE_ID).unwrap();
    assert_eq!(id.as_str(), "replay 12");
    assert_eq!(
        decode(Some(&outgoing.headers), &outgoing.payload),
        stored.event
    );
}

#[test]
fn a_structured_message_stays_one() {
    let payload = br#"{ "specversion":"1.0", "id":"1", "source":"/x", "type":"t", "n":5, "b":true,
        "data": {"a" : 1.50, "b":"\u00e4\/"} }"#;
    let stored = stored(
        &[
            ("content-type", "application/cloudevents+json"),
            ("ce-x", "1"),
        ],
        payload,
    );
    let outgoing = back(&line(&stored));
    assert_eq!(plain(&outgoing.headers), plain(&stored.headers));
    let again = decode(Some(&outgoing.headers), &outgoing.payload).unwrap();
    assert_eq!(Ok(&again), stored.event.as_ref());
    assert_eq!(again.data.unwrap(), &br#"{"a" : 1.50, "b":"\u00e4\/"}"#[..]);
}

#[test]
fn what_is_no_event_comes_in_an_envelope() {
    let junk = stored(&[("x-own", "1"), ("Nats-Msg-Id", "m")], b"no event\n\xff");
    let outgoing = back(&line(&junk));
    assert_eq!(plain(&outgoing.headers), plain(&junk.headers));
    assert_eq!(outgoing.payload, junk.payload);
    assert_eq!(outgoing.headers.get(NATS_MESSAGE_ID).unwrap().as_str(), "m");

    let nothing = of(HeaderMap::new(), b"");
    let outgoing = back(&line(&nothing));
    assert_eq!(
        outgoing.headers.get(NATS_MESSAGE_ID).unwrap().as_str(),
        "/sluicegate/events#4711-2026-11-30T00:47:15.123456789Z"
    );
    // One that was imported by other means, with our attributes on it.
    let twice = event(&[("ce-sluicesubject", "d365.x")], b"{}");
    let outgoing = back(&line(&twice));
    assert_eq!(plain(&outgoing.headers), plain(&twice.headers));
}

#[test]
fn a_reference_goes_where_the_line_has_the_body() {
    let reference = format!("nats-object:claims/{}", "ab".repeat(32));
    let with_body = event(&[("ce-dataref", &reference)], b"{}");
    assert!(!line(&with_body).contains("dataref"));
    let gone = event(&[("ce-dataref", &reference)], b"");
    assert!(gone.is_body_gone);
    assert_eq!(plain(&back(&line(&gone)).headers), plain(&gone.headers));
    let elsewhere = event(&[("ce-dataref", "https://contoso.example/1")], b"{}");
    assert!(line(&elsewhere).contains("https://contoso.example/1"));
}

#[test]
fn lines_that_were_tampered_with_are_refused() {
    let line = |more: &str| {
        let text = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/x","type":"t","sluicesubject":"{ON}",{more}"n":"1"}}"#
        );
        read(&Bytes::from(text))
    };
    assert!(line("").is_ok());
    for (more, part) in [
        (r#""sluiceheaders":"Nats-Rollup=sub","#, "Nats-Rollup"),
        (r#""sluiceheaders":"ce-id=2","#, "ce-id"),
        (r#""sluiceheaders":"x%20y=2","#, "x y"),
        (r#""sluiceheaders":"x=2%0D%0Ay: 3","#, "value of a header"),
    ] {
        let error = line(more).expect_err(more).to_string();
        assert!(error.contains(part), "{error}");
    }
    for subject in [
        "d365",
        "d365.",
        "ledger.out.x",
        "d365.*.x",
        "d365.a b",
        "d365..a",
        "d365.>",
    ] {
        let text = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/x","type":"t","sluicesubject":"{subject}"}}"#
        );
        let error = read(&Bytes::from(text)).expect_err(subject).to_string();
        assert!(error.contains("sluicesubject"), "{error}");
    }
}

#[test]
fn an_event_from_elsewhere_is_one() {
    let text =
        r#"{"specversion":"1.0","id":"1","source":"/x","type":"t","sluicestored":"x","data":1}"#;
    let Ok(Line::Event(event)) = read(&Bytes::from_static(text.as_bytes())) else {
        panic!("no event");
    };
    assert!(event.extensions.is_empty());
}

prop_compose! {
    fn headers_of_an_event()(
        id in "[ -~äö€]{1,12}",
        key in option::of("[a-zA-Z0-9/ %äö\"]{1,12}"),
        media in option::of(prop::sample::select(vec![
            "application/json", "text/plain", "application/octet-stream", "application/xml",
            "application/x%2Bjson",
        ])),
        bare in option::of(prop::sample::select(vec!["application/json", "text/html"])),
        own in vec(("[a-z][a-z0-9-]{0,8}", "[!-~äö€]{0,8}"), 0..4),
        extensions in vec(("[a-z0-9]{1,8}", "[ -~äö]{0,8}"), 0..3),
    ) -> HeaderMap {
        let mut map = HeaderMap::new();
        let event = Event {
            id,
            source: "/x".to_owned(),
            event_type: "t".to_owned(),
            ..Event::default()
        };
        let (event, _) = encode::binary(event);
        for (name, values) in event.iter() {
            for value in values {
                map.append(name.clone(), value.clone());
            }
        }
        for (name, value) in extensions {
            map.insert(format!("ce-{name}"), value.as_str());
        }
        for (name, value) in [("ce-partitionkey", key.as_deref()), ("ce-datacontenttype", media), ("content-type", bare)] {
            if let Some(value) = value {
                map.insert(name, value);
            }
        }
        for (name, value) in own {
            map.append(format!("x-{name}"), value.as_str());
        }
        map
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        "[ -~\n\räö\u{2028}]{0,40}".prop_map(String::into_bytes),
        "\\{\"a\": ?(1|\"x\"|null|[0-9]{1,30})\\}\n?".prop_map(String::into_bytes),
    ]
}

proptest! {
    /// Whatever stands in the store: the line gives the same event, the same body, the same
    /// headers, or else the very same message.
    #[test]
    fn every_message_survives_its_line(headers in headers_of_an_event(), payload in payload()) {
        let stored = of(headers, &payload);
        let outgoing = back(&line(&stored));
        prop_assert_eq!(&outgoing.payload, &stored.payload);
        prop_assert_eq!(&outgoing.subject, &stored.subject);
        let again = decode(Some(&outgoing.headers), &outgoing.payload);
        prop_assert_eq!(again.is_ok(), stored.event.is_ok());
        if let Ok(event) = &stored.event {
            prop_assert_eq!(Ok(event), again.as_ref());
            let others = |headers: &HeaderMap| {
                let mut plain = plain(headers);
                plain.retain(|name, _| attribute_name(name).is_none());
                plain
            };
            prop_assert_eq!(others(&outgoing.headers), others(&stored.headers));
        } else {
            prop_assert_eq!(plain(&outgoing.headers), plain(&stored.headers));
        }
        // A second export says the same of it.
        let again = of(outgoing.headers, &outgoing.payload);
        prop_assert_eq!(line(&again), line(&stored));
    }

    #[test]
    fn structured_messages_survive(data in payload(), media in option::of("(application/json|text/plain|image/png)")) {
        let event = Event {
            id: "1".to_owned(),
            source: "/x".to_owned(),
            event_type: "t".to_owned(),
            datacontenttype: media,
            data: Some(data.into()),
            extensions: vec![("n".to_owned(), AttributeValue::Integer(5))],
            ..Event::default()
        };
        let stored = stored(
            &[("content-type", "application/cloudevents+json; charset=utf-8")],
            encode::exactly(&event).as_bytes(),
        );
        prop_assert_eq!(Ok(&event), stored.event.as_ref());
        let outgoing = back(&line(&stored));
        prop_assert_eq!(plain(&outgoing.headers), plain(&stored.headers));
        prop_assert_eq!(&outgoing.payload, &stored.payload);
    }
}
