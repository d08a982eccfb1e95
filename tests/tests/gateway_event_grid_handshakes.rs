//! Promise: Event Grid's two handshakes are answered: for every subscription and origin that the
//! operator named, and for nobody else.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::{Answer, Gateway, Request, Source, Stage, environment, within};

const CODE: &str = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6";
const SCHEMA: &str = "application/json; charset=utf-8";

fn open() -> Source {
    Source::new("eventgrid", "contoso")
}

fn named() -> Source {
    Source::new("eventgrid", "named")
        .with("subscriptions = [\"contoso-orders\", \"contoso-more\"]")
        .with("origins = [\"eventgrid.azure.net\"]")
}

/// An event of Event Grid's own schema.
fn grid(id: &str, kind: &str, data: Value) -> Value {
    json!({
        "id": id, "topic": "/subscriptions/1/resourceGroups/x", "subject": "orders/7",
        "eventType": kind, "eventTime": "2026-01-28T09:25:05.1234567Z", "data": data,
        "dataVersion": "1", "metadataVersion": "1",
    })
}

fn validation(source: &Source, subscription: Option<&str>) -> Request {
    let data = json!({ "validationCode": CODE, "validationUrl": "https://example.com/validate" });
    let event = grid("v", "Microsoft.EventGrid.SubscriptionValidationEvent", data);
    let request = source
        .post(SCHEMA, json!([event]).to_string())
        .header("aeg-event-type", "SubscriptionValidation");
    match subscription {
        Some(name) => request.header("aeg-subscription-name", name),
        None => request,
    }
}

fn options(source: &Source, origin: Option<&str>) -> Request {
    let request = source.request("OPTIONS");
    match origin {
        Some(origin) => request.header("WebHook-Request-Origin", origin),
        None => request,
    }
}

async fn validated(gateway: Gateway, request: &Request) -> Result<()> {
    let told = gateway.ask(request).await?.of(200)?.json()?;
    ensure!(told == json!({ "validationResponse": CODE }), "{told}");
    Ok(())
}

#[test]
fn a_subscription_is_validated_if_it_is_named() -> Result<()> {
    within(60, async {
        let (open, named) = (open(), named());
        let stage = Stage::taking(&[&open, &named]).await?;
        let gateway = stage.host.gateway();
        validated(gateway, &validation(&open, None)).await?;
        validated(gateway, &validation(&open, Some("ANY"))).await?;
        validated(gateway, &validation(&named, Some("contoso-orders"))).await?;
        // Event Grid sends the names in upper case.
        validated(gateway, &validation(&named, Some("CONTOSO-MORE"))).await?;
        for subscription in [
            None,
            Some(""),
            Some("contoso"),
            Some("contoso-orders2"),
            Some("x"),
        ] {
            let answer = gateway.ask(&validation(&named, subscription)).await?;
            let said = answer.text();
            answer
                .problem(403)
                .with_context(|| format!("{subscription:?}"))?;
            ensure!(!said.contains(CODE), "{subscription:?}: {said}");
        }
        for stranger in [open.clone().keyed("wrong"), named.clone().keyed(open.key())] {
            let answer = gateway
                .ask(&validation(&stranger, Some("contoso-orders")))
                .await?;
            let said = answer.text();
            answer.problem(401)?;
            ensure!(!said.contains(CODE), "{said}");
        }
        ensure!(stage.events().await? == 0, "a handshake is no event");

        // The vendor's own sample, where it is there.
        let Some(folder) = environment::fixtures() else {
            eprintln!("skipped: no folder of public samples");
            return Ok(());
        };
        let file = |name: &str| std::fs::read(folder.join(name));
        let sample = file("eventgrid-eg-subscription-validation.json")?;
        let expected = file("eventgrid-eg-subscription-validation.response.json")?;
        let told = gateway
            .ask(&open.post(SCHEMA, sample))
            .await?
            .of(200)?
            .json()?;
        ensure!(
            told == serde_json::from_slice::<Value>(&expected)?,
            "{told}"
        );
        Ok(())
    })
}

#[test]
fn a_validation_is_a_lone_event_with_a_code() -> Result<()> {
    within(60, async {
        let source = open();
        let stage = Stage::taking(&[&source]).await?;
        let gateway = stage.host.gateway();
        let event = |data| grid("v", "Microsoft.EventGrid.SubscriptionValidationEvent", data);
        let code = || event(json!({ "validationCode": CODE }));
        // As a single object: some senders unwrap it. An answer, whichever, and no crash.
        let lone = gateway
            .ask(&source.post(SCHEMA, code().to_string()))
            .await?;
        ensure!(matches!(lone.status, 200 | 202), "{lone:?}");
        for data in [
            json!({}),
            json!(null),
            json!({ "validationCode": 7 }),
            json!("x"),
        ] {
            let answer = gateway
                .ask(&source.post(SCHEMA, json!([event(data)]).to_string()))
                .await?;
            ensure!(matches!(answer.status, 202 | 400), "{answer:?}");
        }
        // Hidden among deliveries it opens nothing, and costs none of them.
        let before = stage.events().await?;
        let mixed = json!([grid("o", "Contoso.Order.Placed", json!({})), code()]);
        let answer = gateway.ask(&source.post(SCHEMA, mixed.to_string())).await?;
        ensure!(
            answer.status / 100 != 2 || before < stage.events().await?,
            "the order beside it was lost: {answer:?}"
        );
        ensure!(
            !answer.text().contains("validationResponse"),
            "{}",
            answer.text()
        );
        Ok(())
    })
}

#[test]
fn the_webhook_handshake_names_origin_and_rate() -> Result<()> {
    within(60, async {
        let (open, named) = (open(), named());
        let stage = Stage::taking(&[&open, &named]).await?;
        let gateway = stage.host.gateway();
        let allowed = |answer: &Answer, origin: &str| {
            let allow = answer.header("allow").unwrap_or_default();
            let found = answer.header("webhook-allowed-origin");
            ensure!(found == Some(origin) || found == Some("*"), "{answer:?}");
            ensure!(
                allow.contains("POST") && allow.contains("OPTIONS"),
                "{answer:?}"
            );
            Ok(())
        };
        for source in [&open, &named] {
            let request = options(source, Some("eventgrid.azure.net"));
            let answer = gateway.ask(&request).await?.of(200)?;
            allowed(&answer, "eventgrid.azure.net")?;
            let rated = request.header("WebHook-Request-Rate", "120");
            let answer = gateway.ask(&rated).await?.of(200)?;
            allowed(&answer, "eventgrid.azure.net")?;
            ensure!(
                answer.header("webhook-allowed-rate") == Some("*"),
                "{answer:?}"
            );
        }
        let answer = gateway
            .ask(&options(&open, Some("elsewhere.example")))
            .await?
            .of(200)?;
        allowed(&answer, "elsewhere.example")?;
        for origin in [
            Some("elsewhere.example"),
            Some("eventgrid.azure.net.evil"),
            Some(""),
        ] {
            let answer = gateway.ask(&options(&named, origin)).await?;
            ensure!(
                answer.header("webhook-allowed-origin").is_none(),
                "{origin:?}: {answer:?}"
            );
            ensure!(matches!(answer.status, 400 | 403), "{origin:?}: {answer:?}");
            answer.clone().problem(answer.status)?;
        }
        // Who asks for nobody is told what the path takes, and no more.
        let answer = gateway.ask(&options(&named, None)).await?;
        ensure!(
            answer.header("webhook-allowed-origin").is_none(),
            "{answer:?}"
        );
        let answer = gateway
            .ask(&options(
                &named.clone().keyed("x"),
                Some("eventgrid.azure.net"),
            ))
            .await?;
        ensure!(
            answer.header("webhook-allowed-origin").is_none(),
            "{answer:?}"
        );
        answer.problem(401)?;
        Ok(())
    })
}
