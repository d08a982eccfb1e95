//! Takes the bytes of HTTP requests, gives the answers; over a connection that a test may misuse.
//!
//! Written out by hand (RFC 9112): a client library would not send what is wrong on purpose.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::answer::Answer;

/// How long an answer may take where the test says nothing else.
const PATIENCE: Duration = Duration::from_secs(15);

/// A request that is put together as the test wants it.
#[derive(Debug, Clone)]
pub struct Request {
    line: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    ByHand,
}

impl Request {
    /// `method` and target, with a `host` header.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            line: format!("{method} {target} HTTP/1.1\r\n"),
            headers: vec![("host".to_owned(), b"gateway.test".to_vec())],
            body: Vec::new(),
            framing: Framing::Length,
        }
    }

    /// With one more header, whatever its bytes.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With its body in chunks of 8 KiB instead of a `content-length`.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Without `content-length` of its own: the test's headers say where the body ends.
    #[must_use]
    pub fn by_hand(mut self) -> Self {
        self.framing = Framing::ByHand;
        self
    }

    /// Everything up to the body.
    pub fn head(&self) -> Vec<u8> {
        let mut bytes = self.line.clone().into_bytes();
        let mut put = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        for (name, value) in &self.headers {
            put(name, value);
        }
        match self.framing {
            Framing::Length => put("content-length", self.body.len().to_string().as_bytes()),
            Framing::Chunked => put("transfer-encoding", b"chunked"),
            Framing::ByHand => {}
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The whole request.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        if self.framing != Framing::Chunked {
            bytes.extend_from_slice(&self.body);
            return bytes;
        }
        for chunk in self.body.chunks(8 * 1024) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

/// A connection; its two halves are used as the test likes.
pub struct Connection {
    read: Box<dyn AsyncRead + Send + Unpin>,
    write: Box<dyn AsyncWrite + Send + Unpin>,
    seen: Vec<u8>,
}

impl Connection {
    /// To a port of this machine.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        Ok(Self::over(Box::new(read), Box::new(write)))
    }

    /// Over halves that are there already.
    pub fn over(
        read: Box<dyn AsyncRead + Send + Unpin>,
        write: Box<dyn AsyncWrite + Send + Unpin>,
    ) -> Self {
        Self {
            read,
            write,
            seen: Vec::new(),
        }
    }

    /// Sends bytes, whatever they are.
    ///
    /// # Errors
    /// When the other side has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.write.write_all(bytes).await?;
        self.write.flush().await?;
        Ok(())
    }

    /// A request and its answer, which may come before all of the request is sent.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer> {
        let bytes = request.bytes();
        let Self { read, write, seen } = self;
        let send = async {
            write.write_all(&bytes).await?;
            write.flush().await?;
            // The answer ends the waiting, not the request's end.
            std::future::pending::<Result<Answer>>().await
        };
        let receive = receive(read, seen);
        tokio::pin!(receive);
        let answer = tokio::select! {
            sent = send => match sent {
                Ok(answer) => Ok(answer),
                // It has closed its side; what it said before is to be read still.
                Err(error) => timeout(PATIENCE, receive).await?.context(error),
            },
            received = timeout(PATIENCE, &mut receive) => {
                received.with_context(|| format!("no answer in {PATIENCE:?}"))?
            }
        };
        answer
    }

    /// The next answer.
    ///
    /// # Errors
    /// When there is none in 15 s, or the connection ends before.
    pub async fn answer(&mut self) -> Result<Answer> {
        self.answer_within(PATIENCE).await
    }

    /// The next answer.
    ///
    /// # Errors
    /// When there is none within `limit`, or the connection ends before.
    pub async fn answer_within(&mut self, limit: Duration) -> Result<Answer> {
        timeout(limit, receive(&mut self.read, &mut self.seen))
            .await
            .with_context(|| format!("no answer in {limit:?}"))?
    }

    /// Waits for `100 Continue`, which a request with `expect: 100-continue` is told when its
    /// body is wanted.
    ///
    /// # Errors
    /// When something else is said, or nothing in 15 s.
    pub async fn continues(&mut self) -> Result<()> {
        let head = timeout(PATIENCE, upto(&mut self.read, &mut self.seen, b"\r\n\r\n")).await?;
        let answer = Answer::parse(&head?)?;
        ensure!(answer.status == 100, "{answer:?}");
        Ok(())
    }

    /// Waits for the end of the connection, and gives what came before it.
    ///
    /// # Errors
    /// When it still stands after `limit`.
    pub async fn end(&mut self, limit: Duration) -> Result<Vec<u8>> {
        let Self { read, seen, .. } = self;
        timeout(limit, async {
            // A reset is an end as well.
            while more(read, seen).await.is_ok_and(|read| 0 < read) {}
        })
        .await
        .with_context(|| format!("the connection still stands after {limit:?}"))?;
        Ok(std::mem::take(seen))
    }
}

async fn more(read: &mut (dyn AsyncRead + Send + Unpin), seen: &mut Vec<u8>) -> Result<usize> {
    seen.reserve(16 * 1024);
    Ok(read.read_buf(seen).await?)
}

async fn receive(read: &mut (dyn AsyncRead + Send + Unpin), seen: &mut Vec<u8>) -> Result<Answer> {
    loop {
        let head = upto(read, seen, b"\r\n\r\n").await?;
        let mut answer = Answer::parse(&head)?;
        if answer.status / 100 == 1 {
            continue;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = chunks(read, seen).await?;
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().context("content-length of the answer")?;
            answer.body = exactly(read, seen, length).await?;
        } else if answer.status != 204 && answer.status != 304 {
            while 0 < more(read, seen).await? {}
            answer.body = std::mem::take(seen);
        }
        return Ok(answer);
    }
}

/// Everything before `mark`, which is taken away as well.
async fn upto(
    read: &mut (dyn AsyncRead + Send + Unpin),
    seen: &mut Vec<u8>,
    mark: &[u8],
) -> Result<Vec<u8>> {
    loop {
        if let Some(at) = seen.windows(mark.len()).position(|bytes| bytes == mark) {
            let mut found: Vec<u8> = seen.drain(..at + mark.len()).collect();
            found.truncate(at);
            return Ok(found);
        }
        if more(read, seen).await? == 0 {
            bail!(
                "the connection ended in an answer, behind {:?}",
                String::from_utf8_lossy(seen)
            );
        }
    }
}

async fn exactly(
    read: &mut (dyn AsyncRead + Send + Unpin),
    seen: &mut Vec<u8>,
    length: usize,
) -> Result<Vec<u8>> {
    while seen.len() < length {
        ensure!(
            0 < more(read, seen).await?,
            "the connection ended in a body, {} bytes behind its start",
            seen.len()
        );
    }
    Ok(seen.drain(..length).collect())
}

async fn chunks(read: &mut (dyn AsyncRead + Send + Unpin), seen: &mut Vec<u8>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = upto(read, seen, b"\r\n").await?;
        let size = usize::from_str_radix(std::str::from_utf8(&size)?.trim(), 16)?;
        body.extend(exactly(read, seen, size).await?);
        upto(read, seen, b"\r\n").await?;
        if size == 0 {
            return Ok(body);
        }
    }
}
