//! Takes a guest's reads and writes of streams, gives them done; at the call's deadline, the end of the call.

use std::future::Future;

use tokio::time::{Instant, timeout_at};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::io::streams as waiting;
use wasmtime_wasi::p2::bindings::sync::io::streams::{self, InputStream, OutputStream};
use wasmtime_wasi::p2::{DynPollable, StreamError, StreamResult};
use wasmtime_wasi::runtime::in_tokio;

use super::poll::Waits;
use crate::plugin::store::Abort;

/// A server that neither reads nor writes keeps nobody beyond the call.
fn until<T>(deadline: Instant, wait: impl Future<Output = StreamResult<T>>) -> StreamResult<T> {
    in_tokio(async { timeout_at(deadline, wait).await })
        .unwrap_or_else(|_| Err(StreamError::Trap(Abort::Deadline.into())))
}

impl streams::Host for Waits<'_> {
    fn convert_stream_error(
        &mut self,
        error: StreamError,
    ) -> wasmtime::Result<streams::StreamError> {
        streams::Host::convert_stream_error(self.table, error)
    }
}

impl streams::HostInputStream for Waits<'_> {
    fn read(&mut self, stream: Resource<InputStream>, len: u64) -> StreamResult<Vec<u8>> {
        streams::HostInputStream::read(self.table, stream, len)
    }

    fn blocking_read(&mut self, stream: Resource<InputStream>, len: u64) -> StreamResult<Vec<u8>> {
        let wait = waiting::HostInputStream::blocking_read(self.table, stream, len);
        until(self.deadline, wait)
    }

    fn skip(&mut self, stream: Resource<InputStream>, len: u64) -> StreamResult<u64> {
        streams::HostInputStream::skip(self.table, stream, len)
    }

    fn blocking_skip(&mut self, stream: Resource<InputStream>, len: u64) -> StreamResult<u64> {
        let wait = waiting::HostInputStream::blocking_skip(self.table, stream, len);
        until(self.deadline, wait)
    }

    fn subscribe(
        &mut self,
        stream: Resource<InputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        streams::HostInputStream::subscribe(self.table, stream)
    }

    fn drop(&mut self, stream: Resource<InputStream>) -> wasmtime::Result<()> {
        streams::HostInputStream::drop(self.table, stream)
    }
}

impl streams::HostOutputStream for Waits<'_> {
    fn check_write(&mut self, stream: Resource<OutputStream>) -> StreamResult<u64> {
        streams::HostOutputStream::check_write(self.table, stream)
    }

    fn write(&mut self, stream: Resource<OutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        streams::HostOutputStream::write(self.table, stream, bytes)
    }

    fn blocking_write_and_flush(
        &mut self,
        stream: Resource<OutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        let wait = waiting::HostOutputStream::blocking_write_and_flush(self.table, stream, bytes);
        until(self.deadline, wait)
    }

    fn subscribe(
        &mut self,
        stream: Resource<OutputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        streams::HostOutputStream::subscribe(self.table, stream)
    }

    fn write_zeroes(&mut self, stream: Resource<OutputStream>, len: u64) -> StreamResult<()> {
        streams::HostOutputStream::write_zeroes(self.table, stream, len)
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<OutputStream>,
        len: u64,
    ) -> StreamResult<()> {
        let wait =
            waiting::HostOutputStream::blocking_write_zeroes_and_flush(self.table, stream, len);
        until(self.deadline, wait)
    }

    fn flush(&mut self, stream: Resource<OutputStream>) -> StreamResult<()> {
        streams::HostOutputStream::flush(self.table, stream)
    }

    fn blocking_flush(&mut self, stream: Resource<OutputStream>) -> StreamResult<()> {
        let wait = waiting::HostOutputStream::blocking_flush(self.table, stream);
        until(self.deadline, wait)
    }

    fn splice(
        &mut self,
        to: Resource<OutputStream>,
        from: Resource<InputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        streams::HostOutputStream::splice(self.table, to, from, len)
    }

    fn blocking_splice(
        &mut self,
        to: Resource<OutputStream>,
        from: Resource<InputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        let wait = waiting::HostOutputStream::blocking_splice(self.table, to, from, len);
        until(self.deadline, wait)
    }

    fn drop(&mut self, stream: Resource<OutputStream>) -> wasmtime::Result<()> {
        streams::HostOutputStream::drop(self.table, stream)
    }
}
