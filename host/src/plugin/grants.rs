//! Takes an import and a manifest, gives whether the one is granted by the other, and what would grant it.

use super::generation::Error;
use super::wasi;
use crate::contract;
use crate::manifest::Manifest;

/// Whether a plug-in with this manifest may import this.
pub fn check_grant(import: &str, manifest: &Manifest) -> Result<(), Error> {
    let refused = |remedy: &str| {
        Err(Error::NotGranted {
            import: import.to_owned(),
            remedy: remedy.to_owned(),
        })
    };
    if let Some(version) = contract::other_version(import) {
        return refused(&contract::remedy(version));
    }
    if manifest.projection.is_some() {
        return match interface(import) {
            Some("types" | "log" | "config" | "rows") => Ok(()),
            Some(_) | None => refused(
                "a projection may import log, config and rows and nothing else: what it makes of \
                 the same events has to be the same each time",
            ),
        };
    }
    if wasi::has(import) || (wasi::is_http(import) && !manifest.capabilities.http.is_empty()) {
        return Ok(());
    }
    let Some(interface) = interface(import) else {
        return refused(wasi::remedy(import));
    };
    match interface {
        "types" | "log" | "config" => Ok(()),
        "state" if manifest.capabilities.state => Ok(()),
        "state" => refused("the manifest needs `state = true` in [capabilities]"),
        "outbox" if !manifest.capabilities.emit.is_empty() => Ok(()),
        "outbox" => refused("the manifest needs `emit = [\"<subjects>\"]` in [capabilities]"),
        "rows" => refused("the manifest needs a table [projection] that names its `tables`"),
        _ => refused("this host has no such interface"),
    }
}

/// The interface of the contract that a name has, without its version.
fn interface(import: &str) -> Option<&str> {
    let rest = import.strip_prefix("sluicegate:plugin/")?;
    rest.split('@').next()
}
