//! Promise: `sluice doctor` is content with a healthy system, and names what is wrong with one that
//! is not, and what to do.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::stream::DiscardPolicy;
use sluicegate_tests::broker::free_port;
use sluicegate_tests::doctor::Report;
use sluicegate_tests::events::{Input, publish, series};
use sluicegate_tests::guests::told;
use sluicegate_tests::outputs::{wait_dead_letters, wait_echoes};
use sluicegate_tests::process::{Process, command};
use sluicegate_tests::sluice::{sluice, sluice_on};
use sluicegate_tests::tls::Identity;
use sluicegate_tests::{Broker, Fleet, Host, Setup, Source, Stage, environment, until, within};
use tempfile::TempDir;

/// Disks, memory and limits are what they are where the tests run.
const OF_THE_TESTS: &[&str] = &["machine"];
const DAY: i64 = 24 * 60 * 60;

/// A host that is not started, on a broker that is.
async fn not_started(setup: impl FnOnce(Setup) -> Setup) -> Result<(Broker, Host)> {
    let broker = Broker::start().await?;
    let host = setup(Setup::new(broker.url())).write()?;
    Ok((broker, host))
}

#[test]
fn a_healthy_system_is_all_ok() -> Result<()> {
    within(90, async {
        let good = Identity::new()?;
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .guest("emit_one")?
            .source(&Source::new("dataverse", "contoso").in_file("key"))
            .beside("key", "the-key-of-dataverse-contoso\n")
            .beside("gw.pem", good.cert)
            .beside("gw-key.pem", good.key)
            .gateway("tls = { cert = \"gw.pem\", key = \"gw-key.pem\" }\nspool = true");
        let stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &series("a", 20)).await?;
        wait_echoes(&stage.jetstream, 20, 20).await?;
        // Partitions settle, and sources are heard of, within seconds.
        let report = until("nothing to be found", 20, async || {
            let report = Report::of(&stage.host).await?;
            let [warn, fail] = ["warn", "fail"].map(|level| report.all(level, OF_THE_TESTS));
            ensure!(warn.is_empty() && fail.is_empty(), "{warn:?} {fail:?}");
            Ok(report)
        })
        .await?;
        ensure!(report.code() == Some(0), "{report:?}");
        for (about, part) in [
            ("config", "secrets included"),
            ("ports", "gateway.listen"),
            ("certificates", "gateway.tls cert"),
            ("broker", "nats-server 2."),
            ("broker", "may publish events and commits"),
            ("broker", "ms apart"),
            (
                "broker",
                "how often the broker writes to disk cannot be seen",
            ),
            ("streams", "EVENTS: "),
            ("streams", "LEDGER: "),
            ("streams", "DEADLETTER: "),
            ("streams", "KV_sluicegate: "),
            ("streams", "OBJ_claims: "),
            ("streams", "OBJ_plugins: "),
            ("dead letters", "none waits"),
            ("hosts", "alive: host-1"),
            ("plug-ins", "1 run"),
            ("deployed", "0 builds"),
        ] {
            report.finds(("ok", about), &[part], &[])?;
        }
        // From another machine, without the file; and for people.
        let said = sluice_on(&stage.broker, &["doctor"]).await?.ok()?.stdout;
        for part in [
            "ok    hosts        alive: host-1",
            "0 wrong",
            "EVENTS: 40 messages",
        ] {
            ensure!(said.contains(part), "no {part:?}: {said}");
        }
        Ok(())
    })
}

#[test]
fn a_broker_that_is_away_is_named_with_its_address() -> Result<()> {
    within(60, async {
        let broker = Broker::not_started()?;
        let host = Setup::new(broker.url()).write()?;
        let report = Report::of(&host).await?;
        let address = format!("127.0.0.1:{}", broker.port());
        report.finds(("fail", "broker"), &[&address], &["start nats-server"])?;
        ensure!(report.code() == Some(1), "{report:?}");
        // What can be looked at without it is.
        report.finds(("ok", "ports"), &["admin.listen", "is free"], &[])
    })
}

#[test]
fn a_broker_without_jetstream_is_named() -> Result<()> {
    within(60, async {
        let folder = TempDir::new()?;
        let port = free_port()?;
        let mut server = command(&environment::nats_server()?);
        server.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
        let _server = Process::start("nats-server", server, &folder.path().join("log"))?;
        let url = format!("nats://127.0.0.1:{port}");
        until("the finding", 20, async || {
            let report = Report::by(&["--nats", &url]).await?;
            ensure!(report.code() == Some(1), "{report:?}");
            report.finds(("fail", "broker"), &["JetStream cannot be used"], &["-js"])
        })
        .await
    })
}

#[test]
fn a_user_who_may_not_publish_is_named_with_the_subjects() -> Result<()> {
    within(60, async {
        let user = "authorization { users: [{ user: a, password: b, permissions: { publish: { deny: \
                    \"ledger.>\" } } }] }\nno_auth_user: a\n";
        let broker = Broker::start_with(user).await?;
        let report = Report::by(&["--nats", &broker.url()]).await?;
        report.finds(
            ("fail", "broker"),
            &["ledger.> (LEDGER)", "not answered"],
            &["let the user publish"],
        )?;
        // Nothing has run here yet.
        report.finds(
            ("fail", "streams"),
            &["EVENTS is not there"],
            &["sluice run"],
        )?;
        report.finds(("fail", "hosts"), &[], &["sluice run"])
    })
}

#[test]
fn settings_that_were_changed_by_hand_are_named() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["ok"], "").await?;
        let mut events = stage
            .jetstream
            .get_stream("EVENTS")
            .await?
            .cached_info()
            .config
            .clone();
        events.discard = DiscardPolicy::Old;
        events.max_age = Duration::from_secs(3_600);
        stage.jetstream.update_stream(events).await?;
        let report = Report::of(&stage.host).await?;
        let restart = &["restart a host"];
        report.finds(
            ("fail", "streams"),
            &["EVENTS: discard is Old", "New"],
            restart,
        )?;
        report.finds(("warn", "streams"), &["EVENTS: max_age is 3600s"], restart)?;
        ensure!(report.code() == Some(1), "{report:?}");
        Ok(())
    })
}

#[test]
fn a_store_that_is_nearly_full_is_named() -> Result<()> {
    within(60, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url()).events("max_bytes = \"1MiB\"");
        let stage = Stage::of(broker, setup).await?;
        let big = |n: u64| Input::new(n.to_string(), "a", n).body(vec![b'x'; 9_000]);
        publish(&stage.jetstream, &(0..100).map(big).collect::<Vec<_>>()).await?;
        let report = Report::of(&stage.host).await?;
        report.finds(
            ("warn", "streams"),
            &["EVENTS is 8", "% full", "of 1048576 bytes"],
            &["raise events.max_bytes"],
        )
    })
}

#[test]
fn certificates_that_are_over_or_soon_will_be_are_named() -> Result<()> {
    within(60, async {
        let (over, soon) = (
            Identity::until(-3 * DAY - 60)?,
            Identity::until(10 * DAY + 60)?,
        );
        let (_broker, host) = not_started(|setup| {
            setup
                .source(&Source::new("fno", "contoso").open())
                .beside("gw.pem", over.cert)
                .beside("gw-key.pem", over.key)
                .beside("ca.pem", soon.cert)
                .gateway("tls = { cert = \"gw.pem\", key = \"gw-key.pem\" }")
                .with("[http]\nca = \"ca.pem\"")
        })
        .await?;
        let report = Report::of(&host).await?;
        let cert = &["gateway.tls cert", "expired 3 days ago"];
        report.finds(("fail", "certificates"), cert, &["restart the host"])?;
        let ca = &["http ca", "expires in 10 days"];
        report.finds(("warn", "certificates"), ca, &["have it renewed"])
    })
}

#[test]
fn plug_ins_that_do_not_run_are_named() -> Result<()> {
    within(90, async {
        let stage = Stage::with(&["ok", "reject"], "").await?;
        stage.host.put_plugin("broken.wasm", b"no component")?;
        sluice_on(&stage.broker, &["pause", "ok"]).await?.ok()?;
        publish(&stage.jetstream, &series("a", 3)).await?;
        wait_dead_letters(&stage.jetstream, 3, 20).await?;
        until("the findings", 20, async || {
            let report = Report::of(&stage.host).await?;
            ensure!(report.code() == Some(1), "{report:?}");
            let broken = &["host-1 refuses", "broken.wasm"];
            report.finds(("fail", "plug-ins"), broken, &["mend the file"])?;
            report.finds(
                ("warn", "plug-ins"),
                &["ok is paused"],
                &["sluice resume ok"],
            )?;
            let dead = &["3 wait: 3 of reject (rejected)"];
            report.finds(("warn", "dead letters"), dead, &["sluice dlq list"])
        })
        .await
    })
}

#[test]
fn keys_that_wait_and_open_circuits_are_named() -> Result<()> {
    within(90, async {
        let blocking = "[plugin.fail-by-data]\non_exhausted = \"block-key\"\nmax_attempts = 2";
        let stage = Stage::with(&["fail_by_data", "outage"], blocking).await?;
        // Neither plug-in is content with any of these.
        let inputs: Vec<Input> = (0..12)
            .map(|n| told(&format!("k{n}"), 0, "replay"))
            .collect();
        publish(&stage.jetstream, &inputs).await?;
        until("both findings", 30, async || {
            let report = Report::of(&stage.host).await?;
            let waiting = &["fail-by-data: 12 keys wait"];
            let look = &["sluice dlq blocked --plugin fail-by-data"];
            report.finds(("warn", "plug-ins"), waiting, look)?;
            let open = &["outage: the circuits of 1 partitions are open"];
            report.finds(("warn", "plug-ins"), open, &["what it depends on"])?;
            ensure!(report.code() == Some(0), "{report:?}");
            Ok(())
        })
        .await
    })
}

#[test]
fn a_plug_in_that_falls_behind_the_stores_age_is_named() -> Result<()> {
    within(90, async {
        let broker = Broker::start().await?;
        let events = "max_bytes = \"1GiB\"\nmax_age = \"8s\"\ndedup_window = \"5s\"";
        let setup = Setup::new(broker.url()).guest("ok")?.events(events);
        let stage = Stage::of(broker, setup).await?;
        sluice_on(&stage.broker, &["pause", "ok"]).await?.ok()?;
        publish(&stage.jetstream, &series("a", 3)).await?;
        let report = Report::of(&stage.host).await?;
        let late = report.all("fail", &[]);
        ensure!(late.is_empty(), "too early: {late:?}");
        until("the finding", 20, async || {
            let report = Report::of(&stage.host).await?;
            let old = &["ok has not read events that are", "after 8s"];
            report.finds(("fail", "plug-ins"), old, &["events.max_age"])?;
            // The metric says it too.
            let metrics = stage.host.metrics().await?;
            let of_ok = [("plugin", "ok"), ("partition", "0")];
            let age = metrics.sum("sluicegate_lag_seconds", &of_ok)?;
            ensure!(4.0 < age, "{age}");
            Ok(())
        })
        .await?;
        sluice_on(&stage.broker, &["resume", "ok"]).await?.ok()?;
        stage.host.settled("ok", 20).await?;
        let age = stage
            .host
            .metrics()
            .await?
            .sum("sluicegate_lag_seconds", &[])?;
        ensure!(age == 0.0, "{age}");
        Ok(())
    })
}

#[test]
fn hosts_that_died_and_hosts_of_one_name_are_named() -> Result<()> {
    within(120, async {
        let mut fleet = Fleet::of(2, &["ok"], "").await?;
        let url = fleet.broker.url();
        fleet.hosts.first_mut().context("host-1")?.kill9();
        until("the dead one to be named", 30, async || {
            let report = Report::by(&["--nats", &url]).await?;
            ensure!(report.code() == Some(1), "{report:?}");
            let gone = &["host-1", "was last heard of", "no goodbye"];
            report.finds(("fail", "hosts"), gone, &["start it again"])?;
            report.finds(("ok", "hosts"), &["alive: host-2"], &[])
        })
        .await?;
        let twin = Setup::new(url.clone()).named("host-2").start().await?;
        let report = Report::by(&["--nats", &url]).await?;
        let same = &["2 hosts are called host-2"];
        report.finds(("fail", "hosts"), same, &["its own host.name"])?;
        drop(twin);
        Ok(())
    })
}

#[test]
fn a_deployed_build_that_is_gone_is_named() -> Result<()> {
    within(90, async {
        let stage = Stage::with(&[], "").await?;
        let file = environment::guest("ok")?;
        let file = file.to_str().context("a path")?;
        sluice_on(&stage.broker, &["deploy", file]).await?.ok()?;
        let report = Report::of(&stage.host).await?;
        report.finds(("ok", "deployed"), &["1 builds"], &[])?;
        // What a careless hand does to a stream.
        let objects = stage.jetstream.get_stream("OBJ_plugins").await?;
        objects.purge().await?;
        let report = Report::of(&stage.host).await?;
        ensure!(report.code() == Some(1), "{report:?}");
        let gone = &["ok: the object store `plugins` has no sha256:"];
        report.finds(("fail", "deployed"), gone, &["sluice deploy"])
    })
}

#[test]
fn a_secret_that_cannot_be_read_is_named_with_its_file() -> Result<()> {
    within(60, async {
        let source = Source::new("fno", "contoso").in_file("no-such-key");
        let (_broker, host) = not_started(|setup| setup.source(&source)).await?;
        let report = Report::of(&host).await?;
        let file = &["no-such-key", "cannot be read"];
        report.finds(("fail", "config"), file, &["first line", "no-such-key"])?;
        ensure!(report.code() == Some(2), "{report:?}");
        Ok(())
    })
}

#[test]
fn folders_and_ports_that_cannot_be_had_are_named() -> Result<()> {
    within(60, async {
        let (_broker, host) = not_started(|setup| setup).await?;
        // Root may write everywhere, but not below a file.
        std::fs::write(host.data_dir(), "a file")?;
        std::fs::remove_dir_all(host.plugins_dir())?;
        let taken = TcpListener::bind(("127.0.0.1", host.admin_port()))?;
        let report = Report::of(&host).await?;
        let data = &["host.data_dir", "cannot be written"];
        report.finds(("fail", "machine"), data, &["give the folder to the user"])?;
        let plugins = &["host.plugins_dir", "cannot be read"];
        report.finds(("fail", "machine"), plugins, &["make the folder"])?;
        let port = &["admin.listen", "cannot be had"];
        report.finds(("fail", "ports"), port, &["another program has it"])?;
        ensure!(report.code() == Some(1), "{report:?}");
        drop(taken);
        // A file that says nothing of the kind, and one that is not there.
        let no_file = sluice(&["doctor", "--config", "no-such.toml"]).await?;
        ensure!(no_file.code == Some(2), "{no_file:?}");
        ensure!(no_file.stdout.contains("--config"), "{no_file:?}");
        Ok(())
    })
}
