//! RabbitMQ, whose AMQP 1.0 plug-in stands in for Azure Service Bus, and the Erlang that runs it:
//! Debian's packages, unpacked below `target/tools` and not installed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::debian::unpacked;
use crate::layout::Layout;
use crate::run;

/// The broker, and the parts of Erlang that it is started with. 33 MB to fetch, 58 MB on disk.
const PACKAGES: [&str; 18] = [
    "rabbitmq-server",
    "erlang-asn1",
    "erlang-base",
    "erlang-crypto",
    "erlang-eldap",
    "erlang-ftp",
    "erlang-inets",
    "erlang-mnesia",
    "erlang-os-mon",
    "erlang-parsetools",
    "erlang-public-key",
    "erlang-runtime-tools",
    "erlang-snmp",
    "erlang-ssl",
    "erlang-syntax-tools",
    "erlang-tftp",
    "erlang-tools",
    "erlang-xmerl",
];

/// The folder that they are unpacked in, and how it came there.
///
/// # Errors
/// When a package cannot be had, or Erlang does not start.
pub(super) fn ensure(layout: &Layout) -> Result<(PathBuf, String)> {
    let (folder, how) = unpacked(layout, "rabbitmq", &PACKAGES)?;
    let erlang = folder.join("usr/lib/erlang/bin/erl");
    // Its own script would look for the rest of it where Debian installs it.
    let mut starts = Command::new("sh");
    let root = folder.join("usr/lib/erlang");
    starts.arg("-c").arg(
        "root=$1; for bin in \"$root\"/erts-*/bin; do :; done; ROOTDIR=$root BINDIR=$bin \
         EMU=beam PROGNAME=erl HOME=/ exec \"$bin\"/erlexec -noinput -boot start_clean -eval 'halt(0).'",
    );
    run::output(starts.arg("sh").arg(root))
        .with_context(|| format!("{} does not start", erlang.display()))?;
    Ok((folder, how))
}
