//! Promise: every 2xx is in the stream, once; whatever is done to the broker under full traffic.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sluicegate_tests::bodies::output;
use sluicegate_tests::outputs::{Echo, stored};
use sluicegate_tests::traffic::Traffic;
use sluicegate_tests::{Broker, Source, Stage, environment, until, within};
use tokio::time::sleep;

/// What is stored of the traffic, in stream order.
async fn outputs(stage: &Stage) -> Result<Vec<Echo>> {
    let stored = stored(&stage.jetstream, "EVENTS", "d365.dataverse.>").await?;
    stored.iter().map(output).collect()
}

/// Kills the broker and brings it back, again and again.
async fn kill(broker: &mut Broker, kills: usize, random: &mut StdRng) -> Result<()> {
    for _ in 0..kills {
        sleep(Duration::from_millis(random.random_range(700..1_800))).await;
        broker.kill9();
        sleep(Duration::from_millis(random.random_range(0..600))).await;
        broker.restart().await?;
    }
    Ok(())
}

/// So many that the rate holds while each waits a second for its 503.
const SENDERS: u64 = 250;

/// 500 posts a second, while the broker is killed.
async fn under_kills(name: &str, retry: bool) -> Result<()> {
    let (seconds, kills) = if environment::long() {
        (180, 60)
    } else {
        (8, 3)
    };
    let seed = environment::seed()?;
    let source = Source::new("dataverse", "contoso");
    let mut stage = Stage::taking(&[&source]).await?;
    let traffic = Traffic {
        gateway: stage.host.gateway(),
        source,
        senders: SENDERS,
        per_second: 500,
        each: 500 * seconds / SENDERS,
        retry,
    };
    let mut random = StdRng::seed_from_u64(seed);
    let (posted, killed) = tokio::join!(traffic.run(), kill(&mut stage.broker, kills, &mut random));
    killed?;
    let posted = posted?;
    // The last posts without an answer 202 may be on their way still.
    stage.host.wait_ready(30).await?;
    let found = until("the stream to be readable", 20, async || {
        outputs(&stage).await
    })
    .await?;
    let (verdict, beyond) = posted.judge(&found)?;
    let told = posted.told_of_stored(&found);
    eprintln!("stored without a 202: {told:?}");
    environment::write_figures(name, &posted.figures(&verdict, beyond, kills))?;
    ensure!(
        0 < posted.answered(503),
        "no kill fell into work: this run proves nothing"
    );
    ensure!(
        posted.slowest < Duration::from_secs(3),
        "an answer took {:?}",
        posted.slowest
    );
    ensure!(
        posted.answered(0) == 0,
        "a connection broke: the gateway was there all the time"
    );
    if retry {
        ensure!(
            posted.accepted.len() == posted.inputs.len() && beyond == 0,
            "all were to be taken in the end"
        );
    } else {
        // Whoever does not post again has to be told the truth: what is stored without a 202
        // was sent to the broker, and nobody knew what became of it.
        let false_words = told.keys().find(|told| !told.contains("did not answer"));
        ensure!(
            false_words.is_none(),
            "stored, though the sender was told that it was not sent: {told:?}"
        );
    }
    Ok(())
}

#[test]
fn senders_that_try_again_get_everything_in_once() -> Result<()> {
    within(420, under_kills("gateway_loses_nothing", true))
}

#[test]
fn senders_that_do_not_try_again_know_what_is_in() -> Result<()> {
    within(
        420,
        under_kills("gateway_loses_nothing_without_retries", false),
    )
}

#[test]
fn a_gateway_that_is_killed_keeps_what_it_answered() -> Result<()> {
    within(170, async {
        let source = Source::new("dataverse", "contoso");
        let mut stage = Stage::taking(&[&source]).await?;
        let traffic = Traffic {
            gateway: stage.host.gateway(),
            source,
            senders: 20,
            per_second: 400,
            each: 150,
            retry: true,
        };
        let kills = async {
            for _ in 0..3 {
                sleep(Duration::from_millis(1_500)).await;
                stage.host.kill9();
                stage.host.start().await?;
            }
            anyhow::Ok(())
        };
        let (posted, killed) = tokio::join!(traffic.run(), kills);
        killed?;
        let posted = posted?;
        ensure!(0 < posted.answered(0), "no kill fell into work");
        let (_, beyond) = posted.judge(&outputs(&stage).await?)?;
        ensure!(
            posted.accepted.len() == posted.inputs.len() && beyond == 0,
            "{beyond}"
        );
        Ok(())
    })
}
