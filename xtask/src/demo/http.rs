//! One request on loopback: all of HTTP that the demo needs.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// Status and body of an answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Asks `127.0.0.1:port` for `path`; every status is an answer.
///
/// # Errors
/// When nothing listens there, or what answers does not speak HTTP.
pub(super) fn get(port: u16, path: &str) -> Result<Answer> {
    ask(port, "GET", path, "", b"")
}

/// Posts JSON as a webhook does.
///
/// # Errors
/// As [`get`].
pub(super) fn post_json(port: u16, path: &str, body: &[u8]) -> Result<Answer> {
    let headers = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    ask(port, "POST", path, &headers, body)
}

fn ask(port: u16, method: &str, path: &str, headers: &str, body: &[u8]) -> Result<Answer> {
    let limit = Duration::from_secs(2);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    // Version 1.0, so that the answer's body ends where the connection does.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n"
    )?;
    stream.write_all(body)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    parse(&text).with_context(|| format!("{address}{path} does not answer in HTTP"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/")?.split(' ').nth(1)?;
    Some(Answer {
        status: status.parse().ok()?,
        body: body.to_owned(),
    })
}

/// A port that nothing listens on at the moment.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nno broker\n").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "no broker\n"));
        assert!(parse("SSH-2.0-x\r\n\r\n").is_none());
        assert!(parse("").is_none());
    }
}
