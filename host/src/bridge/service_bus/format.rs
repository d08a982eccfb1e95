//! Takes a body in one of Dataverse's message formats, gives it as JSON.

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use sluicegate_d365::xml::json_of_xml;

/// A body that Dataverse sent, as JSON: text XML becomes what it would have sent as such, and the
/// headers say so.
///
/// # Errors
/// Why it is none that is read: binary XML, or text XML of something else.
pub(super) fn json(headers: &mut HeaderMap, body: &Bytes) -> Result<Bytes, String> {
    let media_type = headers.get(header::CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().to_ascii_lowercase();
    let without_mark = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let first = without_mark.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_binary = match first {
        Some(b'<') => {
            let json = json_of_xml(body)
                .map_err(|error| format!("body: found XML (message format 3): {error}"))?;
            let media_type = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, media_type);
            return Ok(json.into());
        }
        Some(b'{' | b'[' | b'"') => false,
        // Records of the .NET binary XML format: an element with a short name, or with one of
        // its dictionary.
        Some(0x40..=0x5a) => true,
        _ => media_type.starts_with("application/msbin1"),
    };
    if is_binary {
        return Err(
            "body: found .NET binary XML (message format 1), expected JSON or text XML; set the \
             service endpoint's message format to JSON (messageformat 2) in the Plug-in \
             Registration Tool"
                .to_owned(),
        );
    }
    Ok(body.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_xml_becomes_json_and_binary_xml_is_told() {
        let json_of = |body: &'static [u8]| {
            let mut headers = HeaderMap::new();
            let xml = HeaderValue::from_static("application/xml");
            headers.insert(header::CONTENT_TYPE, xml);
            let json = json(&mut headers, &Bytes::from_static(body));
            (json, headers.get("content-type").cloned().expect("a type"))
        };
        for body in [&b" {}"[..], b"\xef\xbb\xbf[]", b""] {
            let (json, media_type) = json_of(body);
            assert_eq!(json.as_deref(), Ok(body));
            assert_eq!(media_type, "application/xml", "not ours to say");
        }
        let (json, media_type) = json_of(
            b"\xef\xbb\xbf<RemoteExecutionContext \
              xmlns=\"http://schemas.microsoft.com/xrm/2011/Contracts\"><Depth>1</Depth>\
              </RemoteExecutionContext>",
        );
        assert_eq!(json.as_deref(), Ok(&b"{\"Depth\":1}"[..]));
        assert_eq!(media_type, "application/json");
        for (body, format) in [
            (&b"<RemoteExecutionContext/>"[..], "message format 3"),
            (b"@\x16RemoteExecutionContext\x08", "message format 1"),
            (b"\x56\x02", "message format 1"),
        ] {
            let reason = json_of(body).0.expect_err("a reason");
            assert!(reason.contains(format), "{reason}");
        }
    }
}
