//! Promise: a host that cannot run says why, with the name of what is in its way, and ends.

use anyhow::{Result, ensure};
use sluicegate_tests::host::refused;
use sluicegate_tests::sluice::sluice;
use sluicegate_tests::{Broker, Setup, environment, within};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Nothing listens there; a command that gets as far as connecting fails.
const NOWHERE: &str = "nats://127.0.0.1:9";

/// What a nats-server of Debian 12 says to a client; enough of its protocol to be talked to.
async fn old_server() -> Result<(String, JoinSet<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("nats://{}", listener.local_addr()?);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut clients = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            clients.spawn(async move {
                let _ = talk_as_2_9(socket).await;
            });
        }
    });
    Ok((url, tasks))
}

async fn talk_as_2_9(socket: TcpStream) -> Result<()> {
    let (from, mut to) = socket.into_split();
    let info = "INFO {\"server_id\":\"NOLD\",\"server_name\":\"old\",\"version\":\"2.9.10\",\"proto\":1,\
                \"go\":\"go1.19\",\"host\":\"127.0.0.1\",\"port\":4222,\"headers\":true,\
                \"max_payload\":1048576,\"jetstream\":true,\"client_id\":1}\r\n";
    to.write_all(info.as_bytes()).await?;
    let mut lines = BufReader::new(from).lines();
    while let Some(line) = lines.next_line().await? {
        if line.starts_with("PING") {
            to.write_all(b"PONG\r\n").await?;
        }
    }
    Ok(())
}

#[test]
fn a_broker_that_is_too_old_is_refused_with_both_versions() -> Result<()> {
    within(60, async {
        let (url, _server) = old_server().await?;
        let mut host = Setup::new(url).guest("ok")?.write()?;
        let (code, log) = refused(&mut host).await?;
        ensure!(code == Some(1), "exit status {code:?}:\n{log}");
        ensure!(
            log.contains("2.9.10") && log.contains("2.12"),
            "the versions are not named:\n{log}"
        );
        Ok(())
    })
}

#[test]
fn a_port_that_is_taken_is_named() -> Result<()> {
    within(60, async {
        let broker = Broker::start().await?;
        let mut host = Setup::new(broker.url()).guest("ok")?.write()?;
        let _taken = std::net::TcpListener::bind(("127.0.0.1", host.admin_port()))?;
        let (code, log) = refused(&mut host).await?;
        ensure!(code == Some(1), "exit status {code:?}:\n{log}");
        ensure!(
            log.contains(&host.admin_port().to_string()),
            "the port is not named:\n{log}"
        );
        Ok(())
    })
}

#[test]
fn a_data_folder_that_cannot_be_is_named() -> Result<()> {
    within(60, async {
        let broker = Broker::start().await?;
        let mut host = Setup::new(broker.url()).guest("ok")?.write()?;
        std::fs::write(host.data_dir(), "a file where the folder should be")?;
        let (code, log) = refused(&mut host).await?;
        ensure!(code == Some(1), "exit status {code:?}:\n{log}");
        let folder = host.data_dir();
        ensure!(
            log.contains(&*folder.to_string_lossy()),
            "the folder is not named:\n{log}"
        );
        Ok(())
    })
}

#[test]
fn a_plug_ins_folder_that_is_not_there_is_named() -> Result<()> {
    within(60, async {
        let broker = Broker::start().await?;
        let mut host = Setup::new(broker.url()).write()?;
        std::fs::remove_dir_all(host.plugins_dir())?;
        let (_, log) = refused(&mut host).await?;
        ensure!(
            log.contains(&*host.plugins_dir().to_string_lossy()),
            "it is not named:\n{log}"
        );
        Ok(())
    })
}

#[test]
fn a_command_without_a_broker_says_where_it_looked() -> Result<()> {
    within(60, async {
        let good = environment::own_fixture("fno-sales-order-invoiced.json");
        let good = good.to_string_lossy();
        sluice(&["send", &good, "--nats", NOWHERE])
            .await?
            .refused(1, &["127.0.0.1:9"])?;
        sluice(&["dlq", "list", "--nats", NOWHERE])
            .await?
            .refused(1, &["127.0.0.1:9"])?;
        Ok(())
    })
}
