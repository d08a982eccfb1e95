//! Takes a manifest, gives what the tools of other languages need: the WIT world of a plug-in
//! that imports what is granted and no more, and the language's SDK.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::super::embedded::{self, SDK, WIT};
use crate::contract::{HTTP, VERSION};
use crate::manifest::Manifest;

/// What the world is called, for the tools.
pub(super) const NAME: &str = "plugin";

/// Writes the world and what it is made of into the plug-in's folder for things that are made,
/// and gives where.
pub(super) fn write(dir: &Path, manifest: &Manifest) -> anyhow::Result<PathBuf> {
    let wit = made(dir).join("wit");
    let dependencies = wit.join("deps");
    embedded::unpack(&WIT, &["deps"], &dependencies.join("sluicegate-plugin"))?;
    if let Some(others) = WIT.get_dir("deps") {
        embedded::unpack(others, &[], &dependencies)?;
    }
    embedded::write(&wit.join("world.wit"), text(manifest).as_bytes())?;
    Ok(wit)
}

/// Writes the SDK of a language into the plug-in's folder, unless one is there.
pub(super) fn sdk(dir: &Path, language: &str) -> anyhow::Result<()> {
    let own = dir.join("sluicegate");
    if own.is_dir() {
        return Ok(());
    }
    let sdk = SDK.get_dir(format!("{language}/sluicegate"));
    embedded::unpack(sdk.context("no such SDK")?, &[], &own)
}

/// Where `sluice build` puts what it makes on the way.
pub(super) fn made(dir: &Path) -> PathBuf {
    dir.join(".sluice")
}

fn text(manifest: &Manifest) -> String {
    let granted = &manifest.capabilities;
    let imports = [
        ("log", true),
        ("config", true),
        ("state", granted.state),
        ("outbox", !granted.emit.is_empty()),
    ];
    let mut text = format!("package sluicegate:build;\n\nworld {NAME} {{\n");
    for (interface, _) in imports.iter().filter(|(_, is_granted)| *is_granted) {
        let _ = writeln!(text, "    import sluicegate:plugin/{interface}@{VERSION};");
    }
    if !granted.http.is_empty() {
        let _ = writeln!(text, "    import {HTTP};");
    }
    let exported = if manifest.saga.is_some() {
        "steps"
    } else {
        "consumer"
    };
    let _ = writeln!(text, "    export sluicegate:plugin/{exported}@{VERSION};");
    if manifest.migrate_from.is_some() {
        let _ = writeln!(text, "    export sluicegate:plugin/migration@{VERSION};");
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(capabilities: &str) -> String {
        let manifest = format!(
            "[plugin]\nname = \"x\"\nversion = \"1\"\n[subscribe]\n\
             subjects = [\"d365.dataverse.*.record.account.*\"]\n{capabilities}"
        );
        text(&crate::manifest::parse(&manifest, "plugin.toml").unwrap())
    }

    #[test]
    fn only_what_is_granted_is_imported() {
        let bare = world("");
        assert!(
            bare.contains("import sluicegate:plugin/log@0.1.0;"),
            "{bare}"
        );
        for absent in ["state", "outbox", "wasi:http", "migration"] {
            assert!(!bare.contains(absent), "{bare}");
        }
        let all = world(
            "[capabilities]\nstate = true\nemit = [\"d365.custom.>\"]\nhttp = [\"https://a.example\"]\n",
        );
        let saga = world("[saga]\n[[saga.start]]\ntype = \"won\"\nkey = \"subject\"\n");
        assert!(saga.contains("export sluicegate:plugin/steps@"), "{saga}");
        assert!(!saga.contains("consumer"), "{saga}");
        for present in ["plugin/state@", "plugin/outbox@", HTTP] {
            assert!(all.contains(present), "{all}");
        }
    }
}
