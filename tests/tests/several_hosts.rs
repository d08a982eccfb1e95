//! Promise: on one host or five, effects happen once and in order; whoever dies is replaced.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, slot, spread};
use sluicegate_tests::outputs::{ECHOES, carried_over, count, dead_letters, echoes, wait_echoes};
use sluicegate_tests::proxy::{Proxy, Wire};
use sluicegate_tests::{Fleet, Host, Input, Stage, until, within};
use tokio::time::{Instant, sleep};

/// A plug-in in four partitions, and commits so small that a fault falls between two.
const FOUR: &str = "[plugin.emit-one]\npartitions = 4\n[ledger]\ncommit_events = 20";

/// What the others may need to notice that a host is dead, and to have its partitions.
const AFTER_A_CRASH: Duration = Duration::from_secs(10);
/// The same after a host that said goodbye.
const AFTER_A_STOP: Duration = Duration::from_secs(1);
/// Longer than a lease.
const FROZEN: Duration = Duration::from_secs(8);

/// Everything that was published is handled, once, in the order of its key, and no dead letter.
async fn all_went_well(fleet: &mut Fleet, inputs: &[Input]) -> Result<()> {
    wait_echoes(&fleet.jetstream, inputs.len(), 60).await?;
    for host in &mut fleet.hosts {
        if host.runs()? {
            host.stop().await?;
        }
    }
    carried_over(&fleet.jetstream).await?;
    Verdict::on(inputs, &echoes(&fleet.jetstream).await?).clean()?;
    let letters = dead_letters(&fleet.jetstream).await?;
    ensure!(letters.is_empty(), "dead letters: {letters:?}");
    Ok(())
}

#[test]
fn partitions_are_spread_over_the_hosts_that_are_there() -> Result<()> {
    within(90, async {
        let mut fleet = Fleet::of(1, &["emit_one"], FOUR).await?;
        fleet.spread(4, &["host-1"], 10).await?;
        fleet.join().await?;
        fleet.spread(4, &["host-1", "host-2"], 10).await?;
        fleet.join().await?;
        let all = ["host-1", "host-2", "host-3"];
        let before = fleet.spread(4, &all, 10).await?;
        for host in &fleet.hosts {
            let (status, body) = host.admin("/readyz").await?;
            ensure!(status == 200, "a host without all partitions: {body}");
        }
        // One that is started again is given what it had.
        let second = fleet.hosts.get_mut(1).context("host-2")?;
        second.kill9();
        second.start().await?;
        let after = fleet.spread(4, &all, 15).await?;
        ensure!(before == after, "{before:?}\n{after:?}");
        Ok(())
    })
}

/// An event for each slot.
fn all_slots(id: &str) -> Vec<Input> {
    let key_of = |wanted: u32| {
        let mut keys = (0..).map(|n| format!("{id}{n}"));
        keys.find(|key| slot(key) == wanted).unwrap_or_default()
    };
    (0..16)
        .map(|slot| Input::new(format!("{id}-{slot}"), key_of(slot), 0))
        .collect()
}

/// Of two hosts `end` ends the first: the other has to handle an event of each slot within
/// `limit` from then on.
async fn replaced(limit: Duration, end: impl AsyncFn(&mut Host) -> Result<()>) -> Result<()> {
    let mut fleet = Fleet::of(2, &["emit_one"], FOUR).await?;
    fleet.spread(4, &["host-1", "host-2"], 10).await?;
    let (first, second) = (all_slots("first"), all_slots("second"));
    publish(&fleet.jetstream, &first).await?;
    wait_echoes(&fleet.jetstream, first.len(), 20).await?;
    end(fleet.hosts.first_mut().context("host-1")?).await?;
    let ended = Instant::now();
    publish(&fleet.jetstream, &second).await?;
    let all = [first, second].concat();
    wait_echoes(&fleet.jetstream, all.len(), 30).await?;
    let took = ended.elapsed();
    eprintln!("replaced after {took:?}");
    ensure!(took < limit, "it took {took:?}");
    fleet.spread(4, &["host-2"], 5).await?;
    all_went_well(&mut fleet, &all).await
}

#[test]
fn a_host_that_is_killed_is_replaced_within_ten_seconds() -> Result<()> {
    within(90, async {
        let kill = async |host: &mut Host| {
            host.kill9();
            Ok(())
        };
        replaced(AFTER_A_CRASH, kill).await
    })
}

#[test]
fn a_host_that_stops_is_replaced_within_a_second() -> Result<()> {
    within(90, async {
        replaced(AFTER_A_STOP, async |host: &mut Host| host.stop().await).await
    })
}

/// Publishes at a pace at which hosts can come and go meanwhile.
async fn publish_slowly(
    jetstream: &async_nats::jetstream::Context,
    inputs: &[Input],
) -> Result<()> {
    for part in inputs.chunks(50) {
        publish(jetstream, part).await?;
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[test]
fn hosts_that_come_and_go_lose_repeat_and_reorder_nothing() -> Result<()> {
    within(150, async {
        let mut fleet = Fleet::of(1, &["emit_one"], FOUR).await?;
        let inputs = spread(3_000, 100);
        let publisher = fleet.jetstream.clone();
        let (published, moved) = tokio::join!(publish_slowly(&publisher, &inputs), async {
            for _ in 0..2 {
                fleet.join().await?;
            }
            let all = ["host-1", "host-2", "host-3"];
            fleet.spread(4, &all, 10).await?;
            fleet.hosts.first_mut().context("host-1")?.stop().await?;
            fleet.spread(4, &["host-2", "host-3"], 10).await
        });
        published?;
        moved?;
        all_went_well(&mut fleet, &inputs).await
    })
}

/// Of two hosts at work the first is `gone` for longer than its lease, and then `back`.
async fn gone_for_a_while(
    gone: impl Fn(&Host, &Proxy) -> Result<()>,
    back: impl Fn(&Host, &Proxy) -> Result<()>,
) -> Result<()> {
    let mut fleet = Fleet::of(2, &["emit_one"], FOUR).await?;
    fleet.spread(4, &["host-1", "host-2"], 10).await?;
    let inputs = spread(4_000, 100);
    let publisher = fleet.jetstream.clone();
    let (published, struck) = tokio::join!(publish_slowly(&publisher, &inputs), async {
        wait_echoes(&fleet.jetstream, 100, 30).await?;
        let host = fleet.hosts.first().context("host-1")?;
        let wire = fleet.wires.first().context("its wire")?;
        gone(host, wire)?;
        sleep(FROZEN).await;
        let taken = fleet.spread(4, &["host-2"], 5).await;
        back(host, wire)?;
        taken?;
        // It finds its place again.
        fleet.spread(4, &["host-1", "host-2"], 20).await
    });
    published?;
    struck?;
    all_went_well(&mut fleet, &inputs).await
}

#[test]
fn a_host_that_stood_still_past_its_lease_does_nothing_twice() -> Result<()> {
    within(
        150,
        gone_for_a_while(|host, _| host.freeze(), |host, _| host.thaw()),
    )
}

#[test]
fn a_host_that_is_cut_off_past_its_lease_does_nothing_twice() -> Result<()> {
    let set = |to: Wire| {
        move |_: &Host, wire: &Proxy| {
            wire.set(to);
            Ok(())
        }
    };
    within(
        150,
        gone_for_a_while(set(Wire::Swallowing), set(Wire::Open)),
    )
}

#[test]
fn a_broker_that_is_away_past_every_lease_moves_nothing() -> Result<()> {
    within(90, async {
        let mut fleet = Fleet::of(2, &["emit_one"], FOUR).await?;
        let before = fleet.spread(4, &["host-1", "host-2"], 10).await?;
        let logged = |host: &Host| Ok(host.log()?.len());
        let logged: Result<Vec<usize>> = fleet.hosts.iter().map(logged).collect();
        fleet.broker.kill9();
        sleep(FROZEN).await;
        fleet.broker.restart().await?;
        let both = ["host-1", "host-2"];
        let after = fleet.spread(4, &both, 20).await?;
        ensure!(before == after, "{before:?}\n{after:?}");
        for (host, from) in fleet.hosts.iter().zip(logged?) {
            let log = host.log()?.split_off(from);
            ensure!(log.contains("the broker is away"), "it was not away: {log}");
            for word in ["gone without a word", "this host leaves it", "let go of"] {
                ensure!(!log.contains(word), "a partition or a host moved: {word}");
            }
        }
        publish(&fleet.jetstream, &all_slots("after")).await?;
        all_went_well(&mut fleet, &all_slots("after")).await
    })
}

/// The checker of these tests, on hosts that break the promise on purpose: position first,
/// effects after it, and no fence.
#[test]
fn hosts_that_commit_in_parts_are_found_out() -> Result<()> {
    within(150, async {
        let broken = [("SLUICE_BREAK_COMMITS", "1")];
        let mut fleet = Fleet::with(2, &["emit_one"], FOUR, &broken).await?;
        fleet.spread(4, &["host-1", "host-2"], 10).await?;
        let inputs = spread(4_000, 100);
        let publisher = fleet.jetstream.clone();
        let (published, struck) = tokio::join!(publish_slowly(&publisher, &inputs), async {
            wait_echoes(&fleet.jetstream, 100, 30).await?;
            // One is taken for dead while it works, and goes on as if nothing had happened.
            let first = fleet.hosts.first().context("host-1")?;
            first.freeze()?;
            sleep(FROZEN).await;
            first.thaw()?;
            // The other is killed between position and effects.
            let second = fleet.hosts.get_mut(1).context("host-2")?;
            for _ in 0..5 {
                let before = count(&fleet.jetstream, "EVENTS", ECHOES).await?;
                wait_echoes(&fleet.jetstream, before + 1, 20).await?;
                second.kill9();
                second.start().await?;
            }
            Ok(())
        });
        published?;
        let struck: Result<()> = struck;
        struck?;
        let verdict = until("the checker to see it", 60, async || {
            let verdict = Verdict::on(&inputs, &echoes(&fleet.jetstream).await?);
            for host in &fleet.hosts {
                host.settled("emit-one", 1).await?;
            }
            Ok(verdict)
        })
        .await?;
        let (lost, repeated) = (verdict.lost.len(), verdict.repeated.len());
        eprintln!(
            "{lost} lost, {repeated} repeated, {} reordered",
            verdict.reordered.len()
        );
        ensure!(0 < lost, "no loss was seen: {verdict:?}");
        ensure!(0 < repeated, "no repeat was seen: {verdict:?}");
        ensure!(verdict.clean().is_err(), "the checker is content");
        Ok(())
    })
}

#[test]
fn another_number_of_partitions_is_refused() -> Result<()> {
    within(60, async {
        let settings = "[plugin.emit-one]\npartitions = 4";
        let mut stage = Stage::with(&["emit_one", "ok"], settings).await?;
        stage.host.stop().await?;
        stage.host.reconfigure("[plugin.ok]\npartitions = 2")?;
        stage.host.spawn()?;
        let body = until("the plug-in to be refused", 30, async || {
            let (_, body) = stage.host.admin("/readyz").await?;
            ensure!(body.contains("divided into 1 partitions"), "{body}");
            Ok(body)
        })
        .await?;
        ensure!(body.contains("partitions = 2"), "{body}");
        // The other runs.
        publish(&stage.jetstream, &all_slots("a")).await?;
        wait_echoes(&stage.jetstream, 16, 20).await?;
        stage.host.wait_ready(10).await
    })
}
