//! Takes what a guest waits for, gives what is ready; at the call's deadline, the end of the call.

use std::future::Future;

use tokio::time::{Instant, timeout_at};
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::io::poll as waiting;
use wasmtime_wasi::p2::bindings::sync::io::poll;
use wasmtime_wasi::runtime::in_tokio;

use crate::plugin::store::{Abort, StoreData};

/// The waits of one instance.
pub(super) struct Waits<'a> {
    pub(super) table: &'a mut ResourceTable,
    pub(super) deadline: Instant,
}

/// Names [`Waits`] for the linker.
pub(super) struct HasWaits;

impl HasData for HasWaits {
    type Data<'a> = Waits<'a>;
}

pub(super) fn waits(data: &mut StoreData) -> Waits<'_> {
    let deadline = data.deadline;
    let table = data.ctx().table;
    Waits { table, deadline }
}

impl poll::Host for Waits<'_> {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        until(self.deadline, waiting::Host::poll(self.table, pollables))
    }
}

impl poll::HostPollable for Waits<'_> {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        poll::HostPollable::ready(self.table, pollable)
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        until(
            self.deadline,
            waiting::HostPollable::block(self.table, pollable),
        )
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(self.table, pollable)
    }
}

/// The epoch cannot interrupt a guest that is inside the host, so the host looks at the clock.
fn until<T>(
    deadline: Instant,
    wait: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    in_tokio(async { timeout_at(deadline, wait).await })
        .unwrap_or_else(|_| Err(Abort::Deadline.into()))
}
