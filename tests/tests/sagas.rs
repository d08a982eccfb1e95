//! Promise: every saga ends, done or undone: in the right order, nothing twice, nothing forgotten,
//! whatever is killed meanwhile.

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use sluicegate_tests::events::{Input, publish, publish_surely};
use sluicegate_tests::journeys::{
    Deed, Plan, awaited, deeds, event, guest, is, show, statuses, versions,
};
use sluicegate_tests::outputs::{count, wait_dead_letters};
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::{Broker, Setup, Stage, environment, until, within};
use tokio::time::Instant;

async fn stage(changes: &[(&str, &str)]) -> Result<Stage> {
    let broker = Broker::start().await?;
    let setup = Setup::new(broker.url()).file("journey.wasm", guest(changes)?);
    Stage::of(broker, setup).await
}

/// Of each ten steps some wait, some are slow to be undone, and one in some thirty ends it.
fn plan(key: String, random: &mut StdRng) -> Plan {
    let length = random.random_range(1..7);
    let letters = (0..length).map(|_| match random.random_range(0..100) {
        0..45 => 's',
        45..65 => 'w',
        65..70 => 't',
        70..75 => 'r',
        75..83 => 'S',
        83..85 => 'P',
        85..90 => 'f',
        90..96 => 'j',
        _ => 'x',
    });
    let letters: String = letters.collect();
    Plan::new(key, letters)
}

#[test]
fn every_saga_ends_done_or_undone_in_reverse_over_sigkills() -> Result<()> {
    let (sagas, kills, limit) = if environment::long() {
        (10_000, 25, 3_000)
    } else {
        (400, 4, 240)
    };
    within(limit, async {
        let mut random = StdRng::seed_from_u64(environment::seed()?);
        let mut stage = stage(&[]).await?;
        let plans: Vec<Plan> = (0..sagas)
            .map(|n| plan(format!("journey/{n}"), &mut random))
            .collect();
        let began = Instant::now();
        for (round, part) in plans.chunks(plans.len().div_ceil(kills)).enumerate() {
            let events: Vec<Input> = part.iter().map(Plan::event).collect();
            publish_surely(&stage.jetstream, &events, 0).await?;
            // The same once more, as a source that has heard no answer would.
            publish_surely(&stage.jetstream, &events, 1).await?;
            if round % 5 == 3 {
                stage.broker.kill9();
                stage.broker.restart().await?;
            }
            stage.host.kill9();
            stage.host.start().await?;
        }
        // One that cannot begin is a dead letter, and there is no saga.
        let (unable, able): (Vec<&Plan>, Vec<&Plan>) =
            plans.iter().partition(|plan| plan.is_unable_to_begin());
        until(
            "every saga to end or to wait for a person",
            limit / 2,
            async || {
                let found = statuses(&stage.broker).await?;
                let moving = found
                    .values()
                    .filter(|status| matches!(status.as_str(), "running" | "compensating"));
                let (there, moving) = (found.len(), moving.count());
                ensure!(
                    there == able.len() && moving == 0,
                    "{there} there, {moving} under way"
                );
                Ok(())
            },
        )
        .await?;
        println!("{sagas} sagas, {kills} kills, {:?}", began.elapsed());
        carried_over(&stage).await?;
        let (did, found) = (
            deeds(&stage.jetstream).await?,
            statuses(&stage.broker).await?,
        );
        wait_dead_letters(&stage.jetstream, unable.len(), 60).await?;
        let letters = count(&stage.jetstream, "DEADLETTER", "dead.>").await?;
        ensure!(
            letters == unable.len(),
            "{letters} dead letters, not {}",
            unable.len()
        );
        for plan in able {
            let (expected, status) = plan.expected();
            let deeds = did.get(&plan.key).cloned().unwrap_or_default();
            ensure!(
                deeds == expected,
                "{plan:?}: {deeds:?} instead of {expected:?}"
            );
            let is = found.get(&plan.key).map(String::as_str);
            ensure!(is == Some(status), "{plan:?} is {is:?} instead of {status}");
        }
        // A person has those go on that wait for one.
        let parked: Vec<&Plan> = plans
            .iter()
            .filter(|plan| plan.expected().1 == "parked")
            .collect();
        ensure!(!parked.is_empty(), "no plan is parked");
        for plan in parked.iter().take(20) {
            let retry = ["sagas", "retry", "journey", &plan.key, "--done-by-hand"];
            let mut parked = plan.letters.matches('P').count();
            while 0 < parked {
                sluice_on(&stage.broker, &retry).await?.ok()?;
                parked -= 1;
                let ended = until("the saga to go on", 30, async || {
                    let said = show(&stage.broker, &plan.key).await?.ok()?.json()?;
                    let is = said
                        .get("status")
                        .and_then(Value::as_str)
                        .unwrap_or_default();
                    ensure!(matches!(is, "compensated" | "parked"), "{said}");
                    Ok(is == "compensated")
                })
                .await?;
                if ended {
                    break;
                }
            }
            is(&stage.broker, &plan.key, "compensated").await?;
        }
        carried_over(&stage).await?;
        let did = deeds(&stage.jetstream).await?;
        for plan in parked.iter().take(20) {
            let (deeds, expected) = (did.get(&plan.key), plan.expected_by_hand());
            ensure!(
                deeds == Some(&expected),
                "{plan:?}: {deeds:?} instead of {expected:?}"
            );
        }
        Ok(())
    })
}

/// What was committed has arrived.
async fn carried_over(stage: &Stage) -> Result<()> {
    until("what was emitted to arrive", 60, async || {
        let committed = count(&stage.jetstream, "LEDGER", "ledger.out.custom.>").await?;
        let arrived = count(
            &stage.jetstream,
            "EVENTS",
            "d365.custom.test.business.journey.told.*",
        )
        .await?
            + count(
                &stage.jetstream,
                "EVENTS",
                "d365.custom.test.business.journey.go.*",
            )
            .await?;
        ensure!(
            committed == arrived,
            "{committed} committed, {arrived} arrived"
        );
        Ok(())
    })
    .await
}

#[test]
fn a_wait_ends_at_its_time_though_broker_and_host_were_away() -> Result<()> {
    within(120, async {
        let mut stage = stage(&[]).await?;
        let plan = Plan::new("journey/late", "tst");
        publish(&stage.jetstream, &[plan.event()]).await?;
        until("the saga to wait", 30, async || {
            ensure!(!deeds(&stage.jetstream).await?.is_empty(), "nothing yet");
            Ok(())
        })
        .await?;
        stage.host.kill9();
        stage.broker.kill9();
        stage.broker.restart().await?;
        // It is over before anybody could run it.
        until("the wait to be over", 30, async || {
            let own = count(&stage.jetstream, "EVENTS", "d365.saga.journey.*").await?;
            ensure!(0 < own, "{own} messages");
            Ok(())
        })
        .await?;
        stage.host.start().await?;
        is(&stage.broker, &plan.key, "done").await?;
        carried_over(&stage).await?;
        let did = deeds(&stage.jetstream).await?;
        ensure!(did.get(&plan.key) == Some(&plan.expected().0), "{did:?}");
        Ok(())
    })
}

/// The two builds.
const SECOND: [(&str, &str); 2] = [
    ("version = \"1.0.0\"", "version = \"2.0.0\""),
    ("says = \"one\"", "says = \"two\""),
];

#[test]
fn a_saga_ends_on_the_build_that_it_began_with() -> Result<()> {
    within(180, async {
        let mut stage = stage(&[]).await?;
        let (old, new) = (
            Plan::new("journey/old", "shs"),
            Plan::new("journey/new", "shs"),
        );
        let undone = Plan::new("journey/undone", "shj");
        publish(&stage.jetstream, &[old.event(), undone.event()]).await?;
        waits(&stage, &old).await?;
        waits(&stage, &undone).await?;
        stage.host.put_plugin("journey.wasm", &guest(&SECOND)?)?;
        until("the second build", 60, async || {
            let said = sluice_on(&stage.broker, &["plugins", "journey", "--json"]).await?;
            ensure!(said.ok()?.stdout.contains("2.0.0"), "not yet");
            Ok(())
        })
        .await?;
        publish(&stage.jetstream, &[new.event()]).await?;
        waits(&stage, &new).await?;
        // The first build is in no folder any more, and in no memory.
        stage.host.kill9();
        stage.host.start().await?;
        let all: Vec<Input> = [&old, &new, &undone]
            .iter()
            .map(|plan| awaited(&plan.key))
            .collect();
        publish(&stage.jetstream, &all).await?;
        is(&stage.broker, &old.key, "done").await?;
        is(&stage.broker, &new.key, "done").await?;
        is(&stage.broker, &undone.key, "compensated").await?;
        carried_over(&stage).await?;
        for (plan, build) in [(&old, "one"), (&new, "two"), (&undone, "one")] {
            let by = versions(&stage.jetstream, &plan.key).await?;
            ensure!(by.iter().all(|one| one == build), "{plan:?} by {by:?}");
        }
        Ok(())
    })
}

async fn waits(stage: &Stage, plan: &Plan) -> Result<()> {
    until(&format!("{} to wait", plan.key), 60, async || {
        let said = show(&stage.broker, &plan.key).await?.ok()?.json()?;
        let waits = said.pointer("/waits/0/event_type").and_then(Value::as_str);
        ensure!(waits == Some("d365.custom.journey.never"), "{said}");
        Ok(())
    })
    .await
}

#[test]
fn where_the_manifest_says_so_a_saga_goes_on_with_the_newest_build() -> Result<()> {
    let migrate = ("keep = \"1h\"", "keep = \"1h\"\nrunning = \"migrate\"");
    within(120, async {
        let stage = stage(&[migrate]).await?;
        let plan = Plan::new("journey/1", "shs");
        publish(&stage.jetstream, &[plan.event()]).await?;
        waits(&stage, &plan).await?;
        let second = [&SECOND[..], &[migrate]].concat();
        stage.host.put_plugin("journey.wasm", &guest(&second)?)?;
        until("the second build", 60, async || {
            let said = sluice_on(&stage.broker, &["plugins", "journey", "--json"]).await?;
            ensure!(said.ok()?.stdout.contains("2.0.0"), "not yet");
            Ok(())
        })
        .await?;
        publish(&stage.jetstream, &[awaited(&plan.key)]).await?;
        let said = is(&stage.broker, &plan.key, "done").await?;
        ensure!(
            said.pointer("/build/version") == Some(&json!("2.0.0")),
            "{said}"
        );
        carried_over(&stage).await?;
        let by = versions(&stage.jetstream, &plan.key).await?;
        ensure!(by == ["one", "one", "two"], "{by:?}");
        Ok(())
    })
}

#[test]
fn a_person_cancels_one_and_has_a_compensation_run_again() -> Result<()> {
    within(180, async {
        let mut stage = stage(&[]).await?;
        let plan = Plan::new("journey/1", "sPsh");
        publish(&stage.jetstream, &[plan.event()]).await?;
        waits(&stage, &plan).await?;
        let one = ["journey", plan.key.as_str()];
        let retry = [&["sagas", "retry"][..], &one].concat();
        let refused = sluice_on(&stage.broker, &retry).await?;
        refused.refused(1, &["journey/1", "is running", "waits for a person"])?;
        let cancel = [
            &["sagas", "cancel"][..],
            &one,
            &["--reason", "the customer called"],
        ]
        .concat();
        sluice_on(&stage.broker, &cancel).await?.ok()?;
        let said = is(&stage.broker, &plan.key, "parked").await?;
        let why = said.get("why").and_then(Value::as_str).unwrap_or_default();
        ensure!(why.contains("the customer called"), "{said}");
        let doctor = sluice_on(&stage.broker, &["doctor"]).await?.stdout;
        ensure!(
            doctor.contains("1 sagas of journey wait for a person"),
            "{doctor}"
        );
        let again = sluice_on(&stage.broker, &cancel).await?;
        again.refused(1, &["is parked", "only one that runs"])?;
        // It does not work the second time either, until it is told to.
        sluice_on(&stage.broker, &retry).await?.ok()?;
        is(&stage.broker, &plan.key, "parked").await?;
        stage.host.stop().await?;
        stage
            .host
            .reconfigure("[plugin.journey.config]\nworks = \"yes\"\n")?;
        stage.host.start().await?;
        sluice_on(&stage.broker, &retry).await?.ok()?;
        is(&stage.broker, &plan.key, "compensated").await?;
        carried_over(&stage).await?;
        let did = deeds(&stage.jetstream).await?;
        let done = (0..4).map(Deed::Did);
        let expected: Vec<Deed> = done.chain((0..4).rev().map(Deed::Undid)).collect();
        ensure!(did.get(&plan.key) == Some(&expected), "{did:?}");
        let audit = sluice_on(&stage.broker, &["audit", "--json"])
            .await?
            .ok()?
            .stdout;
        for deed in ["cancel-saga", "retry-saga", "the customer called"] {
            ensure!(audit.contains(deed), "{deed} is not in {audit}");
        }
        let told = sluice_on(&stage.broker, &[&["sagas", "show"][..], &one].concat())
            .await?
            .ok()?;
        for part in [
            "compensated",
            "cancelled",
            "waits for a person",
            "retried",
            "undid",
        ] {
            ensure!(
                told.stdout.contains(part),
                "{part} is not in {}",
                told.stdout
            );
        }
        let listed =
            sluice_on(&stage.broker, &["sagas", "list", "--status", "compensated"]).await?;
        ensure!(
            listed.ok()?.stdout.contains("journey/1"),
            "it is not listed"
        );
        Ok(())
    })
}

#[test]
fn what_begins_no_saga_leaves_none_and_what_cannot_is_a_dead_letter() -> Result<()> {
    within(120, async {
        let stage = stage(&[("key = \"partitionkey\"", "key = \"data:/order\"")]).await?;
        let planned = |id: &str, data: Value| event("planned", id, id, data);
        let inputs = [
            planned("not-meant", json!({ "plan": "-", "order": "A" })),
            planned("keyless", json!({ "plan": "s" })),
            planned("number", json!({ "plan": "sh", "order": 4711 })),
            // It runs already: this is of no interest, and that is not waited for.
            planned("again", json!({ "plan": "s", "order": 4711 })),
            event("go", "go", "4711", json!({ "order": 4711 })),
            planned("traps", json!({ "order": "B" })),
        ];
        publish(&stage.jetstream, &inputs).await?;
        let letters = wait_dead_letters(&stage.jetstream, 2, 60).await?;
        let mut errors = Vec::new();
        for letter in &letters {
            errors.push(letter.header("Sluice-Error")?.to_owned());
        }
        ensure!(
            errors
                .iter()
                .any(|error| error.contains("no key of one in data:/order")),
            "{errors:?}"
        );
        let saga = is(&stage.broker, "4711", "running").await?;
        let kinds = until("the second event", 30, async || {
            let said = show(&stage.broker, "4711").await?.ok()?.json()?;
            let timeline = said
                .get("timeline")
                .and_then(Value::as_array)
                .context("none")?;
            let kinds: Vec<String> = timeline
                .iter()
                .map(|entry| {
                    entry
                        .get("what")
                        .map(ToString::to_string)
                        .unwrap_or_default()
                })
                .collect();
            ensure!(kinds.iter().any(|kind| kind.contains("early")), "{kinds:?}");
            Ok(kinds)
        })
        .await?;
        ensure!(
            kinds.first().is_some_and(|kind| kind.contains("began")),
            "{saga}"
        );
        let found = statuses(&stage.broker).await?;
        ensure!(found.len() == 1, "{found:?}");
        let none = show(&stage.broker, "A").await?;
        none.refused(1, &["has no saga \"A\"", "sluice sagas list journey"])?;
        Ok(())
    })
}

#[test]
fn one_that_has_ended_is_forgotten_after_its_time() -> Result<()> {
    within(90, async {
        let stage = stage(&[("keep = \"1h\"", "keep = \"3s\"\nagain = true")]).await?;
        let plan = Plan::new("journey/1", "s");
        let done = async |expected: &[Deed]| {
            until(&format!("{expected:?}"), 30, async || {
                let did = deeds(&stage.jetstream).await?;
                let did = did.get(&plan.key).map(Vec::as_slice).unwrap_or_default();
                ensure!(did == expected, "{did:?}");
                Ok(())
            })
            .await
        };
        publish(&stage.jetstream, &[plan.event()]).await?;
        done(&[Deed::Did(0)]).await?;
        // Another one begins after it, while it is remembered or when it is not any more.
        for (n, letters) in ["ss", "s"].into_iter().enumerate() {
            stage.host.settled("journey", 30).await?;
            let again = json!({ "plan": letters });
            let again = event("planned", &format!("again-{n}"), &plan.key, again);
            publish(&stage.jetstream, &[again]).await?;
            let second = [Deed::Did(0), Deed::Did(0), Deed::Did(1)];
            match n {
                0 => done(&second).await?,
                _ => done(&[&second[..], &[Deed::Did(0)]].concat()).await?,
            }
            until("it to be forgotten", 30, async || {
                let found = statuses(&stage.broker).await?;
                ensure!(found.is_empty(), "{found:?}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
}
