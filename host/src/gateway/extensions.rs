//! Takes the headers of a webhook, gives the event's extensions that carry them on.
//!
//! `x-ms-dynamics-entity-name` becomes `d365entityname`: an extension's name has letters and
//! digits only. W3C trace context keeps its names.

use axum::http::HeaderMap;

const PREFIXES: [&str; 2] = ["x-ms-dynamics-", "x-ms-correlation-"];
/// Says that Dataverse left parts of a body over 256 KB out.
const SIZE_EXCEEDED: &str = "x-ms-dynamics-msg-size-exceeded";
/// Headers of these prefixes that are carried on.
const MOST: usize = 16;
/// Bytes of a value; what is longer is left out.
const LONGEST: usize = 512;
const LONGEST_NAME: usize = 64;

/// Whether Dataverse says that it left parts of the body out.
pub(super) fn is_size_exceeded(headers: &HeaderMap) -> bool {
    headers
        .get(SIZE_EXCEEDED)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"false"))
}

/// Adds the extensions that carry a request's headers on. One that the body itself has given
/// stays as it is.
pub(super) fn carry(headers: &HeaderMap, extensions: &mut Vec<(String, String)>) {
    let most = extensions.len() + MOST;
    for (name, value) in headers {
        let Some(extension) = extension(name.as_str()) else {
            continue;
        };
        let Some(value) = text(value.as_bytes()) else {
            continue;
        };
        let is_new = extensions.iter().all(|(known, _)| *known != extension);
        if is_new && extensions.len() < most {
            extensions.push((extension, value.to_owned()));
        }
    }
}

/// Sets one, in place of what is there.
pub(super) fn set(extensions: &mut Vec<(String, String)>, name: &str, value: &str) {
    match extensions.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => value.clone_into(known),
        None => extensions.push((name.to_owned(), value.to_owned())),
    }
}

fn extension(header: &str) -> Option<String> {
    if header == "traceparent" || header == "tracestate" {
        return Some(header.to_owned());
    }
    if header == SIZE_EXCEEDED || LONGEST_NAME < header.len() {
        return None;
    }
    let rest = match PREFIXES {
        [dynamics, _] if header.starts_with(dynamics) => header.strip_prefix(dynamics)?,
        [_, correlation] if header.starts_with(correlation) => header.strip_prefix("x-ms-")?,
        _ => return None,
    };
    let letters: String = rest.chars().filter(char::is_ascii_alphanumeric).collect();
    (!letters.is_empty()).then(|| format!("d365{}", letters.to_ascii_lowercase()))
}

/// Text that an attribute may hold: not blank, no control characters.
pub(super) fn text(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let is_plain = !text.is_empty() && text.len() <= LONGEST && !text.contains(char::is_control);
    is_plain.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_a_webhook_become_extensions() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ms-dynamics-organization", "contoso.crm.dynamics.com"),
            ("x-ms-dynamics-entity-name", "account"),
            ("x-ms-dynamics-request-name", "Update"),
            ("x-ms-correlation-request-id", "7f0b2c4e"),
            ("x-ms-dynamics-msg-size-exceeded", "true"),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
            ("x-request-id", "not carried"),
            ("x-ms-dynamics-empty", " "),
        ] {
            headers.append(name, value.parse().expect("a value"));
        }
        assert!(is_size_exceeded(&headers));
        let mut found = Vec::new();
        carry(&headers, &mut found);
        found.sort_unstable();
        let expected = [
            ("d365correlationrequestid", "7f0b2c4e"),
            ("d365entityname", "account"),
            ("d365organization", "contoso.crm.dynamics.com"),
            ("d365requestname", "Update"),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_the_body_says_is_not_said_otherwise() {
        let mut headers = HeaderMap::new();
        for value in ["7", "8"] {
            headers.append("x-ms-dynamics-depth", value.parse().expect("a value"));
            headers.append("x-ms-dynamics-new", value.parse().expect("a value"));
        }
        let mut found = vec![("d365depth".to_owned(), "1".to_owned())];
        carry(&headers, &mut found);
        let expected = [("d365depth", "1"), ("d365new", "7")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, expected);
    }
}
