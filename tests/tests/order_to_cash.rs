//! Promise: the example saga keeps its word. From the won opportunity to the invoice every command is
//! sent once, and what one refuses is undone in reverse, with `kill -9` at every step.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::events::{Input, publish, slot};
use sluicegate_tests::outputs::stored;
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::{Broker, Setup, Source, Stage, environment, until, within};

const OPPORTUNITY: &str = "7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05";
/// Commands, and their answers.
const STEPS: [(&str, &str, &str); 3] = [
    (
        "salesorder.create",
        "salesorder.created",
        "salesorder.cancel",
    ),
    ("credit.reserve", "credit.reserved", "credit.release"),
    ("invoice.post", "invoice.posted", "invoice.void"),
];

/// The body that Dataverse sends when the opportunity is won, with another record id.
fn won(id: &str) -> Result<String> {
    let file = format!(
        "{}/../plugins/order-to-cash/events/2-won.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let body = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    ensure!(
        body.contains(OPPORTUNITY),
        "{file} is of another opportunity"
    );
    Ok(body.replace(OPPORTUNITY, id))
}

fn answer(kind: &str, key: &str, body: Value) -> Input {
    let mut input = Input::with_data(format!("{kind}-{key}"), key, 0, body);
    let event_type = format!("d365.custom.{kind}");
    input.message.headers.insert("ce-type", event_type.as_str());
    input.message.subject = format!("d365.custom.contoso.business.{kind}.{}", slot(key));
    input
}

/// The commands for one opportunity, in their order.
async fn commands(stage: &Stage, key: &str) -> Result<Vec<String>> {
    let mut commands = Vec::new();
    for event in stored(&stage.jetstream, "EVENTS", "d365.custom.contoso.business.>").await? {
        let kind = event.attribute("type")?;
        let name = kind.trim_start_matches("d365.custom.").to_owned();
        let is_command = STEPS
            .iter()
            .any(|(ask, _, undo)| [*ask, *undo].contains(&name.as_str()));
        if is_command && event.attribute("partitionkey")? == key {
            commands.push(name);
        }
    }
    Ok(commands)
}

/// Waits until these are the commands.
async fn asked(stage: &Stage, key: &str, expected: &[&str]) -> Result<()> {
    until(&format!("{expected:?} for {key}"), 60, async || {
        let found = commands(stage, key).await?;
        ensure!(found == expected, "{found:?}");
        Ok(())
    })
    .await
}

async fn status(stage: &Stage, key: &str) -> Result<String> {
    let said = sluice_on(
        &stage.broker,
        &["sagas", "show", "order-to-cash", key, "--json"],
    )
    .await?;
    let said = said.ok()?.json()?;
    let status = said.get("status").and_then(Value::as_str);
    Ok(status.context("no status")?.to_owned())
}

#[test]
fn every_command_is_sent_once_and_undone_in_reverse_with_kill_9_at_every_step() -> Result<()> {
    within(240, async {
        let broker = Broker::start().await?;
        let source = Source::new("dataverse", "contoso").open();
        let plugin = std::fs::read(environment::plugin("order-to-cash")?)?;
        let setup = Setup::new(broker.url())
            .source(&source)
            .file("order-to-cash.wasm", plugin);
        let mut stage = Stage::of(broker, setup).await?;
        // Which command is refused; none for the last.
        for refused in 0..=STEPS.len() {
            let id = OPPORTUNITY.replace("3c05", &format!("000{refused}"));
            let key = format!("opportunity/{id}");
            let taken = stage.host.gateway().ask(&source.json(won(&id)?)).await?;
            ensure!(taken.status == 202, "{taken:?}");
            let mut expected = Vec::new();
            for (step, (ask, answered, _)) in STEPS.iter().enumerate() {
                stage.host.kill9();
                stage.host.start().await?;
                expected.push(*ask);
                asked(&stage, &key, &expected).await?;
                if step == refused {
                    let kind = format!("{}.refused", ask.split('.').next().unwrap_or_default());
                    let reason = json!({ "opportunity": key, "reason": "no" });
                    publish(&stage.jetstream, &[answer(&kind, &key, reason)]).await?;
                    break;
                }
                let number = json!({ "opportunity": key, "number": format!("N-{step}") });
                publish(&stage.jetstream, &[answer(answered, &key, number)]).await?;
            }
            stage.host.kill9();
            stage.host.start().await?;
            let undone = STEPS
                .iter()
                .take(refused + 1)
                .rev()
                .map(|(_, _, undo)| *undo);
            if refused < STEPS.len() {
                expected.extend(undone);
            }
            asked(&stage, &key, &expected).await?;
            let wanted = if refused < STEPS.len() {
                "compensated"
            } else {
                "done"
            };
            until("the saga to end", 30, async || {
                let is = status(&stage, &key).await?;
                ensure!(is == wanted, "{is}");
                Ok(())
            })
            .await?;
            // Nothing more came of it.
            let found = commands(&stage, &key).await?;
            ensure!(found == expected, "{found:?}");
        }
        Ok(())
    })
}
