//! Takes what an operator writes about a source, gives its lines in `sluice.toml` and the requests
//! that it would send.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, timeout};

use crate::answer::Answer;
use crate::wait::until;
use crate::wire::{Connection, Request};

/// One `[[gateway.source]]`.
#[derive(Debug, Clone)]
pub struct Source {
    kind: &'static str,
    environment: String,
    place: Place,
    key: String,
    lines: String,
}

/// Where the key stands in a request, and how the host gets to know it.
#[derive(Debug, Clone)]
enum Place {
    Query(String),
    Header(String),
    /// Like `Query("code")`, the key in this file.
    File(String),
    Nowhere,
}

impl Source {
    /// Of a kind `dataverse`, `fno`, `eventgrid` or `cloudevents`, with its key in `?code=`.
    pub fn new(kind: &'static str, environment: &str) -> Self {
        Self {
            kind,
            environment: environment.to_owned(),
            place: Place::Query("code".to_owned()),
            key: format!("the-key-of-{kind}-{environment}"),
            lines: String::new(),
        }
    }

    /// With its key in another parameter of the query.
    #[must_use]
    pub fn in_query(mut self, name: &str) -> Self {
        self.place = Place::Query(name.to_owned());
        self
    }

    /// With its key in a header.
    #[must_use]
    pub fn in_header(mut self, name: &str) -> Self {
        self.place = Place::Header(name.to_owned());
        self
    }

    /// With its key in this file beside `sluice.toml`; [`Source::key`] says what has to be in it.
    #[must_use]
    pub fn in_file(mut self, name: &str) -> Self {
        self.place = Place::File(name.to_owned());
        self
    }

    /// Open to everyone.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.place = Place::Nowhere;
        self
    }

    /// With another key than the harness's.
    #[must_use]
    pub fn keyed(mut self, key: &str) -> Self {
        key.clone_into(&mut self.key);
        self
    }

    /// With more lines: `max_in_flight = 2`.
    #[must_use]
    pub fn with(mut self, lines: &str) -> Self {
        self.lines.push_str(lines);
        self.lines.push('\n');
        self
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// `/dataverse/contoso`, without the key.
    pub fn path(&self) -> String {
        format!("/{}/{}", self.kind, self.environment)
    }

    /// A request to its path with its key, without body and media type.
    pub fn request(&self, method: &str) -> Request {
        let path = self.path();
        match &self.place {
            Place::Query(name) => {
                Request::new(method, &format!("{path}?{name}={}", percent(&self.key)))
            }
            Place::File(_) => Request::new(method, &format!("{path}?code={}", percent(&self.key))),
            Place::Header(name) => Request::new(method, &path).header(name, &self.key),
            Place::Nowhere => Request::new(method, &path),
        }
    }

    /// A POST of `body`, of this media type, with its key.
    pub fn post(&self, media_type: &str, body: impl Into<Vec<u8>>) -> Request {
        self.request("POST")
            .header("content-type", media_type)
            .body(body)
    }

    /// [`Source::post`] of `application/json`.
    pub fn json(&self, body: impl Into<Vec<u8>>) -> Request {
        self.post("application/json", body)
    }

    /// The variable that hands its key to the host.
    pub(crate) fn variable(number: usize) -> String {
        format!("SLUICE_TEST_KEY_{number}")
    }

    /// Its lines in `sluice.toml`.
    pub(crate) fn config(&self, number: usize) -> String {
        let key = format!("key = \"${{{}}}\"", Self::variable(number));
        let auth = match &self.place {
            Place::Query(name) => format!("{{ query = {name:?}, {key} }}"),
            Place::Header(name) => format!("{{ header = {name:?}, {key} }}"),
            Place::File(name) => format!("{{ query = \"code\", key_file = {name:?} }}"),
            Place::Nowhere => "\"none-i-am-sure\"".to_owned(),
        };
        format!(
            "[[gateway.source]]\nenvironment = {:?}\nkind = {:?}\nauth = {auth}\n{}",
            self.environment, self.kind, self.lines
        )
    }
}

/// As a sender writes a key into a query: all but the unreserved characters of RFC 3986.
fn percent(key: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    key.bytes().map(encode).collect()
}

/// Where a gateway listens.
#[derive(Debug, Clone, Copy)]
pub struct Gateway {
    port: u16,
}

impl Gateway {
    /// On this port of this machine.
    pub fn at(port: u16) -> Self {
        Self { port }
    }

    /// Its port.
    pub fn port(self) -> u16 {
        self.port
    }

    /// A new connection.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn connect(self) -> Result<Connection> {
        Connection::open(self.port).await
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(self, request: &Request) -> Result<Answer> {
        self.connect().await?.ask(request).await
    }

    /// [`Gateway::ask`], and how long it took.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn timed(self, request: &Request) -> Result<(Answer, Duration)> {
        let start = Instant::now();
        let answer = self.ask(request).await?;
        Ok((answer, start.elapsed()))
    }

    /// Waits until something listens.
    ///
    /// # Errors
    /// When nothing does after 20 s.
    pub async fn wait_listening(self) -> Result<()> {
        until("the gateway to listen", 20, async || {
            self.connect().await.map(|_| ())
        })
        .await
    }

    /// Asks again, every 25 ms, until the answer has this status.
    ///
    /// # Errors
    /// When it has not after `seconds`.
    pub async fn ask_until(self, request: &Request, status: u16, seconds: u64) -> Result<Answer> {
        until(&format!("an answer {status}"), seconds, async || {
            let answer = timeout(Duration::from_secs(5), self.ask(request)).await;
            answer.context("no answer in 5 s")??.of(status)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_writes_its_lines_and_its_requests() {
        let source = Source::new("dataverse", "contoso")
            .keyed("a+b/c=")
            .with("max_in_flight = 2");
        assert_eq!(
            source.config(3),
            "[[gateway.source]]\nenvironment = \"contoso\"\nkind = \"dataverse\"\n\
             auth = { query = \"code\", key = \"${SLUICE_TEST_KEY_3}\" }\nmax_in_flight = 2\n"
        );
        let request = source.json("{}").bytes();
        let request = String::from_utf8_lossy(&request);
        assert!(
            request.starts_with("POST /dataverse/contoso?code=a%2Bb%2Fc%3D HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.ends_with("content-length: 2\r\n\r\n{}"),
            "{request}"
        );
    }
}
