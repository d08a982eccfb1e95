//! For wasm32-wasip2: sends the request that the event describes, and emits what came back.
//!
//! `{"n": 1, "do": "call", "url": …, "method": …, "body": …, "authorization": …, "times": …}`;
//! a redirect is followed with `"follow": true`; with `"retry": true` a 429 becomes `retry`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluicegate_guest::*;
use sluicegate_test_guests::emit;
use std::time::Duration;
use wasip2::http::outgoing_handler::handle as send;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, Scheme,
};
use wasip2::io::streams::StreamError;

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    n: Option<&'a RawValue>,
    url: String,
    method: Option<String>,
    body: Option<String>,
    authorization: Option<String>,
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    retry: bool,
    times: Option<usize>,
}

#[derive(Serialize)]
struct Report<'a> {
    input: &'a str,
    key: &'a str,
    n: Option<&'a RawValue>,
    status: Option<u16>,
    retry_after: Option<String>,
    body: Option<String>,
    error: Option<String>,
}

struct Answer {
    status: u16,
    retry_after: Option<String>,
    location: Option<String>,
    body: String,
}

#[consumer]
fn handle(event: Event, delivery: Delivery) -> Outcome {
    let told: Told<'_> = event.json()?;
    let mut answer = call(&told, &told.url);
    for _ in 1..told.times.unwrap_or(1) {
        answer = call(&told, &told.url);
    }
    if told.follow
        && let Ok(Answer {
            location: Some(location),
            ..
        }) = &answer
    {
        answer = call(&told, location);
    }
    let mut report = Report {
        input: event.id(),
        key: &delivery.partition_key,
        n: told.n,
        status: None,
        retry_after: None,
        body: None,
        error: None,
    };
    match answer {
        Ok(answer) if told.retry && answer.status == 429 => {
            let seconds = answer.retry_after.and_then(|text| text.parse().ok());
            let after = Duration::from_secs(seconds.unwrap_or(1));
            return Err(retry_after(after, "the server asks to wait"));
        }
        Ok(answer) => {
            report.status = Some(answer.status);
            report.retry_after = answer.retry_after;
            report.body = Some(answer.body);
        }
        Err(error) => report.error = Some(error),
    }
    emit(&delivery, &report)
}

fn call(told: &Told<'_>, url: &str) -> Result<Answer, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let path = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path);
    let headers = Fields::new();
    if let Some(authorization) = &told.authorization {
        let set = headers.set("authorization", &[authorization.clone().into_bytes()]);
        set.map_err(|error| format!("{error:?}"))?;
    }
    let request = OutgoingRequest::new(headers);
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let method = match told.method.as_deref() {
        None | Some("GET") => Method::Get,
        Some("POST") => Method::Post,
        Some(other) => Method::Other(other.to_owned()),
    };
    let set = request
        .set_method(&method)
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })));
    set.map_err(|()| "the request cannot be described".to_owned())?;
    let body = request
        .body()
        .map_err(|()| "no body to be had".to_owned())?;
    let answer = send(request, None).map_err(code)?;
    if let Some(text) = &told.body {
        let stream = body
            .write()
            .map_err(|()| "no stream to be had".to_owned())?;
        for part in text.as_bytes().chunks(4096) {
            stream.blocking_write_and_flush(part).map_err(broken)?;
        }
    }
    OutgoingBody::finish(body, None).map_err(code)?;
    answer.subscribe().block();
    let answer = answer.get().ok_or("not ready")?.map_err(|()| "taken")?;
    let answer = answer.map_err(code)?;
    let first = |name: &str| {
        let values = answer.headers().get(name);
        let text = values
            .first()
            .map(|value| String::from_utf8_lossy(value).into_owned());
        text.filter(|text| !text.is_empty())
    };
    let (retry_after, location) = (first("retry-after"), first("location"));
    let status = answer.status();
    let body = answer.consume().map_err(|()| "no body")?;
    let read = read(&body)?;
    Ok(Answer {
        status,
        retry_after,
        location,
        body: read,
    })
}

/// The body; of a long one the length alone.
fn read(body: &IncomingBody) -> Result<String, String> {
    let stream = body.stream().map_err(|()| "no stream")?;
    let (mut kept, mut length) = (Vec::new(), 0);
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(part) => {
                length += part.len();
                if kept.len() < 4096 {
                    kept.extend(part);
                }
            }
            Err(StreamError::Closed) => break,
            Err(error) => return Err(broken(error)),
        }
    }
    Ok(match String::from_utf8(kept) {
        Ok(text) if length <= 4096 => text,
        Ok(_) | Err(_) => format!("{length} bytes"),
    })
}

fn code(code: ErrorCode) -> String {
    format!("{code:?}")
}

fn broken(error: StreamError) -> String {
    match error {
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
        StreamError::Closed => "closed".to_owned(),
    }
}
