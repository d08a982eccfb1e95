//! Promise: with a certificate the gateway speaks HTTPS and nothing else.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluicegate_tests::bodies::account_update;
use sluicegate_tests::host::refused;
use sluicegate_tests::tls::Identity;
use sluicegate_tests::{Broker, Setup, Source, Stage, within};

const TLS: &str = "tls = { cert = \"gw.pem\", key = \"gw-key.pem\" }";

#[test]
fn https_is_spoken_with_the_operators_certificate() -> Result<()> {
    within(60, async {
        let (ours, other) = (Identity::new()?, Identity::new()?);
        let source = Source::new("dataverse", "contoso");
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .beside("gw.pem", ours.cert.clone())
            .beside("gw-key.pem", ours.key.clone())
            .gateway(TLS)
            .source(&source);
        let stage = Stage::of(broker, setup).await?;
        let gateway = stage.host.gateway();
        let mut connection = ours.connect(gateway.port()).await?;
        for n in 0..3 {
            connection
                .ask(&source.json(account_update(1, n)?))
                .await?
                .one()?;
        }
        connection
            .ask(&source.clone().keyed("wrong").json("{}"))
            .await?
            .problem(401)?;
        ensure!(
            other.connect(gateway.port()).await.is_err(),
            "it shows a certificate that is not its own"
        );

        // In the clear: an answer that is none of its own, or the end of the connection; and
        // nothing is taken.
        let mut plain = gateway.connect().await?;
        let sent = plain
            .send(&source.json(account_update(2, 0)?).bytes())
            .await;
        let end = plain.end(Duration::from_secs(12)).await?;
        ensure!(
            sent.is_err() || !end.starts_with(b"HTTP/1.1 2"),
            "{:?}",
            String::from_utf8_lossy(&end)
        );
        ensure!(
            stage.events().await? == 3,
            "{} events",
            stage.events().await?
        );

        // Who connects and says nothing, or nonsense, holds up nobody.
        let mut silent = Vec::new();
        for _ in 0..50 {
            silent.push(gateway.connect().await?);
        }
        for connection in silent.iter_mut().step_by(2) {
            connection
                .send(&[0x16, 0x03, 0x01, 0xff, 0xff, 0x01])
                .await?;
        }
        let mut connection = ours.connect(gateway.port()).await?;
        connection
            .ask(&source.json(account_update(3, 0)?))
            .await?
            .one()?;
        Ok(())
    })
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() -> Result<()> {
    within(60, async {
        let (ours, other) = (Identity::new()?, Identity::new()?);
        let broker = Broker::start().await?;
        for (cert, key, named) in [
            (Some("no certificate"), Some(ours.key.as_str()), "gw.pem"),
            (Some(ours.cert.as_str()), Some("no key"), "gw-key.pem"),
            (None, Some(ours.key.as_str()), "gw.pem"),
            (Some(ours.cert.as_str()), None, "gw-key.pem"),
            (Some(ours.cert.as_str()), Some(other.key.as_str()), "gw"),
        ] {
            let mut setup = Setup::new(broker.url())
                .gateway(TLS)
                .source(&Source::new("dataverse", "contoso"));
            if let Some(cert) = cert {
                setup = setup.beside("gw.pem", cert);
            }
            if let Some(key) = key {
                setup = setup.beside("gw-key.pem", key);
            }
            let mut host = setup.write()?;
            let (code, log) = refused(&mut host).await?;
            ensure!(code == Some(1), "exit status {code:?}:\n{log}");
            ensure!(log.contains(named), "{named} is not named:\n{log}");
            ensure!(
                !log.contains("PRIVATE KEY"),
                "the key is in the log:\n{log}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_gateway_without_sources_does_not_listen_and_a_taken_port_is_named() -> Result<()> {
    within(60, async {
        let broker = Broker::start().await?;
        let host = Setup::new(broker.url()).start().await?;
        ensure!(
            host.gateway().connect().await.is_err(),
            "it listens without a source"
        );

        let setup = Setup::new(broker.url()).named("host-2");
        let mut host = setup.source(&Source::new("dataverse", "contoso")).write()?;
        let _taken = std::net::TcpListener::bind(("127.0.0.1", host.gateway().port()))?;
        let (code, log) = refused(&mut host).await?;
        ensure!(code == Some(1), "exit status {code:?}:\n{log}");
        ensure!(log.contains(&host.gateway().port().to_string()), "{log}");
        Ok(())
    })
}
