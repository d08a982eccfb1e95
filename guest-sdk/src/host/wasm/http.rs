//! Takes a request of the SDK, gives what `wasi:http` brings back.

use crate::bindings::http::wasi::http::outgoing_handler::handle;
use crate::bindings::http::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use crate::bindings::http::wasi::io::streams::StreamError;
use crate::http::{Address, Error, Request, Response};

/// What one write may take.
const WRITE: usize = 4096;
/// What one read is asked for.
const READ: u64 = 64 << 10;

pub(crate) fn send(request: &Request, address: &Address<'_>) -> Result<Response, Error> {
    let failed = |code: ErrorCode| error(address, &code);
    let broken = |reason: &dyn std::fmt::Debug| no_answer(address, format!("{reason:?}"));
    let outgoing = outgoing(request, address)?;
    let body = outgoing.body().map_err(|()| broken(&"no body"))?;
    let options = RequestOptions::new();
    let timeout = request.timeout.map(|timeout| timeout.as_nanos());
    let timeout = timeout.map(|timeout| u64::try_from(timeout).unwrap_or(u64::MAX));
    // A host that knows no such option has bounds of its own.
    let _ = options.set_connect_timeout(timeout);
    let _ = options.set_first_byte_timeout(timeout);
    let _ = options.set_between_bytes_timeout(timeout);
    let coming = handle(outgoing, Some(options)).map_err(failed)?;
    if !request.body.is_empty() {
        let stream = body.write().map_err(|()| broken(&"no stream"))?;
        for part in request.body.chunks(WRITE) {
            stream
                .blocking_write_and_flush(part)
                .map_err(|error| broken(&error))?;
        }
    }
    OutgoingBody::finish(body, None).map_err(failed)?;
    coming.subscribe().block();
    let answer = match coming.get() {
        Some(Ok(answer)) => answer.map_err(failed)?,
        Some(Err(())) | None => return Err(broken(&"the answer is gone")),
    };
    let body = answer.consume().map_err(|()| broken(&"no body"))?;
    Ok(Response {
        status: answer.status(),
        headers: answer.headers().entries(),
        body: read(&body).map_err(|error| broken(&error))?,
    })
}

fn outgoing(request: &Request, address: &Address<'_>) -> Result<OutgoingRequest, Error> {
    let wrong = |what: &'static str, value: &str| Error::Request {
        what,
        value: value.to_owned(),
    };
    let headers = Fields::new();
    for (name, value) in &request.headers {
        let appended = headers.append(name, value.as_bytes());
        appended.map_err(|_| wrong("a header", name))?;
    }
    let length = request.body.len().to_string();
    if !request.body.is_empty() {
        // Some hosts set it themselves, and refuse that.
        let _ = headers.set("content-length", &[length.into_bytes()]);
    }
    let outgoing = OutgoingRequest::new(headers);
    let method = method(&request.method);
    let set = outgoing.set_method(&method);
    set.map_err(|()| wrong("a method", &request.method))?;
    let scheme = match address.scheme {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        other => Scheme::Other(other.to_owned()),
    };
    let set = outgoing.set_scheme(Some(&scheme));
    set.map_err(|()| wrong("a scheme", address.scheme))?;
    let set = outgoing.set_authority(Some(address.authority));
    set.map_err(|()| wrong("a host", address.authority))?;
    let set = outgoing.set_path_with_query(Some(address.path));
    set.map_err(|()| wrong("a path", address.path))?;
    Ok(outgoing)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn read(body: &IncomingBody) -> Result<Vec<u8>, StreamError> {
    let Ok(stream) = body.stream() else {
        return Ok(Vec::new());
    };
    let mut read = Vec::new();
    loop {
        match stream.blocking_read(READ) {
            Ok(part) => read.extend_from_slice(&part),
            Err(StreamError::Closed) => return Ok(read),
            Err(error) => return Err(error),
        }
    }
}

fn error(address: &Address<'_>, code: &ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => Error::NotGranted {
            origin: origin(address),
            reason: format!("{code:?}"),
        },
        other => no_answer(address, format!("{other:?}")),
    }
}

fn no_answer(address: &Address<'_>, reason: String) -> Error {
    Error::NoAnswer {
        origin: origin(address),
        reason,
    }
}

fn origin(address: &Address<'_>) -> String {
    format!("{}://{}", address.scheme, address.authority)
}
