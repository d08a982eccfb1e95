//! The rules of an event, one by one.

use super::*;

fn event() -> Event {
    Event {
        id: "1".to_owned(),
        source: "/dataverse/contoso".to_owned(),
        event_type: "d365.dataverse.account.update".to_owned(),
        ..Event::default()
    }
}

fn with_extension(name: &str, value: &str) -> Event {
    let value = AttributeValue::Text(value.to_owned());
    Event {
        extensions: vec![(name.to_owned(), value)],
        ..event()
    }
}

#[test]
fn times() {
    let check = |time: &str| {
        validate(&Event {
            time: Some(time.to_owned()),
            ..event()
        })
    };
    for good in [
        "2018-04-05T17:31:00Z",
        "2018-04-05t17:31:00z",
        "2018-04-05T17:31:00.000000000Z",
        "2018-04-05T17:31:00.1+01:00",
        "2018-04-05T17:31:00.12345678901234567890Z",
        "2018-04-05T17:31:00-00:00",
        "2018-04-05T17:31:00+23:59",
        "2024-02-29T00:00:00Z",
        "2000-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2016-12-31T23:59:60Z",
        "2017-01-01T05:29:60+05:30",
        "2016-12-31T15:59:60.5-08:00",
    ] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "lunchtime",
        "2018-04-05",
        "2018-04-05 17:31:00Z",
        "2018-04-05T17:31Z",
        "2018-04-05T17:31:00",
        "2018-04-05T17:31:00X",
        "2018-04-05T17:31:00.Z",
        "2018-04-05T17:31:00,5Z",
        "2018-04-05T17:31:00+05",
        "2018-04-05T17:31:00+0500",
        "2018-04-05T17:31:00+25:00",
        "2018-04-05T17:31:00+05:60",
        "2018-04-05T17:31:00+xx:00",
        "2018-04-05T17:31:00\u{2212}05:00",
        "2018-04-05T17:31:00 Z",
        " 2018-04-05T17:31:00Z",
        "2018-04-05T17:31:00Z ",
        "2018-4-05T17:31:00Z",
        "02018-04-05T17:31:00Z",
        "+2018-04-05T17:31:00Z",
        "-018-04-05T17:31:00Z",
        "2018-00-05T17:31:00Z",
        "2018-13-05T17:31:00Z",
        "2018-04-00T17:31:00Z",
        "2018-04-31T17:31:00Z",
        "2018-02-29T17:31:00Z",
        "1900-02-29T17:31:00Z",
        "2018-04-05T24:00:00Z",
        "2018-04-05T17:60:00Z",
        "2018-04-05T17:31:60Z",
        "2016-12-31T23:59:61Z",
        "2016-12-31T23:59:60+01:00",
        "２018-04-05T17:31:00Z",
    ] {
        assert!(check(bad).is_err(), "{bad}");
    }
}

#[test]
fn sources_and_schemas() {
    let source = |source: &str| {
        validate(&Event {
            source: source.to_owned(),
            ..event()
        })
    };
    for good in [
        "/a",
        "a",
        "#fragment",
        "?query",
        "//authority/path",
        "https://cloudevents.io",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "mailto:someone@contoso.example",
        "1-555-123-4567",
        "/with%20blank",
    ] {
        assert_eq!(source(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "with blank",
        "/{braces}",
        "/100%",
        "/ü",
        "a\\b",
        "1a:b",
        "http://[::1",
        "a#b#c",
        "<a>",
    ] {
        assert!(source(bad).is_err(), "{bad}");
    }
    let schema = |schema: &str| {
        validate(&Event {
            dataschema: Some(schema.to_owned()),
            ..event()
        })
    };
    for good in [
        "https://contoso.example/account.json",
        "urn:example:a",
        "https://a/b#/definitions/c",
    ] {
        assert_eq!(schema(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "/relative",
        "account.json",
        "#a",
        "//a/b",
        "https://a b",
    ] {
        assert!(schema(bad).is_err(), "{bad}");
    }
}

#[test]
fn media_types() {
    let check = |value: &str| {
        validate(&Event {
            datacontenttype: Some(value.to_owned()),
            ..event()
        })
    };
    for (good, is_json, is_text) in [
        ("application/json", true, false),
        ("application/json; charset=utf-8", true, false),
        ("TEXT/JSON", true, true),
        ("application/problem+JSON", true, false),
        ("application/vnd.contoso.v1+json;v=\"a b\"", true, false),
        ("application/jsonx", false, false),
        ("application/json+xml", false, true),
        ("text/plain", false, true),
        ("text/plain; charset=UTF-8", false, true),
        ("text/plain; charset=\"utf-8\"", false, true),
        ("text/plain; charset=iso-8859-1", false, false),
        ("application/octet-stream", false, false),
    ] {
        assert_eq!(check(good), Ok(()), "{good}");
        assert_eq!(
            (media::is_json(good), media::is_text(good)),
            (is_json, is_text),
            "{good}"
        );
    }
    for bad in [
        "",
        "xyz",
        "text/",
        "/plain",
        "*/*",
        "text/*",
        "text plain",
        "text/plain; x",
        "text/plain;=a",
        "téxt/plain",
    ] {
        assert!(check(bad).is_err(), "{bad}");
    }
}

#[test]
fn extension_names() {
    for good in [
        "a",
        "0",
        "partitionkey",
        "d365depth",
        "averyverylongnamethatisonlydiscouraged",
    ] {
        assert_eq!(validate(&with_extension(good, "")), Ok(()), "{good}");
        assert!(is_extension_name(good), "{good}");
    }
    for bad in [
        "",
        "A",
        "MyExtension",
        "my.extension",
        "my_extension",
        "my-extension",
        "é",
        "a b",
        "data_base64",
    ] {
        assert!(
            matches!(validate(&with_extension(bad, "")), Err(Error::Name { .. })),
            "{bad}"
        );
        assert!(!is_extension_name(bad), "{bad}");
    }
    for reserved in [
        "id",
        "source",
        "type",
        "specversion",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "data",
    ] {
        assert!(
            matches!(
                validate(&with_extension(reserved, "")),
                Err(Error::Reserved { .. })
            ),
            "{reserved}"
        );
        assert!(!is_extension_name(reserved), "{reserved}");
    }
    let mut twice = with_extension("a", "1");
    twice
        .extensions
        .push(("a".to_owned(), AttributeValue::Integer(1)));
    assert_eq!(
        validate(&twice),
        Err(Error::Repeated {
            found: "a".to_owned()
        })
    );
}

#[test]
fn values_are_not_empty_and_without_control_characters() {
    type Set = fn(&mut Event, String);
    let setters: [(&str, Set); 4] = [
        ("id", |event, value| event.id = value),
        ("source", |event, value| event.source = value),
        ("type", |event, value| event.event_type = value),
        ("subject", |event, value| event.subject = Some(value)),
    ];
    for (attribute, set) in setters {
        let mut event = event();
        set(&mut event, String::new());
        let error = validate(&event).unwrap_err().to_string();
        assert!(
            error.contains(attribute) && error.contains("empty"),
            "{error}"
        );
        for character in [
            '\0',
            '\n',
            '\u{7f}',
            '\u{9f}',
            '\u{fdd0}',
            '\u{fffe}',
            '\u{10ffff}',
        ] {
            set(&mut event, format!("a{character}"));
            let error = validate(&event).unwrap_err();
            assert!(
                matches!(error, Error::Character { .. }),
                "{attribute} {character:?}: {error}"
            );
        }
    }
    assert!(validate(&with_extension("a", "tab\t")).is_err());
    assert_eq!(validate(&with_extension("a", "ünïcode 🙂")), Ok(()));
}

#[test]
fn errors_name_the_attribute_what_was_found_and_what_is_allowed() {
    let long = Event {
        time: Some("x".repeat(500)),
        ..event()
    };
    assert_eq!(
        validate(&long).unwrap_err().to_string(),
        format!(
            "attribute time: found \"{}\", expected a time as in RFC 3339, such as \"2026-05-04T09:30:00Z\"",
            "x".repeat(80)
        )
    );
}

#[test]
fn lookup_goes_over_all_attributes() {
    let mut event = with_extension("a", "text");
    event
        .extensions
        .push(("b".to_owned(), AttributeValue::Integer(-7)));
    event
        .extensions
        .push(("c".to_owned(), AttributeValue::Boolean(true)));
    event.subject = Some("account/1".to_owned());
    for (name, value) in [
        ("specversion", Some("1.0")),
        ("id", Some("1")),
        ("type", Some("d365.dataverse.account.update")),
        ("subject", Some("account/1")),
        ("time", None),
        ("data", None),
        ("a", Some("text")),
        ("b", Some("-7")),
        ("c", Some("true")),
        ("d", None),
    ] {
        assert_eq!(event.text(name).as_deref(), value, "{name}");
    }
}

#[test]
fn partition_keys() {
    assert_eq!(event().partition_key(), "1");
    let with_subject = Event {
        subject: Some("account/1".to_owned()),
        ..event()
    };
    assert_eq!(with_subject.partition_key(), "account/1");
    let with_key = Event {
        subject: with_subject.subject.clone(),
        ..with_extension("partitionkey", "k")
    };
    assert_eq!(with_key.partition_key(), "k");
    let with_empty = Event {
        subject: with_subject.subject,
        ..with_extension("partitionkey", "")
    };
    assert_eq!(with_empty.partition_key(), "account/1");
    let numeric = vec![("partitionkey".to_owned(), AttributeValue::Integer(5))];
    let error = validate(&Event {
        extensions: numeric,
        ..event()
    })
    .unwrap_err()
    .to_string();
    assert_eq!(
        error,
        "attribute partitionkey: found \"5\", expected text, since the extension is a string"
    );
}

#[test]
fn inbox_ids_tell_source_from_id() {
    let of = |source: &str, id: &str| {
        Event {
            source: source.to_owned(),
            id: id.to_owned(),
            ..event()
        }
        .inbox_id()
    };
    // printf '/a\0b' | sha256sum
    let expected = [
        0xc0, 0xe6, 0xdd, 0x64, 0x7d, 0xaf, 0x5f, 0xa2, 0x59, 0x20, 0x85, 0x5e, 0x20, 0x8c, 0xb6,
        0x23,
    ];
    assert_eq!(of("/a", "b"), expected);
    assert_ne!(of("/a", "b"), of("/ab", ""));
    assert_ne!(of("/a", "bc"), of("/ab", "c"));
}
