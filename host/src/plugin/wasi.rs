//! Takes a component's WASI imports, gives the virtual WASI: clocks, random, output as log lines, and nothing else.
//!
//! Python, JavaScript and Rust for wasm32-wasip2 bring a standard library that imports WASI
//! 0.2 whether a plug-in uses it or not. What is linked for them is wasmtime's own
//! implementation, given nothing: no folder, so no file can be named; no sockets; an empty
//! environment, no arguments, an input that has ended. Here stands what it is given.

mod clock;
mod output;
mod poll;
mod random;
mod streams;

use std::sync::Arc;

use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::p2::bindings;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::lines::{Lines, Output};
use super::store::StoreData;
use output::LogStream;

/// Handles (streams, things to wait for) that an instance may hold at a time.
pub(super) const MAX_HANDLES: usize = 1_000;

/// What is there, each as `wasi:<name>@0.2.<any>`.
const INTERFACES: [&str; 27] = [
    "cli/environment",
    "cli/exit",
    "cli/stderr",
    "cli/stdin",
    "cli/stdout",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stderr",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "clocks/monotonic-clock",
    "clocks/wall-clock",
    "filesystem/preopens",
    "filesystem/types",
    "io/error",
    "io/poll",
    "io/streams",
    "random/insecure",
    "random/insecure-seed",
    "random/random",
    "sockets/instance-network",
    "sockets/ip-name-lookup",
    "sockets/network",
    "sockets/tcp",
    "sockets/tcp-create-socket",
    "sockets/udp",
    "sockets/udp-create-socket",
];

/// What is there for a plug-in that is granted `http`.
const HTTP: [&str; 2] = ["http/outgoing-handler", "http/types"];

/// Whether any component may import this.
pub fn has(import: &str) -> bool {
    is_one_of(&INTERFACES, import)
}

/// Whether this is for a plug-in with the capability `http`.
pub fn is_http(import: &str) -> bool {
    is_one_of(&HTTP, import)
}

fn is_one_of(interfaces: &[&str], import: &str) -> bool {
    let parts = import
        .strip_prefix("wasi:")
        .and_then(|it| it.split_once('@'));
    parts.is_some_and(|(name, version)| version.starts_with("0.2.") && interfaces.contains(&name))
}

/// What to do about an import that no plug-in may have.
pub fn remedy(import: &str) -> &'static str {
    let of = |package: &str| import.starts_with(package);
    if is_http(import) {
        "the manifest needs `http = [\"https://<host>\"]` in [capabilities]; or leave it out of the \
         build (componentize-js: disableFeatures \"http\" and \"fetch-event\")"
    } else if of("wasi:http/") {
        "of wasi:http a plug-in may import version 0.2 of outgoing-handler and types"
    } else if of("wasi:") {
        "of WASI a plug-in may import version 0.2 of cli, clocks, filesystem, io, random and \
         sockets only, and gets no files and no sockets there"
    } else {
        "a plug-in may import the interfaces of sluicegate:plugin and of WASI 0.2 only"
    }
}

/// The WASI of one instance.
pub struct Wasi {
    ctx: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
}

impl Wasi {
    fn new(lines: &Arc<Lines>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        // Each denial is the builder's default too, but for the sockets. Named all the same:
        // a default may change, and this is the wall.
        let ctx = WasiCtx::builder()
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .stdin(tokio::io::empty())
            .stdout(LogStream::new(lines, Output::Stdout))
            .stderr(LogStream::new(lines, Output::Stderr))
            .wall_clock(clock::Wall)
            .monotonic_clock(clock::Monotonic::start())
            .build();
        let http = WasiHttpCtx::new();
        Self { ctx, http, table }
    }
}

impl std::fmt::Debug for Wasi {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Wasi").finish_non_exhaustive()
    }
}

impl WasiView for StoreData {
    /// Made when it is first asked for: a guest without WASI does not pay for it.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let lines = &self.lines;
        let Wasi { ctx, table, .. } = self.wasi.get_or_insert_with(|| Wasi::new(lines));
        WasiCtxView { ctx, table }
    }
}

impl WasiHttpView for StoreData {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let lines = &self.lines;
        let Wasi { http, table, .. } = self.wasi.get_or_insert_with(|| Wasi::new(lines));
        WasiHttpCtxView {
            hooks: &mut self.requests,
            table,
            ctx: http,
        }
    }
}

/// Adds every interface of [`has`].
pub fn link(linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    // Ours in place of these: waiting ends with the call, and random comes in small pieces.
    linker.allow_shadowing(true);
    bindings::sync::io::poll::add_to_linker::<_, poll::HasWaits>(linker, poll::waits)?;
    bindings::sync::io::streams::add_to_linker::<_, poll::HasWaits>(linker, poll::waits)?;
    bindings::random::random::add_to_linker::<_, random::HasRandom>(linker, |_| random::Random)?;
    bindings::random::insecure::add_to_linker::<_, random::HasRandom>(linker, |_| random::Random)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Adds every interface of [`is_http`].
pub fn link_http(linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_sync(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_virtual_may_be_imported() {
        assert!(has("wasi:io/poll@0.2.9"));
        assert!(has("wasi:cli/environment@0.2.0"));
        assert!(is_http("wasi:http/outgoing-handler@0.2.10"));
        assert!(!is_http("wasi:http/incoming-handler@0.2.10"));
        for import in [
            "wasi:http/outgoing-handler@0.2.10",
            "wasi:io/poll@0.3.0",
            "wasi:io/poll@0.20.1",
            "wasi:io/poll",
            "wasi:keyvalue/store@0.2.0",
            "sluicegate:plugin/state@0.1.0",
        ] {
            assert!(!has(import), "{import}");
        }
    }
}
