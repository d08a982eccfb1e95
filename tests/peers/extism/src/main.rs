//! `extism-peer MODULE URL STREAM FILTER COUNT`: a consumer with the handler in a plug-in of
//! Extism, as its documentation advises: it is compiled and instantiated once and called for each
//! message. It needs no WASI and gets none, and it has no limits: neither time nor memory nor
//! fuel is counted.

use anyhow::{Context, Result, bail};
use consumer::{Acks, LIMIT};
use extism::{Manifest, Plugin, PluginBuilder, Wasm};

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((module, rest)) = words.split_first() else {
        bail!("usage: extism-peer MODULE URL STREAM FILTER COUNT");
    };
    let mut plugin = plugin(module)?;
    consumer::run(rest, Acks::Each, |message| {
        let over: &str = plugin.call("decide", &message.payload[..])?;
        Ok(!over.is_empty())
    })
    .await
}

fn plugin(module: &str) -> Result<Plugin> {
    let bytes = std::fs::read(module).with_context(|| format!("could not read {module}"))?;
    let manifest = Manifest::new([Wasm::data(bytes)]).with_config_key("limit", LIMIT);
    // A cache of what it compiled would stand outside of the project.
    let plugin = PluginBuilder::new(manifest).with_cache_disabled().build();
    plugin.with_context(|| format!("{module} is no plug-in"))
}
