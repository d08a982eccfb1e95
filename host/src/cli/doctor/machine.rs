//! Takes the config, finds what this machine lacks: folders, room on disk, memory, files, ports.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::finding::{About, Findings};
use crate::config::Config;

/// Compiled plug-ins, and the data of an embedded nats-server.
const ROOM: u64 = 1 << 30;
const MEMORY: u64 = 512 << 20;
/// Sockets of the admin port and of plug-ins' requests, files of the spool and of plug-ins.
const FILES: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn look(config: &Config, findings: &mut Findings) {
    let mut about = findings.about("machine");
    data_dir(config, &mut about);
    plugins_dir(config, &mut about);
    files(config, &mut about);
    memory(&mut about);
    ports(config, &mut findings.about("ports")).await;
}

fn data_dir(config: &Config, about: &mut About<'_>) {
    let path = &config.host.data_dir;
    // The host makes what is missing of it.
    let there = path.ancestors().find(|folder| folder.exists());
    let there = there.filter(|folder| !folder.as_os_str().is_empty());
    let there = there.unwrap_or(Path::new("."));
    if let Err(error) = tempfile::tempfile_in(there) {
        about.fail(
            format!(
                "host.data_dir: {} cannot be written: {error}",
                path.display()
            ),
            "give the folder to the user that sluice runs as, or name another one",
        );
        return;
    }
    let spool = match config.gateway.spool {
        true => config.gateway.spool_max_bytes,
        false => 0,
    };
    let wanted = ROOM.saturating_add(spool);
    match rustix::fs::statvfs(there) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let what = format!(
                "host.data_dir: {} has {} free",
                path.display(),
                ByteSize(free)
            );
            if free < wanted {
                let todo = format!(
                    "make room, or name another disk: {} are wanted, the spool's \
                     among them",
                    ByteSize(wanted)
                );
                about.warn(what, todo);
            } else {
                about.ok(what);
            }
        }
        Err(error) => about.warn(
            format!("host.data_dir: how much is free cannot be told: {error}"),
            "look with `df`",
        ),
    }
}

fn plugins_dir(config: &Config, about: &mut About<'_>) {
    let path = config.host.plugins_dir.display();
    match std::fs::read_dir(&config.host.plugins_dir) {
        Ok(entries) => {
            let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
            let is_plugin = |file: &std::path::PathBuf| {
                file.extension()
                    .is_some_and(|extension| extension == "wasm")
            };
            let count = files.filter(is_plugin).count();
            about.ok(format!("host.plugins_dir: {path} has {count} plug-ins"));
        }
        Err(error) => about.fail(
            format!("host.plugins_dir: {path} cannot be read: {error}"),
            "make the folder, readable for the user that sluice runs as",
        ),
    }
}

fn files(config: &Config, about: &mut About<'_>) {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let sources = config.gateway.sources.iter();
    let requests: usize = sources.map(|source| source.max_in_flight).sum();
    let wanted = FILES.saturating_add(u64::try_from(requests).unwrap_or(u64::MAX));
    let what = format!("{limit} open files are allowed here");
    if limit < wanted {
        let todo = format!(
            "{wanted} are wanted for as many requests as the sources may have at once: `ulimit \
             -n`, or LimitNOFILE= of the service"
        );
        about.warn(what, todo);
    } else {
        about.ok(what);
    }
}

fn memory(about: &mut About<'_>) {
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else {
        return;
    };
    let mut lines = text.lines();
    let kib = lines.find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = kib.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let Some(free) = kib.map(|kib| kib.saturating_mul(1024)) else {
        return;
    };
    let what = format!("{} of memory are available", ByteSize(free));
    if free < MEMORY {
        let todo = "give it more, or lower max_in_flight and `memory` of the plug-ins";
        about.warn(what, todo);
    } else {
        about.ok(what);
    }
}

async fn ports(config: &Config, about: &mut About<'_>) {
    let admin = config.admin.listen;
    // Where the admin port answers as ours does, the host runs, and the other port is its own.
    let is_up = match config.admin.tls {
        None => is_ours(admin).await,
        // What speaks there cannot be asked without its authority; that somebody does is a host.
        Some(_) => TcpStream::connect(admin).await.is_ok(),
    };
    port("admin.listen", admin, is_up, about).await;
    if !config.gateway.sources.is_empty() {
        port("gateway.listen", config.gateway.listen, is_up, about).await;
    }
}

async fn port(key: &str, address: SocketAddr, is_up: bool, about: &mut About<'_>) {
    if is_up {
        about.ok(format!(
            "{key}: {address} is that of the host that runs here"
        ));
        return;
    }
    match TcpListener::bind(address).await {
        Ok(_) => about.ok(format!("{key}: {address} is free")),
        Err(error) => {
            let todo = match error.kind() {
                ErrorKind::AddrInUse => {
                    "another program has it: end that, or name another port; `ss -ltnp` says which"
                }
                ErrorKind::AddrNotAvailable => {
                    "this machine has no such address: name one of its own, or 0.0.0.0"
                }
                ErrorKind::PermissionDenied => {
                    "ports below 1024 are root's: name another one, or give sluice \
                     CAP_NET_BIND_SERVICE"
                }
                _ => "name another address",
            };
            about.fail(format!("{key}: {address} cannot be had: {error}"), todo);
        }
    }
}

/// Whether `/healthz` answers there as a host's does.
async fn is_ours(address: SocketAddr) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = "GET /healthz HTTP/1.1\r\nhost: sluice\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        let mut bounded = stream.take(4_096);
        bounded.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        Some(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok\n"))
    };
    timeout(PATIENCE, asking).await.ok().flatten() == Some(true)
}
