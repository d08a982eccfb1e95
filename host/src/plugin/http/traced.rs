//! Takes a guest's request on its way out, gives the span that it gets under its attempt.

use hyper::header::HeaderName;
use hyper::http::HeaderValue;
use hyper::{Request, Response};
use wasmtime_wasi_http::Error;

use crate::manifest::Origin;
use crate::telemetry::traces::{Span, SpanKind};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const FIRST_ERROR: u16 = 400;

/// The request's span; the request names it to whoever answers, unless the guest has named one
/// itself. The query is left out: a key may stand in it.
pub(super) fn begin<B>(attempt: &Span, request: &mut Request<B>, place: &Origin) -> Span {
    let span = attempt.child(request.method().to_string(), SpanKind::Client);
    let Some(traceparent) = span.traceparent() else {
        return span;
    };
    if let Ok(value) = HeaderValue::try_from(traceparent) {
        let headers = request.headers_mut();
        headers.entry(TRACEPARENT).or_insert(value);
    }
    if span.is_seen() {
        span.set("http.request.method", request.method().to_string());
        span.set("url.scheme", if place.tls { "https" } else { "http" });
        span.set("server.address", place.host.clone());
        span.set("server.port", i64::from(place.port));
        span.set("url.path", request.uri().path().to_owned());
    }
    span
}

/// The answer's head is there, or none will be.
pub(super) fn end<B>(span: &Span, answer: &Result<Response<B>, Error>) {
    if !span.is_seen() {
        return;
    }
    match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            span.set("http.response.status_code", i64::from(status));
            if FIRST_ERROR <= status {
                span.set("error.type", status.to_string());
                span.fail("");
            }
        }
        Err(error) => {
            let text = format!("{error:?}");
            span.set("error.type", text.clone());
            span.fail(text);
        }
    }
}
