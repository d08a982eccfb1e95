//! Takes nothing, gives events in the CloudEvents JSON format: right ones and wrong ones.
//!
//! Written from the specification (`spec.md` 1.0.2, "Context Attributes" and "Type System";
//! `json-format.md` 1.0.2), each with the rule that it keeps or breaks.

mod invalid;

pub use invalid::{Invalid, invalid};

/// The attributes that have to be there, `id` left out.
const REST: &str =
    r#""specversion":"1.0","type":"io.example.test","source":"https://example.com/x""#;

/// A valid event, its name, and what its data is.
#[derive(Debug, Clone)]
pub struct Valid {
    /// The rule.
    pub name: &'static str,
    /// The event.
    pub json: String,
    /// Its data.
    pub data: Vec<u8>,
}

/// A valid event with these members behind the required ones.
fn with(name: &'static str, members: &str) -> Valid {
    Valid {
        name,
        json: format!("{{\"id\":\"{name}\",{REST},{members}}}"),
        data: Vec::new(),
    }
}

fn carrying(name: &'static str, members: &str, data: impl Into<Vec<u8>>) -> Valid {
    Valid {
        data: data.into(),
        ..with(name, members)
    }
}

/// Events that keep every rule.
pub fn valid() -> Vec<Valid> {
    let mut valid = vec![
        Valid {
            name: "names with escapes",
            json: "{\"\\u0069d\":\"names with escapes\",\"sp\\u0065cversion\":\"1.0\",\"type\":\"t\",\"source\":\"s\"}"
                .to_owned(),
            data: Vec::new(),
        },
        Valid {
            name: "specversion at the end, blanks everywhere",
            json: "\r\n { \"source\" : \"a\",\t\"type\":\"t\" , \"id\":\"specversion at the end, blanks everywhere\",\n \"specversion\":\"1.0\" } \n"
                .to_owned(),
            data: Vec::new(),
        },
        with("a null extension is none", r#""myext":null"#),
        with("a null data_base64 is none", r#""data_base64":null"#),
        with("all of Unicode", r#""subject":"Euro € 😀 \ud83d\ude00 \"quoted\" 100% \\ /","ext":" a b ""#),
        with("a name of digits", r#""1ext2":"x","9":"y""#),
        with("a long name", r#""averyveryverylongextensionattributename":"x""#),
        with("names of other specifications", r#""datacontentencoding":"x","schemaurl":"y""#),
        with("the smallest and the largest integer", r#""a":-2147483648,"b":2147483647,"c":0"#),
        with("booleans", r#""a":true,"b":false"#),
        with("a schema", r#""dataschema":"urn:example:schema:1","datacontenttype":"application/json""#),
        carrying("a number", r#""data":1.50e+2"#, "1.50e+2"),
        carrying("more digits than a double has", r#""data":{"a":0.10,"b":9007199254740993}"#, r#"{"a":0.10,"b":9007199254740993}"#),
        carrying("a string that looks like JSON", r#""data":"{\"a\":1}""#, r#""{\"a\":1}""#),
        carrying("JSON by its suffix", r#""datacontenttype":"application/vnd.x+json; v=1","data":{ }"#, "{ }"),
        carrying("an explicit null", r#""datacontenttype":"application/json","data":null"#, "null"),
        carrying("names twice inside of data", r#""data":{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
        carrying("text", r#""datacontenttype":"text/plain; charset=\"utf-8\"","data":"a\tb\u00e4""#, "a\tbä"),
        carrying("bytes", r#""datacontenttype":"image/png","data_base64":"AP+ADQo=""#, [0, 255, 128, 13, 10]),
        carrying("bytes of no type", r#""data_base64":"eyAieHl6IjogMTIzIH0=""#, r#"{ "xyz": 123 }"#),
        carrying("JSON in bytes", r#""datacontenttype":"application/json","data_base64":"eyAieHl6IjogMTIzIH0=""#, r#"{ "xyz": 123 }"#),
        Valid {
            name: "data of depth 100",
            json: format!("{{\"id\":\"data of depth 100\",{REST},\"data\":{}1{}}}", "[".repeat(100), "]".repeat(100)),
            data: format!("{}1{}", "[".repeat(100), "]".repeat(100)).into_bytes(),
        },
    ];
    for time in [
        "2018-04-05t17:31:00z",
        "2018-04-05T17:31:00.123456789Z",
        "2018-04-05T17:31:00-00:00",
        "2020-02-29T23:59:59.9+23:59",
        "2016-12-31T23:59:60Z",
        "0001-01-01T00:00:00Z",
    ] {
        valid.push(with(time, &format!("\"time\":\"{time}\"")));
    }
    for source in [
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "mailto:cncf-wg-serverless@lists.cncf.io",
        "/cloudevents/spec/pull/123?a=b#c",
        "1-555-123-4567",
        "#fragment",
        "?query",
        "//host/path",
        "a",
        "../a",
        "https://example.com/%E4%BD%A0",
        "http://[2001:db8::7]:80/",
        ".",
        "a:b",
    ] {
        valid.push(Valid {
            name: source,
            json: format!("{{\"id\":\"{source}\",\"specversion\":\"1.0\",\"type\":\"t\",\"source\":\"{source}\"}}"),
            data: Vec::new(),
        });
    }
    valid
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, Result};
    use serde_json::Value;
    use std::collections::HashSet;

    #[test]
    fn valid_ones_are_json_with_ids_of_their_own() -> Result<()> {
        let mut ids = HashSet::new();
        for case in valid() {
            let event: Value = serde_json::from_str(&case.json).context(case.name)?;
            let id = event.get("id").and_then(Value::as_str);
            assert_eq!(id, Some(case.name));
            assert!(ids.insert(case.name), "{} is there twice", case.name);
        }
        Ok(())
    }

    #[test]
    fn invalid_ones_are_all_different() {
        let cases = invalid();
        let texts: HashSet<&str> = cases.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts.len(), cases.len());
    }
}
