//! Promise: a plug-in reaches the origins that it was granted and nothing else, in bounded time
//! and size, with a credential that it never sees.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use sluicegate_tests::component::{manifest, with_manifest};
use sluicegate_tests::dataverse::{CLIENT_ID, CLIENT_SECRET, Dataverse};
use sluicegate_tests::events::publish;
use sluicegate_tests::outputs::{ECHOES, stored, wait_dead_letters, wait_echoes};
use sluicegate_tests::tls::Identity;
use sluicegate_tests::{Broker, Input, Setup, Stage, environment, within};
use tokio::time::Instant;

/// What the guest tells of a request.
#[derive(Debug, Clone, Deserialize)]
struct Report {
    input: String,
    status: Option<u16>,
    retry_after: Option<String>,
    body: Option<String>,
    error: Option<String>,
}

struct Scene {
    stage: Stage,
    server: Dataverse,
}

/// Where the guest may go, and what the operator says.
#[derive(Default)]
struct Words<'a> {
    /// `calls` when nothing is said.
    guest: Option<&'a str>,
    /// Beside the server's own origin.
    grants: &'a [&'a str],
    /// Of the manifest.
    more: &'a str,
    /// Of `sluice.toml`; `{origin}` is the server's.
    operator: &'a str,
}

impl Scene {
    async fn of(words: &Words<'_>) -> Result<Self> {
        let identity = Identity::of(&["localhost"])?;
        let server = Dataverse::start(&identity, "https://127.0.0.1:1/elsewhere").await?;
        let component = std::fs::read(environment::guest(words.guest.unwrap_or("calls"))?)?;
        let mut grants = vec![server.origin()];
        let port = server.port.to_string();
        grants.extend(
            words
                .grants
                .iter()
                .map(|grant| grant.replace("{port}", &port)),
        );
        let granted = format!("http = {grants:?}\n{}", words.more);
        let text = manifest(&component)?.replace("http = [\"https://localhost:1\"]", &granted);
        let broker = Broker::start().await?;
        let operator = words.operator.replace("{origin}", &server.origin());
        let setup = Setup::new(broker.url())
            .file("calls.wasm", with_manifest(&component, &text)?)
            .beside("ca.pem", identity.cert.as_bytes())
            .variable("CRM_SECRET", CLIENT_SECRET)
            .variable("CRM_KEY", "k3y")
            .with(&format!("[http]\nca = \"ca.pem\"\n{operator}"));
        let stage = Stage::of(broker, setup).await?;
        Ok(Self { stage, server })
    }

    /// Has the guest send one request for each, and gives what it told of them.
    async fn call(&self, calls: &[Value]) -> Result<Vec<Report>> {
        let before = stored(&self.stage.jetstream, "EVENTS", ECHOES).await?.len();
        let inputs: Vec<Input> = calls
            .iter()
            .enumerate()
            .map(|(n, call)| {
                Input::with_data(format!("c{before}-{n}"), format!("k{n}"), 0, call.clone())
            })
            .collect();
        publish(&self.stage.jetstream, &inputs).await?;
        wait_echoes(&self.stage.jetstream, before + inputs.len(), 40).await?;
        let outputs = stored(&self.stage.jetstream, "EVENTS", ECHOES).await?;
        let mut reports = BTreeMap::new();
        for output in outputs.iter().skip(before) {
            let report: Report = serde_json::from_slice(&output.body)?;
            reports.insert(report.input.clone(), report);
        }
        inputs
            .iter()
            .map(|input| reports.remove(&input.id).context("no report"))
            .collect()
    }

    fn get(&self, path: &str) -> Value {
        json!({ "url": format!("{}{path}", self.server.origin()) })
    }
}

const OAUTH: &str = "[secret.crm]\norigin = \"{origin}\"\ntoken_url = \"{origin}/token\"\n\
                     client_id = \"00000000-1111-2222-3333-444444444444\"\n\
                     client_secret = \"${CRM_SECRET}\"\n";

#[test]
fn a_granted_origin_is_reached_and_answers() -> Result<()> {
    within(90, async {
        let scene = Scene::of(&Words::default()).await?;
        let post = json!({
            "url": format!("{}/api/accounts?x=1", scene.server.origin()),
            "method": "POST", "body": "a body ".repeat(5_000), "authorization": "own",
        });
        let [get, post, limited] = scene
            .call(&[scene.get("/api/accounts"), post, scene.get("/api/limited")])
            .await?
            .try_into()
            .map_err(|_| anyhow::anyhow!("three reports"))?;
        ensure!(get.status == Some(200), "{get:?}");
        ensure!(
            get.body.as_deref() == Some("/api/accounts as \"\": "),
            "{get:?}"
        );
        ensure!(post.status == Some(200), "{post:?}");
        ensure!(limited.status == Some(429), "{limited:?}");
        ensure!(limited.retry_after.as_deref() == Some("2"), "{limited:?}");
        let seen = scene.server.seen();
        let seen = seen.iter().find(|seen| seen.line == "POST /api/accounts");
        let seen = seen.context("no POST")?;
        ensure!(
            seen.body == "a body ".repeat(5_000),
            "{} bytes",
            seen.body.len()
        );
        let host = seen.headers.get("host").context("no host")?.to_str()?;
        ensure!(host == format!("localhost:{}", scene.server.port), "{host}");
        Ok(())
    })
}

#[test]
fn nothing_else_is_reached() -> Result<()> {
    within(120, async {
        let elsewhere = Dataverse::start(&Identity::of(&["localhost", "127.0.0.1"])?, "/").await?;
        let words = Words {
            grants: &["https://granted.test/api"],
            ..Words::default()
        };
        let scene = Scene::of(&words).await?;
        let (own, other) = (scene.server.port, elsewhere.port);
        let to = |url: String| json!({ "url": url });
        let calls = [
            to(format!("https://localhost:{other}/")),
            to(format!("http://localhost:{own}/")),
            to(format!("https://127.0.0.1:{own}/")),
            to(format!("https://[::1]:{own}/")),
            to(format!("https://localhost:{own}@127.0.0.1:{other}/")),
            to(format!("https://localhost.:{own}/")),
            to("https://granted.test/other".to_owned()),
            to("https://granted.test/api/../other".to_owned()),
            to("http://169.254.169.254/latest/meta-data/".to_owned()),
            to(format!("ftp://localhost:{own}/")),
            json!({ "url": format!("{}/api/redirect", scene.server.origin()), "follow": true }),
        ];
        for report in scene.call(&calls).await? {
            let error = report.error.as_deref().unwrap_or_default();
            let refused = [
                "HttpRequestDenied",
                "HttpRequestUriInvalid",
                "HttpProtocolError",
                "described",
            ];
            ensure!(
                refused.iter().any(|word| error.contains(word)),
                "{report:?}"
            );
        }
        ensure!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
        let lines: Vec<String> = scene
            .server
            .seen()
            .into_iter()
            .map(|seen| seen.line)
            .collect();
        ensure!(lines == ["GET /api/redirect"], "{lines:?}");
        scene
            .stage
            .host
            .wait_log(&["WARN", "request refused", "https://127.0.0.1:1"], 10)
            .await?;
        Ok(())
    })
}

#[test]
fn a_certificate_that_is_wrong_ends_the_request() -> Result<()> {
    within(90, async {
        let unknown = Dataverse::start(&Identity::of(&["localhost"])?, "/").await?;
        let origin = unknown.origin();
        let own = format!("https://127.0.0.1:{}", unknown.port);
        let words = Words {
            grants: &[&origin, &own],
            ..Words::default()
        };
        let scene = Scene::of(&words).await?;
        let calls = [&origin, &own].map(|origin| json!({ "url": format!("{origin}/api/x") }));
        for report in scene.call(&calls).await? {
            let error = report.error.as_deref().unwrap_or_default();
            ensure!(error.contains("TlsCertificateError"), "{report:?}");
        }
        ensure!(unknown.seen().is_empty(), "{:?}", unknown.seen());
        // Of an authority that is trusted, but for another name.
        let words = Words {
            grants: &["https://127.0.0.1:{port}"],
            ..Words::default()
        };
        let scene = Scene::of(&words).await?;
        let other = json!({ "url": format!("https://127.0.0.1:{}/api/x", scene.server.port) });
        let [right, wrong] = scene
            .call(&[scene.get("/api/x"), other])
            .await?
            .try_into()
            .map_err(|_| anyhow::anyhow!("two reports"))?;
        ensure!(right.status == Some(200), "{right:?}");
        let error = wrong.error.as_deref().unwrap_or_default();
        ensure!(error.contains("TlsCertificateError"), "{wrong:?}");
        ensure!(scene.server.seen().len() == 1, "{:?}", scene.server.seen());
        Ok(())
    })
}

#[test]
fn a_token_is_had_once_and_never_shown_to_the_plug_in() -> Result<()> {
    within(90, async {
        let words = Words {
            more: "secrets = [\"crm\"]",
            operator: OAUTH,
            ..Words::default()
        };
        let scene = Scene::of(&words).await?;
        ensure!(OAUTH.contains(CLIENT_ID), "the same id");
        let mut calls = vec![scene.get("/api/accounts"); 10];
        // What the guest says of itself makes way.
        calls.push(json!({
            "url": format!("{}/api/accounts", scene.server.origin()), "authorization": "Bearer mine",
        }));
        scene.call(&calls).await?;
        ensure!(
            scene.server.tokens() == 1,
            "{} tokens",
            scene.server.tokens()
        );
        let seen = scene.server.seen();
        let api = seen.iter().filter(|seen| seen.line == "GET /api/accounts");
        let tokens: Vec<&str> = api
            .filter_map(|seen| seen.headers.get("authorization")?.to_str().ok())
            .collect();
        ensure!(tokens == vec!["Bearer token-1"; 11], "{tokens:?}");
        // One that is not taken any more is let go of: the next request has a new one.
        let expired = scene.get("/api/expired");
        let first = scene.call(std::slice::from_ref(&expired)).await?;
        ensure!(
            first.iter().all(|report| report.status == Some(401)),
            "{first:?}"
        );
        let mut second = expired;
        second
            .as_object_mut()
            .context("an object")?
            .insert("times".into(), json!(2));
        let second = scene.call(&[second]).await?;
        ensure!(
            second.iter().all(|report| report.status == Some(200)),
            "{second:?}"
        );
        ensure!(
            scene.server.tokens() == 2,
            "{} tokens",
            scene.server.tokens()
        );
        let log = scene.stage.host.log()?;
        for secret in ["token-1", "token-2", CLIENT_SECRET] {
            ensure!(!log.contains(secret), "the log has {secret}");
        }
        Ok(())
    })
}

#[test]
fn a_header_goes_to_its_origin_only_and_a_secret_that_is_missing_is_told() -> Result<()> {
    within(120, async {
        let words = Words {
            more: "secrets = [\"key\"]",
            operator: "[secret.key]\norigin = \"{origin}/api\"\nheader = \"x-api-key\"\nvalue = \"${CRM_KEY}\"\n",
            ..Words::default()
        };
        let scene = Scene::of(&words).await?;
        scene
            .call(&[scene.get("/api/x"), scene.get("/other")])
            .await?;
        for seen in scene.server.seen() {
            let key = seen
                .headers
                .get("x-api-key")
                .map(|key| key.as_bytes() == b"k3y");
            let wanted = (seen.line == "GET /api/x").then_some(true);
            ensure!(key == wanted, "{seen:?}");
        }

        let component = std::fs::read(environment::guest("calls")?)?;
        let text = manifest(&component)?.replace("http = [", "secrets = [\"crm\"]\nhttp = [");
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url()).file("calls.wasm", with_manifest(&component, &text)?);
        let mut host = setup.write()?;
        host.spawn()?;
        host.wait_log(&["ERROR", "calls.wasm", "[secret.crm]"], 20)
            .await?;
        Ok(())
    })
}

#[test]
fn a_token_endpoint_that_says_no_is_told_without_the_secret() -> Result<()> {
    within(90, async {
        let wrong = OAUTH.replace("CRM_SECRET", "CRM_KEY");
        let words = Words {
            more: "secrets = [\"crm\"]",
            operator: &wrong,
            ..Words::default()
        };
        let scene = Scene::of(&words).await?;
        let reports = scene.call(&[scene.get("/api/accounts")]).await?;
        for report in reports {
            let error = report.error.as_deref().unwrap_or_default();
            ensure!(
                error.contains("401") && error.contains("invalid_client"),
                "{report:?}"
            );
            ensure!(!error.contains("k3y"), "{report:?}");
        }
        let lines: Vec<String> = scene
            .server
            .seen()
            .into_iter()
            .map(|seen| seen.line)
            .collect();
        ensure!(lines == ["POST /token"], "{lines:?}");
        Ok(())
    })
}

#[test]
fn time_and_size_of_an_answer_are_bounded() -> Result<()> {
    within(120, async {
        let words = Words {
            operator: "[plugin.calls]\ntimeout = \"1s\"\nmax_attempts = 2\n",
            ..Words::default()
        };
        let scene = Scene::of(&words).await?;
        let deaf = json!({
            "url": format!("{}/api/deaf", scene.server.origin()),
            "method": "POST", "body": "x".repeat(32 << 10).repeat(16),
        });
        let hanging = [scene.get("/api/hang"), scene.get("/api/drip"), deaf];
        let begun = Instant::now();
        for report in scene.call(&hanging).await? {
            // Before the call itself is over, so that it can say so.
            let error = report.error.as_deref().unwrap_or_default();
            let ended = ["HttpResponseTimeout", "HTTP response timeout", "closed"];
            ensure!(ended.iter().any(|word| error.contains(word)), "{report:?}");
        }
        let took = begun.elapsed();
        ensure!(took < Duration::from_secs(10), "it took {took:?}");
        let before = scene.stage.host.resident_bytes()?;
        for report in scene.call(&[scene.get("/api/huge")]).await? {
            let error = report.error.as_deref().unwrap_or_default();
            ensure!(
                error.to_lowercase().contains("response body size"),
                "{report:?}"
            );
        }
        let after = scene.stage.host.resident_bytes()?;
        ensure!(after < before + (64 << 20), "{before} bytes, then {after}");
        // Too many of them at once.
        let mut many = scene.get("/api/x");
        many.as_object_mut()
            .context("an object")?
            .insert("times".into(), json!(101));
        for report in scene.call(&[many]).await? {
            let error = report.error.as_deref().unwrap_or_default();
            ensure!(error.contains("ConnectionLimitReached"), "{report:?}");
        }
        Ok(())
    })
}

#[test]
fn a_429_becomes_a_retry_at_the_time_that_the_server_says() -> Result<()> {
    within(90, async {
        let scene = Scene::of(&Words::default()).await?;
        let mut limited = scene.get("/api/limited");
        limited
            .as_object_mut()
            .context("an object")?
            .insert("retry".into(), json!(true));
        publish(
            &scene.stage.jetstream,
            &[Input::with_data("l", "l", 0, limited)],
        )
        .await?;
        scene
            .stage
            .host
            .wait_log(
                &["will be tried again", "\"retry_in\":\"2", "asks to wait"],
                20,
            )
            .await?;
        let letters = wait_dead_letters(&scene.stage.jetstream, 1, 20).await?;
        let letter = letters.first().context("a letter")?;
        ensure!(
            letter.header("Sluice-Reason")? == "exhausted",
            "{:?}",
            letter.headers
        );
        Ok(())
    })
}

#[test]
fn the_clients_errors_of_the_sdk_say_what_the_host_shall_do() -> Result<()> {
    within(120, async {
        let words = Words {
            guest: Some("sends"),
            more: "secrets = [\"crm\"]",
            operator: OAUTH,
            ..Words::default()
        };
        let scene = Scene::of(&words).await?;
        let post = json!({
            "url": format!("{}/api/accounts?x=1#part", scene.server.origin()),
            "method": "POST", "body": "a body ".repeat(5_000),
        });
        let [get, post] = scene
            .call(&[scene.get("/api/accounts"), post])
            .await?
            .try_into()
            .map_err(|_| anyhow::anyhow!("two reports"))?;
        ensure!(get.status == Some(200), "{get:?}");
        let body = get.body.as_deref();
        ensure!(
            body == Some("/api/accounts as \"Bearer token-1\": "),
            "{get:?}"
        );
        ensure!(post.status == Some(200), "{post:?}");
        let seen = scene.server.seen();
        let seen = seen.iter().find(|seen| seen.line == "POST /api/accounts");
        let seen = seen.context("no POST")?;
        ensure!(seen.body.len() == 35_000, "{} bytes", seen.body.len());
        let key = seen.headers.get("idempotency-key").context("no key")?;
        ensure!(key.to_str()?.len() == 32, "{key:?}");

        let send = |name: &str, url: String| Input::with_data(name, name, 0, json!({ "url": url }));
        let origin = scene.server.origin();
        let inputs = [
            send("limited", format!("{origin}/api/limited")),
            send("redirect", format!("{origin}/api/redirect")),
            send("elsewhere", "https://example.com/".to_owned()),
            send("nothing", "no address".to_owned()),
            Input::with_data(
                "hanging",
                "hanging",
                0,
                json!({ "url": format!("{origin}/api/hang"), "timeout_ms": 300 }),
            ),
        ];
        let begun = Instant::now();
        publish(&scene.stage.jetstream, &inputs).await?;
        let asked = ["will be tried again", "\"retry_in\":\"2", "answered 429"];
        scene.stage.host.wait_log(&asked, 20).await?;
        let mut letters = BTreeMap::new();
        for letter in wait_dead_letters(&scene.stage.jetstream, inputs.len(), 30).await? {
            let id = letter.header("ce-id")?.to_owned();
            let said = (
                letter.header("Sluice-Reason")?.to_owned(),
                letter.header("Sluice-Error")?.to_owned(),
            );
            letters.insert(id, said);
        }
        // The call may take 5 s, and there are two of them: the request's own time ended it.
        let took = begun.elapsed();
        ensure!(took < Duration::from_secs(8), "it took {took:?}");
        for (id, reason, words) in [
            ("limited", "exhausted", "answered 429"),
            ("hanging", "exhausted", "no answer from https://localhost"),
            ("redirect", "rejected", "answered 302"),
            (
                "elsewhere",
                "rejected",
                "https://example.com may not be asked",
            ),
            ("nothing", "rejected", "\"no address\" is no address"),
        ] {
            let (found, error) = letters
                .get(id)
                .with_context(|| format!("{id}: {letters:?}"))?;
            ensure!(
                found == reason && error.contains(words),
                "{id}: {found}: {error}"
            );
        }
        Ok(())
    })
}
