//! Takes nothing, gives events that break one rule each.

use super::REST;

/// An event that breaks a rule, and the rule.
pub type Invalid = (&'static str, String);

/// Events that break one rule each.
pub fn invalid() -> Vec<Invalid> {
    let mut all = shapes();
    all.extend(attributes());
    all.extend(extensions_and_data());
    all
}

fn shapes() -> Vec<Invalid> {
    let good = format!("{{\"id\":\"x\",{REST}}}");
    let texts = [
        ("an array", format!("[{good}]")),
        ("a string", "\"event\"".to_owned()),
        ("a number", "7".to_owned()),
        ("null", "null".to_owned()),
        ("an empty object", "{}".to_owned()),
        ("cut off", good.trim_end_matches('}').to_owned()),
        ("something behind it", format!("{good} x")),
        ("two of them", format!("{good}{good}")),
        ("single quotes", good.replace('"', "'")),
        ("a comma at the end", good.replace('}', ",}")),
        (
            "a line feed in a string",
            good.replace("io.example", "io\nexample"),
        ),
        (
            "deep in an extension",
            good.replace('}', &format!(",\"ext\":{}}}", "[".repeat(100_000))),
        ),
    ];
    texts.into()
}

fn attributes() -> Vec<Invalid> {
    let mut invalid = Vec::new();
    let pairs = [
        ("id", r#""x""#),
        ("specversion", r#""1.0""#),
        ("type", r#""t""#),
        ("source", r#""/x""#),
    ];
    let object = |change: &str, value: Option<&str>| {
        let members: Vec<String> = pairs
            .iter()
            .filter_map(|(name, good)| {
                let value = if *name == change { value? } else { good };
                Some(format!("\"{name}\":{value}"))
            })
            .collect();
        format!("{{{}}}", members.join(","))
    };
    for (name, _) in pairs {
        invalid.push(("a required attribute is missing", object(name, None)));
        for value in [
            "null",
            "\"\"",
            "7",
            "true",
            "{}",
            "[]",
            "[\"1.0\"]",
            "\"a\\u0000b\"",
            "\"\\ud800\"",
        ] {
            invalid.push(("a required attribute is no text", object(name, Some(value))));
        }
    }
    for version in [
        "0.1", "0.3", "0.9", "1", "1.0.2", " 1.0", "1.1", "2.0", "v1.0",
    ] {
        invalid.push((
            "another specversion",
            object("specversion", Some(&format!("\"{version}\""))),
        ));
    }
    invalid.push((
        "specversion as a number",
        object("specversion", Some("1.0")),
    ));
    for id in [
        "\\u001f",
        "\\u007f",
        "\\u009f",
        "\\uffff",
        "\\ufdd0",
        "\\ud83f\\udfff",
    ] {
        invalid.push((
            "a character that no string has",
            object("id", Some(&format!("\"a{id}\""))),
        ));
        invalid.push((
            "a character that no string has",
            object("type", Some(&format!("\"{id}\""))),
        ));
    }
    for source in [
        "a b",
        "https://example.com/ä",
        "http://[::1",
        "%zz",
        "a%2",
        "{x}",
        "a\\\\b",
        "1a:b",
        ":a",
        "http://a:b:c/",
        "a^b",
        "<a>",
    ] {
        invalid.push((
            "source is no URI-reference",
            object("source", Some(&format!("\"{source}\""))),
        ));
    }
    let more = |members: String| format!("{{\"id\":\"x\",{REST},{members}}}");
    for time in [
        "",
        "lunchtime",
        "2018-04-05",
        "17:31:00Z",
        "2018-04-05T17:31Z",
        "2018-04-05T17:31:00",
        "2018-04-05 17:31:00Z",
        "2018-04-05T17:31:00X",
        "2018-04-05T17:31:00+25:00",
        "2018-04-05T17:31:00+xx:00",
        "2018-04-05T17:31:00+05",
        "2018-04-05T17:31:00+0100",
        "2018-04-05T17:31:00+01:60",
        "2018-13-05T17:31:00Z",
        "2018-02-30T17:31:00Z",
        "2019-02-29T17:31:00Z",
        "2018-04-05T24:00:00Z",
        "2018-04-05T17:60:00Z",
        "2018-04-05T17:31:61Z",
        "2018-04-05T17:31:00.Z",
        "2018-04-05T17:31:00,5Z",
        "18-04-05T17:31:00Z",
        "12018-04-05T17:31:00Z",
        "2018-04-05T17:31:00Z ",
        " 2018-04-05T17:31:00Z",
        "2018-4-5T17:31:00Z",
        "20180405T173100Z",
        "1522949460",
        "/Date(1522949460000)/",
    ] {
        invalid.push(("time is no RFC 3339", more(format!("\"time\":\"{time}\""))));
    }
    for schema in [
        "",
        "relative",
        "/schema",
        "#a",
        "//host/x",
        "http://a b",
        "1:x",
    ] {
        invalid.push((
            "dataschema is no absolute URI",
            more(format!("\"dataschema\":\"{schema}\"")),
        ));
    }
    for media in [
        "",
        "xyz",
        "text/",
        "/plain",
        "te xt/plain",
        "text/pl@in",
        "text plain",
        "*/*",
        "text/*",
        "a/b/c",
    ] {
        invalid.push((
            "datacontenttype is no media type",
            more(format!("\"datacontenttype\":\"{media}\"")),
        ));
    }
    for subject in ["\"\"", "\"a\\u0007\"", "\"\\ufffe\""] {
        invalid.push((
            "subject is empty or has a control character",
            more(format!("\"subject\":{subject}")),
        ));
    }
    for name in ["time", "dataschema", "datacontenttype", "subject"] {
        for value in ["7", "true", "{}", "[]"] {
            invalid.push((
                "an optional attribute is no text",
                more(format!("\"{name}\":{value}")),
            ));
        }
    }
    invalid
}

fn extensions_and_data() -> Vec<Invalid> {
    let more = |members: String| format!("{{\"id\":\"x\",{REST},{members}}}");
    let mut invalid = Vec::new();
    for name in [
        "MyExtension",
        "EXT",
        "my.extension",
        "my-extension",
        "my_extension",
        "",
        "ext ",
        " ext",
        "ext/a",
        "ünı",
        "a:b",
        "a\\u0000",
        "Data",
        "ID",
    ] {
        invalid.push((
            "a name of other characters",
            more(format!("\"{name}\":\"bad\"")),
        ));
    }
    for value in [
        "1.5",
        "1.0",
        "1e3",
        "-0.1",
        "2147483648",
        "-2147483649",
        "12345678901",
        "1e400",
        "{}",
        "{\"a\":1}",
        "[]",
        "[1]",
        "[null]",
    ] {
        invalid.push((
            "a value of no type that there is",
            more(format!("\"ext\":{value}")),
        ));
    }
    for value in ["a\\u0001", "\\u0085", "\\uffff"] {
        invalid.push((
            "an extension with a control character",
            more(format!("\"ext\":\"{value}\"")),
        ));
    }
    for members in [
        r#""data":"text","data_base64":"dGV4dA==""#,
        r#""data_base64":"dGV4dA==","data":{}"#,
    ] {
        invalid.push(("data twice", more(members.to_owned())));
    }
    for base64 in [
        "\"!!!!\"",
        "\"TWE\"",
        "\"TWE=\\n\"",
        "\"TW E=\"",
        "\"_-8=\"",
        "\"TWE==\"",
        "\"T\"",
        "7",
        "{}",
        "[77]",
        "true",
    ] {
        invalid.push((
            "data_base64 is no base64",
            more(format!("\"data_base64\":{base64}")),
        ));
    }
    for twice in [
        r#""id":"y""#,
        r#""specversion":"1.0""#,
        r#""type":"io.example.test""#,
        r#""source":"/y""#,
    ] {
        invalid.push(("a member twice", more(twice.to_owned())));
    }
    for twice in [
        r#""ext":"a","ext":"a""#,
        r#""data":1,"data":2"#,
        r#""subject":"a","\u0073ubject":"b""#,
    ] {
        invalid.push(("a member twice", more(twice.to_owned())));
    }
    invalid
}
