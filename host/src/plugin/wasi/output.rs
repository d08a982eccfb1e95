//! Takes bytes that a guest writes to standard output or error, gives them to its log lines.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::plugin::lines::{Lines, Output};

/// Bytes of one write.
const MAX_WRITE: usize = 64 << 10;

/// One of the two streams; all handles to it write into the same lines.
#[derive(Clone)]
pub(super) struct LogStream {
    lines: Arc<Lines>,
    output: Output,
}

impl LogStream {
    pub(super) fn new(lines: &Arc<Lines>, output: Output) -> Self {
        let lines = Arc::clone(lines);
        Self { lines, output }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    /// Of WASI 0.3, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if MAX_WRITE < bytes.len() {
            return Err(StreamError::trap(
                "a write of more bytes than check-write allows",
            ));
        }
        self.lines.write(self.output, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE)
    }
}

#[async_trait]
impl Pollable for LogStream {
    /// Always: what is over the bound is counted and dropped.
    async fn ready(&mut self) {}
}
