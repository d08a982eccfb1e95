//! Messages that are no events, and what is said about them.

use async_nats::HeaderMap;
use bytes::Bytes;

use super::{LEAST, binary_with, headers, structured, structured_with};
use crate::decode::{Error, decode};

/// Members beside the required ones, and a part of the error.
const MEMBERS: &[(&str, &str)] = &[
    (r#""id": "2""#, "\"id\": found twice"),
    (r#""a": "1", "a": "1""#, "\"a\": found twice"),
    (r#""a": null, "a": "1""#, "\"a\": found twice"),
    (r#""a": "1", "\u0061": "2""#, "\"a\": found twice"),
    (r#""data": 1, "data": 2"#, "\"data\": found twice"),
    (
        r#""subject": """#,
        "attribute subject: found an empty string",
    ),
    (
        r#""subject": 5"#,
        "\"subject\": found 5, expected a JSON string",
    ),
    (r#""subject": "a\u0000""#, "U+0000"),
    (r#""subject": "a\n""#, "U+000A"),
    (r#""subject": "\ud800""#, "expected a JSON string"),
    (
        r#""subject": ["a"]"#,
        "found [\"a\"], expected a JSON string",
    ),
    (r#""time": """#, "attribute time"),
    (
        r#""time": "lunchtime""#,
        "found \"lunchtime\", expected a time",
    ),
    (r#""time": "2018-04-05T18:31Z""#, "attribute time"),
    (r#""time": "2018-04-05 18:31:00Z""#, "attribute time"),
    (r#""time": "2018-04-05T18:31:00""#, "attribute time"),
    (r#""time": "2018-04-05T18:31:00+05""#, "attribute time"),
    (r#""time": "2018-04-05T18:31:00+25:00""#, "attribute time"),
    (r#""time": "2018-02-30T18:31:00Z""#, "attribute time"),
    (r#""time": 1522953060"#, "\"time\": found 1522953060"),
    (r#""datacontenttype": """#, "attribute datacontenttype"),
    (
        r#""datacontenttype": "xyz""#,
        "found \"xyz\", expected a media type",
    ),
    (
        r#""datacontenttype": "text/plain; ;""#,
        "attribute datacontenttype",
    ),
    (
        r#""datacontenttype": true"#,
        "\"datacontenttype\": found true",
    ),
    (r#""dataschema": """#, "attribute dataschema"),
    (
        r#""dataschema": "account.json""#,
        "expected an absolute URI",
    ),
    (r#""dataschema": "https://a b""#, "attribute dataschema"),
    (r#""dataschema": {}"#, "\"dataschema\": found {}"),
    (
        r#""MyExtension": "bad""#,
        "\"MyExtension\": expected a name of lower-case",
    ),
    (
        r#""my.extension": "bad""#,
        "\"my.extension\": expected a name",
    ),
    (
        r#""my_extension": "bad""#,
        "\"my_extension\": expected a name",
    ),
    (r#""ID": "1""#, "\"ID\": expected a name"),
    (r#""": "bad""#, "\"\": expected a name"),
    (r#""ä": "bad""#, "expected a name"),
    (
        r#""ext": 1.5"#,
        "\"ext\": found 1.5, expected a whole number",
    ),
    (r#""ext": 1.0"#, "found 1.0, expected a whole number"),
    (r#""ext": 1e2"#, "found 1e2, expected a whole number"),
    (
        r#""ext": 2147483648"#,
        "found 2147483648, expected a whole number from -2147483648 to 2147483647",
    ),
    (
        r#""ext": -2147483649"#,
        "found -2147483649, expected a whole number",
    ),
    (r#""ext": 5637611083"#, "send others as strings"),
    (
        r#""ext": {}"#,
        "found {}, expected a JSON string, boolean or whole number",
    ),
    (
        r#""ext": []"#,
        "found [], expected a JSON string, boolean or whole number",
    ),
    (r#""ext": "\u009f""#, "U+009F"),
    (r#""ext": "\ufffe""#, "U+FFFE"),
    (
        r#""data": "text", "data_base64": "eyAieHl6IjogMTIzIH0=""#,
        "both members data and data_base64",
    ),
    (
        r#""data": null, "data_base64": "TWE=""#,
        "both members data and data_base64",
    ),
    (r#""data_base64": "T===""#, "data_base64: found \"T===\""),
    (r#""data_base64": "TWE""#, "expected base64 with padding"),
    (r#""data_base64": "T W E=""#, "data_base64"),
    (r#""data_base64": "_-_-""#, "data_base64"),
    (r#""data_base64": 5"#, "\"data_base64\": found 5"),
    (
        r#""datacontenttype": "text/plain", "data": {"a": 1}"#,
        "\"data\": found {\"a\": 1}, expected a JSON string",
    ),
    (
        r#""datacontenttype": "text/plain", "data": 5"#,
        "\"data\": found 5",
    ),
    (
        r#""datacontenttype": "text/plain", "data": "\ud800""#,
        "\"data\"",
    ),
];

#[test]
fn members_that_no_event_may_have() {
    for (members, part) in MEMBERS {
        let error = structured_with(members).expect_err(members).to_string();
        assert!(error.contains(part), "{members}: {error}");
    }
}

/// The required attributes: missing, null, of another type, empty, malformed.
#[test]
fn required_attributes() {
    for attribute in ["specversion", "id", "source", "type"] {
        for (value, part) in [
            (None, "found none"),
            (Some("null"), "found none"),
            (Some("25"), "found 25"),
            (Some("{\"xyz\": \"abc\"}"), "found {\"xyz\": \"abc\"}"),
            (Some("[\"1.0\"]"), "found [\"1.0\"]"),
            (Some("true"), "found true"),
            (Some("\"\""), "found "),
        ] {
            let members: Vec<String> = LEAST
                .split(", ")
                .filter_map(|member| {
                    let (name, _) = member.split_once(": ")?;
                    match (name.trim_matches('"') == attribute, value) {
                        (true, None) => None,
                        (true, Some(value)) => Some(format!("{name}: {value}")),
                        (false, _) => Some(member.to_owned()),
                    }
                })
                .collect();
            let json = format!("{{{}}}", members.join(", "));
            let error = structured(&Bytes::from(json.clone()))
                .expect_err(&json)
                .to_string();
            assert!(
                error.contains(attribute) && error.contains(part),
                "{json}: {error}"
            );
        }
    }
    for version in ["0.3", "0.9", "1.1", "1", "2.0", "1.0 "] {
        let json = LEAST.replace("1.0", version);
        let error = structured(&Bytes::from(format!("{{{json}}}"))).unwrap_err();
        assert_eq!(
            error,
            Error::SpecVersion {
                found: version.to_owned()
            }
        );
    }
    for source in ["with blank", "/{topic}", "http://[", "\\u000a"] {
        let json = LEAST.replace("/a", source);
        let error = structured(&Bytes::from(format!("{{{json}}}")))
            .unwrap_err()
            .to_string();
        assert!(error.contains("attribute source"), "{source}: {error}");
    }
}

#[test]
fn what_is_no_json_object() {
    let cut = format!("{{{LEAST}");
    let more = format!("{{{LEAST}}} {{}}");
    let comma = format!("{{{LEAST},}}");
    let mark = format!("\u{feff}{{{LEAST}}}");
    let raw_break = format!("{{{LEAST}, \"data\": \"a\nb\"}}");
    let deep = format!("{{{LEAST}, \"data\": {}", "[".repeat(100_000));
    for json in [
        "", "null", "[]", "\"a\"", "{", "{]", "{1: 2}", &cut, &more, &comma, &mark, &raw_break,
        &deep,
    ] {
        let error = structured(&Bytes::from(json.to_owned())).unwrap_err();
        assert!(matches!(error, Error::Json { .. }), "{error}");
    }
    for bytes in [
        &b"{\"a\": \"\xff\"}"[..],
        b"\xff\xfe{\0",
        b"{\"\xed\xa0\x80\": 1}",
    ] {
        let error = structured(&Bytes::from_static(bytes)).unwrap_err();
        assert!(matches!(error, Error::Json { .. }), "{error}");
    }
}

#[test]
fn what_is_found_is_cut() {
    let long = format!("\"time\": \"{}\"", "é".repeat(10_000));
    let error = structured_with(&long).unwrap_err().to_string();
    assert!(error.chars().count() < 200, "{error}");
    let wide = format!("\"ext\": [1,\n{}]", "1,".repeat(10_000) + "1");
    let error = structured_with(&wide).unwrap_err().to_string();
    assert!(
        error.chars().count() < 200 && !error.contains('\n'),
        "{error}"
    );
}

/// Headers beside the required ones, and a part of the error.
const HEADERS: &[(&str, &str, &str)] = &[
    ("ce-id", "2", "\"id\": found twice"),
    ("CE-ID", "1", "\"id\": found twice"),
    ("ce-subject", "", "attribute subject: found an empty string"),
    (
        "ce-subject",
        "%FF",
        "\"subject\": found \"%FF\"; expected percent-encoded UTF-8",
    ),
    ("ce-subject", "%ED%A0%80", "expected percent-encoded UTF-8"),
    ("ce-subject", "a%C3", "expected percent-encoded UTF-8"),
    ("ce-subject", "a%00", "U+0000"),
    ("ce-time", "lunchtime", "attribute time"),
    ("ce-dataschema", "relative", "attribute dataschema"),
    ("ce-datacontenttype", "xyz", "attribute datacontenttype"),
    ("content-type", "xyz", "attribute datacontenttype"),
    ("ce-my_ext", "1", "\"my_ext\": expected a name"),
    ("ce-my-ext", "1", "\"my-ext\": expected a name"),
    ("ce-", "1", "\"\": expected a name"),
    ("ce-data", "1", "the name is reserved"),
];

#[test]
fn headers_that_no_event_may_have() {
    for (name, value, part) in HEADERS {
        let error = binary_with(&[(name, value)], "")
            .expect_err(name)
            .to_string();
        assert!(error.contains(part), "{name}: {value}: {error}");
    }
}

#[test]
fn binary_events_need_the_required_headers() {
    let all = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/a"),
        ("ce-type", "t"),
    ];
    for missing in ["specversion", "id", "source", "type"] {
        let some: Vec<_> = all
            .into_iter()
            .filter(|(name, _)| !name.ends_with(missing))
            .collect();
        let error = decode(Some(&headers(&some)), &Bytes::new()).unwrap_err();
        assert_eq!(error, Error::Missing { attribute: missing });
    }
    for empty in [None, Some(&HeaderMap::new())] {
        let error = decode(empty, &Bytes::from_static(b"{}")).unwrap_err();
        assert_eq!(
            error,
            Error::Missing {
                attribute: "specversion"
            }
        );
    }
    let mut old = headers(&all);
    old.insert("ce-specversion", "0.3");
    let error = decode(Some(&old), &Bytes::new()).unwrap_err();
    assert_eq!(
        error,
        Error::SpecVersion {
            found: "0.3".to_owned()
        }
    );
}
