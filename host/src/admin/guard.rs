//! Takes a request to the admin port, lets it through if its sender may, and with headers that bind a browser.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::access::{Access, Certificate, bearer};

/// Nothing is loaded from elsewhere, nothing runs that is not this host's own, nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What every answer tells a browser.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Refuses what another site makes a browser send, and binds what is answered.
pub(crate) async fn hardened(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match refusal(&access, request.method(), request.headers()) {
        Some(reason) => (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Why a request cannot be its sender's own wish.
fn refusal(access: &Access, method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    // Where nobody has to say who they are, a name that another site made point here would do.
    if access.is_open() && !is_this_machine(host) {
        return Some(
            "without admin.token the console is reached as 127.0.0.1 or localhost only; set a \
             token or [[admin.user]] to reach it by another name",
        );
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || bearer(headers).is_some()
    {
        return None;
    }
    // Browsers say where a request comes from; what says nothing is no browser's.
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let origin = text(header::ORIGIN).map(|origin| {
        let (_, host) = origin.split_once("://").unwrap_or(("", origin));
        host
    });
    let is_own = match (site, origin) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin == host,
        (None, None) => true,
    };
    (!is_own).then_some("a page of another site may not do this; use the console's own")
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Lets through whom the config names, and says to what follows who it is.
pub(crate) async fn authorised(
    State(access): State<Arc<Access>>,
    mut request: Request,
    next: Next,
) -> Response {
    let certificate = request.extensions().get::<Certificate>();
    if let Some(person) = access.person(request.headers(), certificate) {
        request.extensions_mut().insert(person);
        return next.run(request).await;
    }
    let accepts = request.headers().get(header::ACCEPT);
    let is_browser = accepts.is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    if is_browser && request.method() == Method::GET {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair(
                "to",
                request
                    .uri()
                    .path_and_query()
                    .map_or("/", |uri| uri.as_str()),
            )
            .finish();
        return Redirect::to(&format!("/login?{query}")).into_response();
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    let text = "the request needs `authorization: Bearer <admin.token>`\n";
    (StatusCode::UNAUTHORIZED, challenge, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn refused(method: &Method, headers: &[(&str, &str)], has_token: bool) -> bool {
        let text = if has_token {
            "[admin]\ntoken = \"${T}\""
        } else {
            ""
        };
        let lookup = |_: &str| Some("t".to_owned());
        let config = Config::parse(text, "sluice.toml", std::path::Path::new(""), &lookup);
        let access = Access::new(&config.expect("a config").admin);
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    name.parse().expect("a name"),
                    value.parse().expect("a value"),
                )
            })
            .collect();
        refusal(&access, method, &headers).is_some()
    }

    #[test]
    fn another_site_gets_nothing_done() {
        let host = ("host", "127.0.0.1:9365");
        for (headers, expected) in [
            (vec![host], false),
            (vec![host, ("sec-fetch-site", "same-origin")], false),
            (vec![host, ("sec-fetch-site", "cross-site")], true),
            (vec![host, ("sec-fetch-site", "same-site")], true),
            (vec![host, ("origin", "http://127.0.0.1:9365")], false),
            (vec![host, ("origin", "http://evil.example")], true),
            (vec![host, ("origin", "http://127.0.0.1:80")], true),
            (vec![host, ("origin", "null")], true),
            (
                vec![
                    host,
                    ("origin", "http://evil.example"),
                    ("authorization", "Bearer t"),
                ],
                false,
            ),
        ] {
            for has_token in [false, true] {
                assert_eq!(
                    refused(&Method::POST, &headers, has_token),
                    expected,
                    "{headers:?}"
                );
                assert!(!refused(&Method::GET, &headers, has_token), "{headers:?}");
            }
        }
    }

    #[test]
    fn without_a_token_no_other_name_leads_here() {
        for (host, expected) in [
            ("127.0.0.1:9365", false),
            ("127.0.0.1", false),
            ("localhost:9365", false),
            ("[::1]:9365", false),
            ("evil.example:9365", true),
            ("127.0.0.1.evil.example", true),
            ("10.0.0.1:9365", true),
            ("", true),
        ] {
            assert_eq!(
                refused(&Method::GET, &[("host", host)], false),
                expected,
                "{host}"
            );
            assert!(!refused(&Method::GET, &[("host", host)], true), "{host}");
        }
    }
}
