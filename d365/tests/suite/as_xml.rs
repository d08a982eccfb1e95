//! Takes an execution context in JSON, gives the text XML that .NET writes of the same object.
//!
//! Prefixes are of a kind of their own, so that nothing reads them instead of namespaces.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const NAMESPACES: &str = "xmlns:s=\"http://schemas.microsoft.com/xrm/2011/Contracts\" \
    xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" \
    xmlns:g=\"http://schemas.datacontract.org/2004/07/System.Collections.Generic\" \
    xmlns:r=\"http://schemas.microsoft.com/2003/10/Serialization/Arrays\" \
    xmlns:d3p1=\"http://www.w3.org/2001/XMLSchema\" \
    xmlns:z=\"http://schemas.microsoft.com/2003/10/Serialization/\"";

/// The body.
pub(crate) fn as_xml(context: &Json) -> String {
    let members = context.as_object().expect("an object");
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:RemoteExecutionContext {NAMESPACES}>{}\
         </s:RemoteExecutionContext>",
        object(members)
    )
}

fn object(members: &Map<String, Json>) -> String {
    let members = members.iter().filter(|(name, _)| *name != "__type");
    members.map(|(name, value)| member(name, value)).collect()
}

/// A member, whose type the class gives.
fn member(name: &str, value: &Json) -> String {
    let inside = match value {
        Json::Null => return format!("<s:{name} i:nil=\"true\"/>"),
        Json::String(text) => date(text).unwrap_or_else(|| escaped(text)),
        Json::Object(members) => object(members),
        Json::Array(items) => items.iter().map(|item| in_list(name, item)).collect(),
        other => other.to_string(),
    };
    format!("<s:{name}>{inside}</s:{name}>")
}

/// An item of a list whose type the class gives.
fn in_list(name: &str, item: &Json) -> String {
    let (Some(key), Some(value)) = (item.get("key"), item.get("value")) else {
        return match item {
            Json::Object(members) => format!("<s:Entity>{}</s:Entity>", object(members)),
            other => format!("<r:string>{}</r:string>", text_of(other)),
        };
    };
    let (of, value) = match (name, value) {
        ("FormattedValues", Json::String(text)) => (
            "stringstring",
            format!("<g:value>{}</g:value>", escaped(text)),
        ),
        ("PreEntityImages" | "PostEntityImages", Json::Object(image)) => (
            "stringEntity",
            format!("<g:value>{}</g:value>", object(image)),
        ),
        (_, value) => ("stringanyType", boxed("g:value", value)),
    };
    let key = text_of(key);
    format!("<s:KeyValuePairOf{of}><g:key>{key}</g:key>{value}</s:KeyValuePairOf{of}>")
}

/// A value that has to say its type.
fn boxed(tag: &str, value: &Json) -> String {
    let (said, inside) = match value {
        Json::Null => return format!("<{tag} i:nil=\"true\" />"),
        Json::Bool(flag) => ("d3p1:boolean", flag.to_string()),
        Json::Number(number) if number.as_str().contains(['.', 'e', 'E']) => {
            ("d3p1:decimal", number.to_string())
        }
        Json::Number(number) => ("d3p1:int", number.to_string()),
        Json::String(text) => match date(text) {
            Some(date) => ("d3p1:dateTime", date),
            None if text.len() == 36 && text.matches('-').count() == 4 => ("z:guid", escaped(text)),
            None => ("d3p1:string", escaped(text)),
        },
        Json::Object(members) => {
            let name = members["__type"].as_str().expect("a type");
            let (name, namespace) = name.split_once(':').expect("a namespace");
            assert_eq!(namespace, "http://schemas.microsoft.com/xrm/2011/Contracts");
            let inside = object(members);
            return format!("<{tag} i:type=\"s:{name}\">{inside}</{tag}>");
        }
        Json::Array(items) => boxed_list(items),
    };
    format!("<{tag} i:type=\"{said}\">{inside}</{tag}>")
}

fn boxed_list(items: &[Json]) -> (&'static str, String) {
    let said = items.first().and_then(|item| item.get("__type"));
    let said = said.and_then(Json::as_str).unwrap_or_default();
    let (list, item) = match said.split(':').next().unwrap_or_default() {
        "OptionSetValue" => ("s:OptionSetValueCollection", "s:OptionSetValue"),
        "Entity" => ("s:ArrayOfEntity", "s:Entity"),
        "EntityReference" => ("s:EntityReferenceCollection", "s:EntityReference"),
        "KeyValuePairOfstringstring" => (
            "r:ArrayOfKeyValueOfstringstring",
            "r:KeyValueOfstringstring",
        ),
        _ => ("r:ArrayOfstring", "r:string"),
    };
    let inside = items.iter().fold(String::new(), |mut inside, value| {
        let value = match (value.get("key"), value.get("value"), value) {
            (Some(key), Some(value), _) => {
                let (key, value) = (text_of(key), text_of(value));
                format!("<r:Key>{key}</r:Key><r:Value>{value}</r:Value>")
            }
            (_, _, Json::Object(members)) => object(members),
            (_, _, other) => text_of(other),
        };
        write!(inside, "<{item}>{value}</{item}>").expect("memory");
        inside
    });
    (list, inside)
}

fn text_of(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), escaped)
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('\r', "&#xD;")
}

/// `/Date(ms)/` in UTC, `/Date(ms+hhmm)/` in local time; without an offset where that is zero.
fn date(text: &str) -> Option<String> {
    let inside = text.strip_prefix("/Date(")?.strip_suffix(")/")?;
    let (ms, offset) = match inside.rfind(['+', '-']) {
        Some(at) if at > 0 => inside.split_at(at),
        _ => (inside, ""),
    };
    let shift: i128 = match offset {
        "" => 0,
        offset => offset[..3].parse::<i128>().ok()? * 60 + offset[3..].parse::<i128>().ok()?,
    };
    let nanos = (ms.parse::<i128>().ok()? + shift * 60_000) * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    let clock = at.format(&Rfc3339).ok()?;
    let clock = clock.trim_end_matches('Z');
    Some(match offset {
        "" => format!("{clock}Z"),
        "+0000" => clock.to_owned(),
        offset => format!("{clock}{}:{}", &offset[..3], &offset[3..]),
    })
}
