//! Takes nothing, gives a small company's system with a console to look at: plug-ins, events, dead letters.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::component::with_words;
use crate::environment::{self, outsider};
use crate::events::{Message, publish_messages};
use crate::gateway::Source;
use crate::journeys::{self, Plan};
use crate::outputs::{count, wait_dead_letters};
use crate::setup::Setup;
use crate::stage::Stage;
use crate::wait::until;

/// Dead letters of the plug-in `mendable`.
pub const MENDABLE: usize = 40;
/// Orders, each with an invoice in the end.
const ORDERS: u8 = 3;
const INVOICES: &str = "d365.custom.test.business.invoice.raised.*";
/// Those of `decide`: three accounts over their limit.
const OVER: [(&str, u64); 3] = [("A-17", 90_000), ("B-4", 75_000), ("C-9", 1_000_000)];
/// A browser's test is over by then.
const PATIENCE: Duration = Duration::from_secs(150);

/// Sources of three kinds and five plug-ins: an order goes through three of them. `more` is
/// what the test wants besides.
///
/// # Errors
/// When it does not come up.
pub async fn company(more: impl FnOnce(Setup) -> Setup) -> Result<Stage> {
    let broker = Broker::start().await?;
    let relay = std::fs::read(environment::guest("relay")?)?;
    let warehouse = [
        ("\"relay\"", "\"warehouse\""),
        (
            "d365.custom.test.business.order.placed",
            "d365.custom.*.business.order.raised",
        ),
        ("echo.raised", "shipment.raised"),
        ("attempt = \"1\"", "attempt = \"2\""),
    ];
    let billing = [
        ("\"relay\"", "\"billing\""),
        ("order.placed", "shipment.raised"),
        ("echo.raised", "invoice.raised"),
    ];
    let both = "d365.custom.test.record.account.*\", \"d365.custom.test.business.account.*";
    let decide = [("d365.custom.test.record.*.*", both)];
    let mendable = [("record.*.*", "record.thing.*")];
    let guest = |name: &str, changes: &[(&str, &str)]| {
        with_words(&std::fs::read(environment::guest(name)?)?, changes)
    };
    let mirror = std::fs::read(environment::plugin("order-mirror")?)?;
    let setup = Setup::new(broker.url())
        .source(&Source::new("fno", "contoso").open())
        .source(&Source::new("dataverse", "contoso").open())
        .source(&Source::new("cloudevents", "test").open())
        .file("order-mirror.wasm", mirror)
        .file("warehouse.wasm", with_words(&relay, &warehouse)?)
        .file("billing.wasm", with_words(&relay, &billing)?)
        .file("decide.wasm", guest("decide", &decide)?)
        .file("journey.wasm", journeys::guest(&[])?)
        .file("mendable.wasm", guest("mendable", &mendable)?);
    Stage::of(broker, more(setup)).await
}

/// Has happen what a console is looked at for: orders, accounts, and dead letters of two kinds.
///
/// # Errors
/// When it does not happen.
pub async fn play(stage: &Stage) -> Result<()> {
    for number in 1..=ORDERS {
        order(stage, number.into()).await?;
    }
    let accounts = OVER.into_iter().chain([("D-1", 100), ("E-2", 200)]);
    let accounts = accounts.map(|(number, limit)| {
        let data = json!({ "accountnumber": number, "creditlimit": limit, "name": "Contoso" });
        event(
            "account",
            number,
            &format!("account/{number}"),
            &data.to_string(),
        )
    });
    let things = (0..MENDABLE).map(|n| {
        let (id, key) = (format!("thing-{n}"), format!("thing/{}", n % 7));
        event("thing", &id, &key, &json!({ "n": n }).to_string())
    });
    // A saga that waits for a person, and one that waits for an event.
    let sagas = [
        Plan::new("journey/parked", "sPj"),
        Plan::new("journey/waits", "sh"),
    ];
    let sagas = sagas.iter().map(|plan| plan.event().message);
    let messages: Vec<Message> = accounts.chain(things).chain(sagas).collect();
    publish_messages(&stage.jetstream, &messages).await?;
    wait_dead_letters(&stage.jetstream, MENDABLE + OVER.len(), 60).await?;
    // Each order has passed three plug-ins: what a gauge says is ahead of the commit.
    until("the invoices of all orders", 60, async || {
        let found = count(&stage.jetstream, "EVENTS", INVOICES).await?;
        ensure!(found == usize::from(ORDERS), "{found} invoices");
        Ok(())
    })
    .await?;
    for plugin in ["order-mirror", "warehouse", "billing", "decide", "mendable"] {
        stage.host.settled(plugin, 40).await?;
    }
    Ok(())
}

/// One order after the other, for as long as it is let.
///
/// # Errors
/// When one is not taken.
pub async fn trickle(stage: &Stage) -> Result<()> {
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    for number in 100.. {
        pace.tick().await;
        order(stage, number).await?;
    }
    Ok(())
}

/// An order is confirmed in Finance & Operations.
async fn order(stage: &Stage, number: u64) -> Result<()> {
    let body = json!({
        "BusinessEventId": "SalesOrderConfirmedBusinessEvent",
        "BusinessEventLegalEntity": "USMF",
        "ContextRecordSubject": format!("SO-{number}"),
        "ControlNumber": 5_637_144_576_u64 + number,
        "EventId": format!("00000000-0000-4000-8000-{number:012}"),
        "EventTimeIso8601": chrono::Utc::now().to_rfc3339(),
        "MajorVersion": 0, "MinorVersion": 0,
        "SalesOrderNumber": format!("SO-{number}"),
        "CustomerAccount": "US-001", "OrderAmount": 1_250.5, "CurrencyCode": "USD",
    });
    let source = Source::new("fno", "contoso").open();
    let answer = stage
        .host
        .gateway()
        .ask(&source.json(body.to_string()))
        .await?;
    ensure!(answer.status == 202, "{answer:?}");
    Ok(())
}

/// An event of a record, its time now.
fn event(table: &str, id: &str, key: &str, data: &str) -> Message {
    let mut headers = async_nats::HeaderMap::new();
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let kind = format!("d365.custom.{table}.update");
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", "/dataverse/contoso"),
        ("ce-type", kind.as_str()),
        ("ce-time", now.as_str()),
        ("ce-partitionkey", key),
        ("ce-datacontenttype", "application/json"),
    ] {
        headers.insert(name, value);
    }
    Message {
        subject: crate::events::subject(table, key),
        headers,
        body: data.to_owned().into(),
    }
}

/// Runs one file of `tests/browser` on the host's console; `None` where there is no browser.
///
/// # Errors
/// What the file says when something is not as it should be.
pub async fn browse(stage: &Stage, file: &str, more: &[(&str, &str)]) -> Result<Option<String>> {
    let found = outsider("SLUICE_CHROMIUM").zip(outsider("SLUICE_PLAYWRIGHT"));
    let Some((chromium, playwright)) = found else {
        return Ok(None);
    };
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("browser")
        .join(file);
    let gateway = format!(
        "http://127.0.0.1:{}/cloudevents/test",
        stage.host.gateway().port()
    );
    let mut node = tokio::process::Command::new("node");
    node.arg(source)
        .env("SLUICE_CHROMIUM", chromium)
        .env("SLUICE_PLAYWRIGHT", playwright)
        .env(
            "CONSOLE_URL",
            format!("http://127.0.0.1:{}", stage.host.admin_port()),
        )
        .env("GATEWAY_URL", gateway)
        .envs(more.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = timeout(PATIENCE, node.output()).await;
    let ended = ended.with_context(|| format!("{file} was not done in {PATIENCE:?}"))??;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let complained = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{file}: {said}{complained}");
    ensure!(
        said.contains("done: "),
        "{file} did not come to its end: {said}{complained}"
    );
    Ok(Some(said))
}
