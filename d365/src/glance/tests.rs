//! A glance says what the types say, or nothing.

use proptest::prelude::*;
use proptest::sample::Index;

use super::glance;
use crate::facts::Facts;
use crate::{RemoteExecutionContext, map, map_by_types};

/// The crate's own bodies.
fn fixtures() -> Vec<(String, String)> {
    let folder = format!("{}/fixtures", env!("CARGO_MANIFEST_DIR"));
    let mut bodies: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    bodies.sort();
    bodies
}

/// Both ways say the same of a body, be it an error.
fn agree(body: &[u8]) -> Result<(), TestCaseError> {
    let text = String::from_utf8_lossy(body);
    if let Some(facts) = glance(body) {
        let typed = RemoteExecutionContext::parse(body);
        let typed = typed.map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
        prop_assert_eq!(facts, Facts::of(&typed), "{}", text);
    }
    let say = |result: Result<_, crate::Error>| {
        result.map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {source:?}")
        })
    };
    let typed = say(map_by_types("contoso", body));
    prop_assert_eq!(say(map("contoso", body)), typed, "{}", text);
    Ok(())
}

#[test]
fn what_dataverse_writes_is_read_at_a_glance() {
    for (name, body) in fixtures() {
        agree(body.as_bytes()).unwrap();
        // Two bodies of Finance and Operations, and one whose ids are boxed, take longer.
        let slow = [
            "fno-business-event",
            "fno-test-message",
            "task-create-boxed",
        ];
        let glanced = glance(body.as_bytes()).is_some();
        assert_eq!(glanced, !slow.contains(&name.as_str()), "{name}");
        // As it is on the wire, too.
        if glanced {
            let wire = body.replace('/', "\\/");
            assert!(glance(wire.as_bytes()).is_some(), "{name}");
            agree(wire.as_bytes()).unwrap();
        }
    }
}

#[test]
fn what_is_unusual_is_left_to_the_types() {
    let deep = format!("{}7{}", "[".repeat(130), "]".repeat(130));
    let deep_enough = format!("{}7{}", "[".repeat(126), "]".repeat(126));
    for (members, glanced) in [
        (r#""PrimaryEntityName":"account""#, true),
        (r#""PrimaryEntityName":"acc\u006funt""#, true),
        (r#""PrimaryEntityName":"acc\ud83d\ude00t""#, false),
        (r#""PrimaryEntityName":"acc\ud83dt""#, false),
        (r#""X":"\ud83d""#, false),
        (r#""X":"\u00zz""#, false),
        (r#""X":"\u+0ff""#, false),
        ("\"X\":\"a\tb\"", false),
        (r#""X":01"#, false),
        (r#""X":1."#, false),
        (r#""X":-"#, false),
        (r#""X":1e400"#, true),
        (r#""X":-0.00E+07"#, true),
        (r#""X":nul"#, false),
        (r#""X":{}, "Y":[] , "Z" : [ { } ]"#, true),
        (r#""X":[1,]"#, false),
        (r#""X":{"a":1,}"#, false),
        (r#""Primary\u0045ntityName":"account""#, false),
        (r#""primaryEntityName":"account""#, false),
        (r#""PrimaryEntityName":"a","PrimaryEntityName":"b""#, false),
        (r#""PrimaryEntityName":"a","PrimaryEntityName":null"#, false),
        (r#""PrimaryEntityName":null"#, true),
        (r#""PrimaryEntityName":5"#, false),
        (r#""Depth":"two""#, false),
        (r#""Depth":-0"#, false),
        (r#""Depth":9223372036854775808"#, false),
        (r#""Depth":2.0"#, false),
        (r#""ParentContext":7"#, false),
        (r#""OwningExtension":{"Id":null}"#, true),
        (r#""InputParameters":null,"PreEntityImages":[]"#, true),
        (r#""InputParameters":[{"value":1,"key":"a"}]"#, false),
        (r#""InputParameters":[{"key":"a"}]"#, false),
        (
            r#""InputParameters":[{"key":"Target","value":1},{"key":"Target","value":{"a":{}}}]"#,
            true,
        ),
        (r#""InputParameters":[{"Key":"a","value":1}]"#, false),
        (
            r#""InputParameters":[{"key":"Target","value":{"id":"a"}}]"#,
            false,
        ),
        (
            r#""InputParameters":[{"key":"Target","value":{"logicalname":"a"}}]"#,
            false,
        ),
        (
            r#""InputParameters":[{"key":"a","value":1,"Value":2,"KEY":3}]"#,
            true,
        ),
        (r#""InputParameters":[],"PrimaryEntityId":"a""#, true),
        (r#""InputParameters":[],"PrimaryEntityName":"none""#, true),
        (r#""PreEntityImages":[{"key":"a","value":null}]"#, false),
        (
            r#""PreEntityImages":[{"key":"a","value":{}}],"PostEntityImages":[]"#,
            true,
        ),
        (r#""PostEntityImages":[{"key":"a","value":{}}]"#, true),
        (r#""postEntityImages":[{"key":"a","value":{}}]"#, false),
        (r#""ParentContext":{}"#, true),
        (r#""ParentContext":{"operationId":"a"}"#, false),
        (r#""X":{"Attributes":["a"]}"#, false),
        (r#""X":{"entities":[1]}"#, false),
        (r#""$serde_json::private::Number":"1""#, false),
        (r#""X":{"$serde_json::private::Number":"1"}"#, false),
        (&format!("\"X\":{deep}"), false),
        (&format!("\"X\":{deep_enough}"), false),
    ] {
        let body = format!(r#"{{"MessageName":"Update",{members}}}"#);
        assert_eq!(glance(body.as_bytes()).is_some(), glanced, "{body}");
        agree(body.as_bytes()).unwrap();
    }
    let entity = |id: &str, tag: &str, more: &str| {
        let date = r#"{"key":"modifiedon","value":"\/Date(5)\/"}"#;
        format!(
            r#"{{"key":"Target","value":{{"Id":"{id}","LogicalName":"{id}","Attributes":[{date}{more}],
            "__type":"{tag}:http:\/\/schemas.microsoft.com\/xrm\/2011\/Contracts"}}}}"#
        )
    };
    let later = r#",{"key":"modifiedon","value":"\/Date(7)\/"}"#;
    for targets in [
        entity("a", "Entity", ""),
        entity("a", "Entity", later),
        entity("a", "EntityReference", ""),
        entity("a", "Money", ""),
        entity("a", "Entity", "") + "," + &entity("b", "Entity", later),
        entity("a", "Money", "") + "," + &entity("b", "Entity", ""),
    ] {
        let body = format!(r#"{{"MessageName":"Update","InputParameters":[{targets}]}}"#);
        assert!(glance(body.as_bytes()).is_some(), "{body}");
        agree(body.as_bytes()).unwrap();
    }
    for body in [
        "",
        "{}",
        "[]",
        r#"{"MessageName":" "}"#,
        r#"{"MessageName":"Update"}x"#,
        r#"{"MessageName":"Update""#,
        "\u{feff}\u{feff}{\"MessageName\":\"Update\"}",
        r#"{"MessageName":"Update","BusinessEventId":"x"}"#,
        r#"{"businesseventid":null,"MessageName":"Update"}"#,
    ] {
        assert!(glance(body.as_bytes()).is_none(), "{body}");
        agree(body.as_bytes()).unwrap();
    }
    assert!(glance(b"{\"MessageName\":\"Update\",\"X\":\"\xff\"}").is_none());
    agree(b"{\"MessageName\":\"Update\",\"X\":\"\xff\"}").unwrap();
    let mark = "\u{feff} {\"MessageName\":\"Update\"} \r\n";
    assert!(glance(mark.as_bytes()).is_some());
}

/// What is put into a body: names that mean something, in this case or another, and values of
/// every kind.
fn snippet() -> impl Strategy<Value = String> {
    const NAMES: [&str; 34] = [
        "MessageName",
        "PrimaryEntityName",
        "PrimaryEntityId",
        "OrganizationId",
        "OperationId",
        "OwningExtension",
        "OperationCreatedOn",
        "Mode",
        "Depth",
        "CorrelationId",
        "ParentContext",
        "InputParameters",
        "OutputParameters",
        "SharedVariables",
        "PreEntityImages",
        "Entities",
        "PostEntityImages",
        "Attributes",
        "KeyAttributes",
        "FormattedValues",
        "BusinessEventId",
        "Id",
        "LogicalName",
        "__type",
        "__value",
        "key",
        "value",
        "Value",
        "modifiedon",
        "Target",
        "$serde_json::private::RawValue",
        "$serde_json::private::Number",
        "X",
        "",
    ];
    const VALUES: [&str; 29] = [
        "null",
        "[]",
        "{}",
        "7",
        "-0",
        "1.50",
        "1e5",
        "\"\"",
        "\" \"",
        "\"Target\"",
        "\"a\\/b\"",
        "\"\\u0041\"",
        "\"\\ud800\"",
        "true",
        "[7]",
        "[null]",
        "[{}]",
        "[{\"key\":\"a\"}]",
        "[{\"key\":\"modifiedon\",\"value\":\"\\/Date(1790931725906)\\/\"}]",
        "[{\"key\":\"Target\",\"value\":{\"__type\":\"Entity:http://schemas.microsoft.com/xrm/2011/Contracts\",\"LogicalName\":\"lead\",\"Id\":\"{AB}\"}}]",
        "[{\"value\":{\"Attributes\":[]},\"key\":\"Target\"}]",
        "\"Entity:http:\\/\\/schemas.microsoft.com\\/xrm\\/2011\\/Contracts\"",
        "\"EntityReference:http://schemas.microsoft.com/xrm/2011/Contracts\"",
        "{\"__type\":\"Guid:#System\",\"__value\":\"ab\"}",
        "{\"$serde_json::private::Number\":\"12\"}",
        "{\"Id\":\"x\",\"id\":\"y\"}",
        "\"00000000-0000-0000-0000-000000000000\"",
        "\"none\"",
        "\"/Date(5)/\"",
    ];
    let case = prop_oneof![8 => Just(0_u8), 1 => Just(1), 1 => Just(2)];
    let name = (prop::sample::select(&NAMES[..]), case).prop_map(|(name, case)| match case {
        1 => name.to_ascii_lowercase(),
        2 => name.to_ascii_uppercase(),
        _ => name.to_owned(),
    });
    let member = (name, prop::sample::select(&VALUES[..]));
    prop_oneof![
        6 => member.prop_map(|(name, value)| format!("\"{name}\":{value},")),
        1 => prop::sample::select(&VALUES[..]).prop_map(|value| format!("{value},")),
        1 => prop::sample::select(&["{", "}", "[", "]", ",", ":", "\"", "\\", " ", "\u{feff}", "\0"][..])
            .prop_map(str::to_owned),
    ]
}

/// Where something may be put: after a bracket or a comma.
fn places(body: &str) -> Vec<usize> {
    let place = |(at, c): (usize, char)| matches!(c, '{' | '[' | ',').then_some(at + 1);
    body.char_indices().filter_map(place).collect()
}

proptest! {
    #[test]
    fn a_body_with_something_put_in_or_taken_out(
        which in any::<Index>(),
        put in prop::collection::vec((any::<Index>(), snippet()), 0..4),
        cut in prop::option::weighted(0.3, (any::<Index>(), any::<Index>())),
        wire in any::<bool>(),
    ) {
        let bodies = fixtures();
        let mut body = which.get(&bodies).1.clone();
        if wire {
            body = body.replace('/', "\\/");
        }
        for (at, text) in put {
            let places = places(&body);
            body.insert_str(*at.get(&places), &text);
        }
        if let Some((from, to)) = cut {
            let places = places(&body);
            let (from, to) = (*from.get(&places), *to.get(&places));
            body.replace_range(from.min(to)..from.max(to), "");
        }
        agree(body.as_bytes())?;
    }

    #[test]
    fn a_body_with_bytes_changed(
        which in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\/0-eunt \n"[..])]), 1..4),
    ) {
        let bodies = fixtures();
        let mut body = which.get(&bodies).1.clone().into_bytes();
        for (at, byte) in changes {
            *at.get_mut(&mut body) = byte;
        }
        agree(&body)?;
    }

    #[test]
    fn a_body_of_pieces(pieces in prop::collection::vec(snippet(), 0..8)) {
        let body = format!("{{\"MessageName\":\"Update\",{}", pieces.concat());
        agree(body.as_bytes())?;
        agree(format!("{}}}", body.trim_end_matches(',')).as_bytes())?;
    }
}
