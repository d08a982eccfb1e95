//! Promise: the console is for those whom the config names: viewers look, operators act, and no
//! page of another site does either; what is not for viewers' eyes is not shown to them.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sluicegate_tests::events::publish;
use sluicegate_tests::outputs::wait_dead_letters;
use sluicegate_tests::tls::{Authority, Identity};
use sluicegate_tests::{Answer, Broker, Gateway, Input, Request, Setup, Stage, until, within};

const OPERATOR: &str = "an-operators-token";
const VIEWER: &str = "a-viewers-token";

/// A host with an operator, a viewer, and a dead letter whose body has a secret in it.
async fn guarded() -> Result<(Stage, u64)> {
    let broker = Broker::start().await?;
    let setup = Setup::new(broker.url())
        .guest("reject")?
        .guarded(OPERATOR)
        .variable("VIEWER_TOKEN", VIEWER)
        .admin("mask = [\"/secret\", \"/list/*/secret\"]")
        .with("[[admin.user]]\nname = \"vera\"\nrole = \"viewer\"\ntoken = \"${VIEWER_TOKEN}\"\n");
    let stage = Stage::of(broker, setup).await?;
    let data = json!({ "open": "seen", "secret": "hidden-1", "list": [{ "secret": "hidden-2" }] });
    let input = Input::with_data("<b>bold</b>", "k\"><script>alert(1)</script>", 0, data);
    publish(&stage.jetstream, &[input]).await?;
    let letters = wait_dead_letters(&stage.jetstream, 1, 20).await?;
    let letter = letters.first().context("no letter")?.sequence;
    Ok((stage, letter))
}

fn admin(stage: &Stage) -> Gateway {
    Gateway::at(stage.host.admin_port())
}

fn by(request: Request, token: &str) -> Request {
    request.header("authorization", format!("Bearer {token}"))
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let found = answer.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// Every page and question.
const LOOKED_AT: [&str; 13] = [
    "/",
    "/plug-ins",
    "/events",
    "/dead-letters",
    "/replays",
    "/schemas",
    "/hosts",
    "/audit",
    "/api/v1/plug-ins",
    "/api/v1/dead-letters",
    "/api/v1/audit",
    "/metrics",
    "/readyz",
];

#[test]
fn nobody_looks_without_being_named() -> Result<()> {
    within(90, async {
        let (stage, letter) = guarded().await?;
        let all = LOOKED_AT.map(str::to_owned).into_iter();
        for path in all.chain([format!("/dead-letters/{letter}"), "/events/1".to_owned()]) {
            let answer = admin(&stage).ask(&Request::new("GET", &path)).await?;
            ensure!(answer.status == 401, "{path}: {}", answer.status);
            ensure!(!text(&answer).contains("hidden"), "{path}");
            let wrong = by(Request::new("GET", &path), "an-operators-toke");
            ensure!(
                admin(&stage).ask(&wrong).await?.status == 401,
                "{path} with a wrong token"
            );
            for token in [OPERATOR, VIEWER] {
                let right = by(Request::new("GET", &path), token);
                let answer = admin(&stage).ask(&right).await?;
                ensure!(
                    answer.status == 200,
                    "{path}: {}: {}",
                    answer.status,
                    text(&answer)
                );
            }
            // A browser is shown where to sign in, and comes back to where it wanted to go.
            let browser = Request::new("GET", &path).header("accept", "text/html,*/*");
            let answer = admin(&stage).ask(&browser).await?;
            let to = header(&answer, "location").unwrap_or_default();
            ensure!(
                answer.status == 303 && to.starts_with("/login?to=%2F"),
                "{path}: {to}"
            );
        }
        // What everybody may have has no secret in it.
        for path in ["/healthz", "/login", "/assets/console.css"] {
            ensure!(
                admin(&stage).ask(&Request::new("GET", path)).await?.status == 200,
                "{path}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_viewer_looks_at_masked_bodies_and_does_nothing() -> Result<()> {
    within(90, async {
        let (stage, letter) = guarded().await?;
        let page = format!("/dead-letters/{letter}");
        for path in [page.as_str(), "/events/1"] {
            let seen = admin(&stage)
                .ask(&by(Request::new("GET", path), VIEWER))
                .await?;
            let seen = text(&seen);
            ensure!(
                seen.contains("&quot;seen&quot;") && seen.contains("2 values are masked"),
                "{seen}"
            );
            ensure!(!seen.contains("hidden-"), "{path} shows it to a viewer");
            let all = text(
                &admin(&stage)
                    .ask(&by(Request::new("GET", path), OPERATOR))
                    .await?,
            );
            ensure!(
                all.contains("hidden-1") && all.contains("hidden-2"),
                "{all}"
            );
        }
        // Nothing that a sender wrote is markup.
        let seen = text(
            &admin(&stage)
                .ask(&by(Request::new("GET", &page), VIEWER))
                .await?,
        );
        ensure!(
            !seen.contains("<b>bold") && !seen.contains("<script>alert"),
            "{seen}"
        );
        let seen = text(
            &admin(&stage)
                .ask(&by(
                    Request::new("GET", "/dead-letters?where=plugin%3Dreject"),
                    VIEWER,
                ))
                .await?,
        );
        ensure!(
            !seen.contains("<script>alert") && seen.contains("&lt;script&gt;"),
            "{seen}"
        );

        let deeds = [
            (format!("{page}/replay"), ""),
            (format!("{page}/discard"), ""),
            (format!("{page}/edit"), "body={}&then=replay"),
            ("/dead-letters/replay".to_owned(), "where=&rate=10"),
            ("/dead-letters/unblock".to_owned(), "plugin=reject&key=k"),
            ("/plug-ins/reject/pause".to_owned(), ""),
            ("/plug-ins/reject/resume".to_owned(), ""),
            ("/plug-ins/reject/rollback".to_owned(), ""),
            ("/replays/1-a/cancel".to_owned(), ""),
        ];
        for (path, body) in &deeds {
            let deed = Request::new("POST", path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(*body);
            let answer = admin(&stage).ask(&by(deed.clone(), VIEWER)).await?;
            ensure!(answer.status == 403, "{path}: {}", answer.status);
            ensure!(
                admin(&stage).ask(&deed).await?.status == 401,
                "{path} by nobody"
            );
        }
        let edit = by(Request::new("GET", &format!("{page}/edit")), VIEWER);
        ensure!(admin(&stage).ask(&edit).await?.status == 403);
        // And no button is shown that would not work.
        for path in ["/plug-ins", page.as_str(), "/dead-letters"] {
            let seen = text(
                &admin(&stage)
                    .ask(&by(Request::new("GET", path), VIEWER))
                    .await?,
            );
            let forms = seen.matches("method=\"post\"").count();
            ensure!(
                forms == 1,
                "{path} has {forms} forms beside that to sign out"
            );
        }
        ensure!(wait_dead_letters(&stage.jetstream, 1, 5).await?.len() == 1);
        let (_, audit) = stage.host.admin("/api/v1/audit").await?;
        ensure!(audit == "[]", "{audit}");
        Ok(())
    })
}

#[test]
fn a_session_acts_for_its_user_and_not_for_another_site() -> Result<()> {
    within(90, async {
        let (stage, letter) = guarded().await?;
        let form = |path: &str, body: &str| {
            Request::new("POST", path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body)
        };
        let wrong = admin(&stage).ask(&form("/login", "token=nobodys")).await?;
        ensure!(
            wrong.status == 401 && header(&wrong, "set-cookie").is_none(),
            "{wrong:?}"
        );
        let away = format!("token={OPERATOR}&to=//evil.example");
        let entered = admin(&stage).ask(&form("/login", &away)).await?;
        ensure!(header(&entered, "location") == Some("/"), "{entered:?}");
        let cookie = header(&entered, "set-cookie").context("no cookie")?;
        ensure!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
            "{cookie}"
        );
        ensure!(!cookie.contains(OPERATOR), "the token is in the cookie");
        let cookie = cookie.split(';').next().context("no value")?.to_owned();

        let discard =
            form(&format!("/dead-letters/{letter}/discard"), "").header("cookie", &cookie);
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            let answer = admin(&stage)
                .ask(&discard.clone().header(name, value))
                .await?;
            ensure!(answer.status == 403, "{name} {value}: {}", answer.status);
        }
        ensure!(
            wait_dead_letters(&stage.jetstream, 1, 5).await?.len() == 1,
            "it is gone"
        );
        let own = admin(&stage)
            .ask(&discard.header("sec-fetch-site", "same-origin"))
            .await?;
        ensure!(own.status == 303, "{}", text(&own));
        until("it to be gone", 10, async || {
            let left = sluicegate_tests::outputs::dead_letters(&stage.jetstream).await?;
            ensure!(left.is_empty(), "{} left", left.len());
            Ok(())
        })
        .await?;
        let page = admin(&stage)
            .ask(&Request::new("GET", "/").header("cookie", &cookie))
            .await?;
        let policy = header(&page, "content-security-policy").unwrap_or_default();
        ensure!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        let (_, audit) = stage.host.admin("/api/v1/audit").await?;
        ensure!(
            audit.contains("\"discard\"") && audit.contains("\"operator\""),
            "{audit}"
        );
        Ok(())
    })
}

#[test]
fn without_a_token_the_port_is_this_machines_and_no_other_name_leads_to_it() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["ok"], "").await?;
        let port = stage.host.admin_port();
        // The harness's requests say `host: gateway.test`.
        let other = admin(&stage).ask(&Request::new("GET", "/plug-ins")).await?;
        ensure!(
            other.status == 403 && text(&other).contains("localhost"),
            "{other:?}"
        );
        let (status, page) = stage.host.admin("/plug-ins").await?;
        ensure!(
            status == 200 && page.contains("Pause"),
            "{port}: {status}: {page}"
        );
        Ok(())
    })
}

#[test]
fn a_certificate_says_who_somebody_is() -> Result<()> {
    within(90, async {
        let (own, people, strangers) = (Identity::new()?, Authority::new()?, Authority::new()?);
        let broker = Broker::start().await?;
        let users = "[admin.tls]\ncert = \"admin.pem\"\nkey = \"admin-key.pem\"\nclient_ca = \"people.pem\"\n\
                     [[admin.user]]\nname = \"carl\"\nrole = \"operator\"\ncertificate = \"carl@contoso\"\n\
                     [[admin.user]]\nname = \"vera\"\nrole = \"viewer\"\ncertificate = \"vera@contoso\"\n";
        let mut host = Setup::new(broker.url())
            .guest("ok")?
            .beside("admin.pem", own.cert.clone())
            .beside("admin-key.pem", own.key.clone())
            .beside("people.pem", people.cert.clone())
            .with(users)
            .write()?;
        host.spawn()?;
        let port = host.admin_port();
        until("the admin port", 30, async || {
            own.connect(port).await.map(drop)
        })
        .await?;
        let ask = async |person: Option<Identity>, request: Request| {
            let mut connection = own.connect_as(port, person.as_ref()).await?;
            connection.ask(&request).await
        };
        let carl = || people.issue("carl@contoso").map(Some);
        let vera = || people.issue("vera@contoso").map(Some);
        let look = || Request::new("GET", "/plug-ins");
        until("the host to run", 30, async || {
            let ready = ask(carl()?, Request::new("GET", "/readyz")).await?;
            ensure!(ready.status == 200, "{}", text(&ready));
            Ok(())
        })
        .await?;
        ensure!(ask(vera()?, look()).await?.status == 200);
        ensure!(
            ask(None, look()).await?.status == 401,
            "without a certificate"
        );
        let mallory = people.issue("mallory@contoso")?;
        ensure!(
            ask(Some(mallory), look()).await?.status == 401,
            "whom the config does not name"
        );
        let stranger = strangers.issue("carl@contoso")?;
        ensure!(
            ask(Some(stranger), look()).await.is_err(),
            "of another authority"
        );
        let pause = || Request::new("POST", "/plug-ins/ok/pause");
        ensure!(ask(vera()?, pause()).await?.status == 403);
        ensure!(ask(carl()?, pause()).await?.status == 303);
        let audit = text(&ask(carl()?, Request::new("GET", "/api/v1/audit")).await?);
        ensure!(
            audit.contains("\"carl\"") && audit.contains("\"pause\""),
            "{audit}"
        );
        Ok(())
    })
}
