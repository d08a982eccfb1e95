//! Takes a body, gives who is over the config's `limit`, or nothing.
#![expect(
    missing_docs,
    reason = "the macro drops what documents a plug-in's function"
)]

use extism_pdk::{Error, FnResult, config, plugin_fn};

/// The shared work, called by the host for each message.
#[plugin_fn]
pub fn decide(body: Vec<u8>) -> FnResult<String> {
    let limit = config::get("limit")?.ok_or_else(|| Error::msg("the config has no limit"))?;
    let over = handler::decide(&body, limit.parse()?).map_err(Error::msg)?;
    Ok(over.unwrap_or_default())
}
