//! Takes numbers, gives the statuses that a gateway answers, on one keep-alive connection.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::body::Template;

/// Answers are small; a larger one is no answer of a gateway.
const ANSWER: usize = 8 * 1024;
const HEADERS: usize = 32;

/// One HTTP/1.1 connection with its request written out beforehand: an exchange allocates
/// nothing and copies nothing but the ids.
pub(crate) struct Connection<'a> {
    stream: TcpStream,
    template: &'a Template,
    request: Vec<u8>,
    head: usize,
    answer: Box<[u8; ANSWER]>,
}

impl<'a> Connection<'a> {
    /// Connects to `address`; every request will be a POST of a body to `path`.
    pub(crate) async fn open(
        address: SocketAddr,
        path: &str,
        template: &'a Template,
    ) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("nothing listens on {address}"))?;
        stream.set_nodelay(true)?;
        // The headers that Dataverse sends, with their usual lengths.
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nx-ms-dynamics-organization: contoso.crm.dynamics.com\r\n\
             x-ms-dynamics-entity-name: account\r\nx-ms-dynamics-request-name: Update\r\n\
             x-ms-correlation-request-id: 03dd4310-6176-57b1-bf2e-d643037bbb1f\r\n\r\n",
            template.bytes().len()
        )
        .into_bytes();
        let head = request.len();
        request.extend_from_slice(template.bytes());
        Ok(Self {
            stream,
            template,
            request,
            head,
            answer: Box::new([0; ANSWER]),
        })
    }

    /// Posts body `number` and gives the status once the whole answer is read.
    pub(crate) async fn post(&mut self, number: u64) -> Result<u16> {
        let body = self.request.get_mut(self.head..).unwrap_or_default();
        self.template.vary(body, number);
        self.stream.write_all(&self.request).await?;
        let mut filled = 0;
        loop {
            let free = self.answer.get_mut(filled..).unwrap_or_default();
            ensure!(!free.is_empty(), "an answer of more than {ANSWER} bytes");
            let read = self.stream.read(free).await?;
            ensure!(read > 0, "the gateway closed the connection");
            filled += read;
            let so_far = self.answer.get(..filled).unwrap_or_default();
            if let Some((status, whole)) = parse(so_far)? {
                if filled < whole {
                    continue;
                }
                ensure!(filled == whole, "more bytes than the answer has");
                return Ok(status);
            }
        }
    }
}

/// Status and length of the whole answer, once its head is there.
fn parse(bytes: &[u8]) -> Result<Option<(u16, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else {
        return Ok(None);
    };
    let status = response.code.context("an answer without a status")?;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length: usize = std::str::from_utf8(header.value)?.trim().parse()?;
            return Ok(Some((status, head + length)));
        }
    }
    bail!("an answer with status {status} and no content-length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_measured_and_statuses_read() -> Result<()> {
        let text = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        ensure!(parse(text)? == Some((202, text.len())));
        ensure!(parse(text.get(..30).unwrap_or_default())?.is_none());
        ensure!(parse(b"HTTP/1.1 202 Accepted\r\n\r\n").is_err());
        ensure!(parse(b"SSH-2.0-OpenSSH\r\n").is_err());
        Ok(())
    }
}
