//! Promise: effects happen once and in order on three hosts, whatever is killed, frozen or cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish_surely, slot};
use sluicegate_tests::guests::{failing, told};
use sluicegate_tests::outputs::{carried_over, dead_letters, echoes, state_of, wait_echoes};
use sluicegate_tests::proxy::Wire;
use sluicegate_tests::{Fleet, Input, environment, until, within};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

const HOSTS: usize = 3;
const PARTITIONS: u32 = 4;
/// Between two faults.
const PACE: Duration = Duration::from_secs(2);
/// Longer than every lease.
const FROZEN: Duration = Duration::from_secs(7);

const SETTINGS: &str = "[plugin.fail-by-data]\npartitions = 4\ninitial = \"20ms\"\n\
                        timeout = \"5s\"\nmax_attempts = 10\n\
                        [plugin.count]\npartitions = 4\nmax_attempts = 10\n\
                        [ledger]\ncommit_events = 50";

/// Events in rounds: each round has one of every key. One in fifty fails at first, one in two
/// hundred and fifty always.
fn inputs(events: u64, keys: u64) -> Vec<Input> {
    (0..events)
        .map(|i| {
            let (key, n) = (format!("k{}", i % keys), i / keys);
            match i % 250 {
                7 => told(&key, n, "reject"),
                i if i % 50 == 3 => failing(&key, n, 1),
                _ => Input::new(format!("{key}-{n}"), key, n),
            }
        })
        .collect()
}

fn is_rejected(input: &Input) -> bool {
    input.message.body.windows(6).any(|part| part == b"reject")
}

/// Publishes at `rate` a second, one in twenty a second time, a little later.
async fn traffic(
    jetstream: &jetstream::Context,
    inputs: &[Input],
    rate: u64,
    done: watch::Sender<bool>,
) -> Result<()> {
    let part = usize::try_from(rate / 10)?.max(1);
    let mut ticks = interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut again: Vec<Input> = Vec::new();
    for part in inputs.chunks(part) {
        ticks.tick().await;
        publish_surely(jetstream, part, 0).await?;
        publish_surely(jetstream, &again, 1).await?;
        again = part.iter().step_by(20).cloned().collect();
    }
    publish_surely(jetstream, &again, 1).await?;
    done.send_replace(true);
    Ok(())
}

/// What was done so far, by name.
type Faults = BTreeMap<&'static str, u32>;

/// Strikes every [`PACE`] until the traffic is over, then mends everything.
async fn strike(
    fleet: &mut Fleet,
    random: &mut StdRng,
    over: watch::Receiver<bool>,
) -> Result<Faults> {
    let mut faults = Faults::new();
    // Until when each host is down, and how it comes back.
    let mut down: Vec<Option<(Instant, &str)>> = vec![None; HOSTS];
    let mut next = Instant::now() + PACE;
    while !*over.borrow() {
        sleep(Duration::from_millis(50)).await;
        mend(fleet, &mut down, Instant::now())?;
        if Instant::now() < next {
            continue;
        }
        next = Instant::now() + PACE;
        let standing: Vec<usize> = (0..HOSTS)
            .filter(|host| down.get(*host) == Some(&None))
            .collect();
        let kinds = ["kill", "freeze", "cut", "swallow", "broker"];
        let kind = *kinds.choose(random).context("no fault")?;
        if kind == "broker" {
            *faults.entry(kind).or_default() += 1;
            fleet.broker.kill9();
            sleep(Duration::from_millis(random.random_range(0..1_000))).await;
            fleet.broker.restart().await?;
            continue;
        }
        let Some(&number) = standing.choose(random) else {
            continue;
        };
        *faults.entry(kind).or_default() += 1;
        let host = fleet.hosts.get_mut(number).context("no host")?;
        let wire = fleet.wires.get(number).context("no wire")?;
        let time = match kind {
            "kill" => {
                host.kill9();
                Duration::from_millis(random.random_range(0..3_000))
            }
            "freeze" => {
                host.freeze()?;
                FROZEN
            }
            "cut" => {
                wire.set(Wire::Cut);
                Duration::from_millis(random.random_range(50..8_000))
            }
            _ => {
                wire.set(Wire::Swallowing);
                FROZEN
            }
        };
        if let Some(down) = down.get_mut(number) {
            *down = Some((Instant::now() + time, kind));
        }
    }
    mend(fleet, &mut down, Instant::now() + Duration::from_secs(60))?;
    Ok(faults)
}

/// Brings back whose time is over.
fn mend(fleet: &mut Fleet, down: &mut [Option<(Instant, &str)>], now: Instant) -> Result<()> {
    let hosts = fleet.hosts.iter_mut().zip(&fleet.wires).zip(down);
    for ((host, wire), down) in hosts {
        match *down {
            Some((until, kind)) if until <= now => {
                match kind {
                    "kill" => host.spawn()?,
                    "freeze" => host.thaw()?,
                    _ => wire.set(Wire::Open),
                }
                *down = None;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What each partition of `count` has counted.
async fn totals(jetstream: &jetstream::Context) -> Result<Vec<u64>> {
    let mut totals = Vec::new();
    for partition in 0..PARTITIONS {
        let total = state_of(jetstream, "count", partition, "total").await?;
        totals.push(match total {
            Some(text) => std::str::from_utf8(&text)?.parse()?,
            None => 0,
        });
    }
    Ok(totals)
}

/// The same, had one process handled one event after another.
fn oracle(inputs: &[Input]) -> Vec<u64> {
    let mut totals = vec![0; PARTITIONS as usize];
    for input in inputs {
        let partition = slot(&input.key) / (16 / PARTITIONS);
        if let Some(total) = totals.get_mut(partition as usize) {
            *total += 1;
        }
    }
    totals
}

#[test]
fn three_hosts_under_constant_faults_do_everything_once_and_in_order() -> Result<()> {
    let (events, keys, rate, limit) = if environment::long() {
        (100_000, 1_000, 400, 1_500)
    } else {
        (6_000, 1_000, 300, 170)
    };
    let seed = environment::seed()?;
    within(limit, async {
        let mut random = StdRng::seed_from_u64(seed);
        let mut fleet = Fleet::of(HOSTS, &["fail_by_data", "count"], SETTINGS).await?;
        let inputs = inputs(events, keys);
        let (rejected, good): (Vec<Input>, Vec<Input>) =
            inputs.iter().cloned().partition(is_rejected);
        let publisher = fleet.jetstream.clone();
        let (done, over) = watch::channel(false);
        let (published, faults) = tokio::join!(
            traffic(&publisher, &inputs, rate, done),
            strike(&mut fleet, &mut random, over)
        );
        published?;
        let faults = faults?;
        eprintln!("faults: {faults:?}");
        wait_echoes(&fleet.jetstream, good.len(), 60).await?;
        let expected = oracle(&inputs);
        until("every event to be counted", 60, async || {
            let totals = totals(&fleet.jetstream).await?;
            let (found, all): (u64, u64) = (totals.iter().sum(), expected.iter().sum());
            ensure!(all <= found, "{totals:?} of {expected:?}");
            Ok(())
        })
        .await?;
        for host in &mut fleet.hosts {
            host.stop().await?;
        }
        carried_over(&fleet.jetstream).await?;
        let totals = totals(&fleet.jetstream).await?;
        let verdict = Verdict::on(&good, &echoes(&fleet.jetstream).await?);
        let mut letters = Vec::new();
        for letter in dead_letters(&fleet.jetstream).await? {
            letters.push(letter.header("ce-id")?.to_owned());
        }
        let figures = json!({
            "inputs": verdict.inputs, "outputs": verdict.outputs, "lost": verdict.lost.len(),
            "repeated": verdict.repeated.len(), "reordered": verdict.reordered.len(),
            "foreign": verdict.foreign.len(), "kills": faults.values().sum::<u32>(),
            "faults": faults, "dead_letters": letters.len(), "rejected": rejected.len(),
            "counted": totals, "expected": expected, "seed": seed,
        });
        environment::write_figures("whatever_is_killed", &figures)?;
        verdict.clean()?;
        ensure!(totals == expected, "counted {totals:?} of {expected:?}");
        let rejected: BTreeSet<&str> = rejected.iter().map(|input| input.id.as_str()).collect();
        let died: BTreeSet<&str> = letters.iter().map(String::as_str).collect();
        ensure!(
            letters.len() == died.len() && died == rejected,
            "dead letters of {died:?} instead of {rejected:?}"
        );
        ensure!(
            3 <= faults.values().sum::<u32>(),
            "too few faults: this run proves nothing"
        );
        Ok(())
    })
}
