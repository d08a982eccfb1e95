//! Promise: an event says which version of its schema it is one of, who reads a later one is given it
//! so, and what fits none is handled, or a dead letter, as the operator says.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::component::{manifest, with_manifest, with_words};
use sluicegate_tests::events::publish;
use sluicegate_tests::journeys::{self, Deed, deeds};
use sluicegate_tests::kafka::{KafkaBroker, write};
use sluicegate_tests::outputs::{Stored, stored, wait_dead_letters};
use sluicegate_tests::projected::{all, reached};
use sluicegate_tests::receiver::Receiver;
use sluicegate_tests::sluice::{Said, dlq, sluice_on};
use sluicegate_tests::{Broker, Input, Request, Setup, Source, Stage, environment, until, within};
use tempfile::TempDir;

const TYPE: &str = "d365.custom.order.placed";
const ECHOES: &str = "d365.custom.test.business.echo.raised.*";

fn source() -> Source {
    Source::new("cloudevents", "test")
}

fn order(id: &str, body: &Value) -> Request {
    source()
        .post("application/json", body.to_string())
        .header("ce-specversion", "1.0")
        .header("ce-id", id)
        .header("ce-source", "/tests/orders")
        .header("ce-type", TYPE)
        .header("ce-subject", "order/1")
}

/// What an event says it is one of.
fn said(event: &Stored) -> Option<String> {
    event.attribute("dataschema").ok()
}

fn uri(version: u32) -> Option<String> {
    Some(format!("sluice:schema:d365/custom/order/placed:{version}"))
}

async fn schema(stage: &Stage, words: &[&str]) -> Result<Said> {
    sluice_on(&stage.broker, &[&["schema"], words].concat()).await
}

/// A schema of orders that have all these members.
async fn import(stage: &Stage, folder: &TempDir, members: &Value) -> Result<()> {
    import_of(stage, folder, TYPE, members).await
}

/// A schema of a type.
async fn import_of(
    stage: &Stage,
    folder: &TempDir,
    event_type: &str,
    members: &Value,
) -> Result<()> {
    let required: Vec<&String> = members.as_object().context("members")?.keys().collect();
    let path = folder.path().join("schema.json");
    let document =
        json!({"title": event_type, "type": "object", "properties": members, "required": required});
    fs::write(&path, document.to_string())?;
    let path = path.display().to_string();
    let import = ["import", path.as_str(), "--as", "json-schema"];
    schema(stage, &import).await?.ok()?;
    Ok(())
}

/// Two versions of a type, which has one text, and an upcast to the second, where it is called
/// otherwise.
async fn renamed(stage: &Stage, event_type: &str, (old, new): (&str, &str)) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for member in [old, new] {
        let members = json!({ member: { "type": "string" } });
        import_of(stage, &folder, event_type, &members).await?;
    }
    let file = folder.path().join("steps.json");
    let steps = json!([{"op": "rename", "path": format!("/{old}"), "to": new}]);
    fs::write(&file, steps.to_string())?;
    let steps = file.display().to_string();
    let upcast = ["upcast", event_type, "--to", "2", "--file", steps.as_str()];
    schema(stage, &upcast).await?.ok()?;
    Ok(())
}

/// The component, which reads this version of a type.
fn reading(component: &[u8], event_type: &str, version: u32) -> Result<Vec<u8>> {
    let reads = format!("\n[[reads]]\ntype = \"{event_type}\"\nversion = {version}\n");
    with_manifest(component, &(manifest(component)? + &reads))
}

/// Sends orders until one is said to be of this version: a host hears of it a little later.
async fn until_known(stage: &Stage, body: &Value, version: u32) -> Result<()> {
    let mut n = 0;
    until("the schema to be known", 20, async || {
        n += 1;
        let taken = stage
            .taken(&order(&format!("k{version}-{n}"), body))
            .await?;
        ensure!(said(&taken) == uri(version), "{:?}", said(&taken));
        Ok(())
    })
    .await
}

/// `relay`, which reads this version of orders.
fn reader(name: &str, version: u32) -> Result<Vec<u8>> {
    let relay = fs::read(environment::guest("relay")?)?;
    let named = with_words(&relay, &[("\"relay\"", &format!("{name:?}"))])?;
    reading(&named, TYPE, version)
}

async fn echoes(stage: &Stage, count: usize) -> Result<Vec<Value>> {
    until(&format!("{count} echoes"), 30, async || {
        let found = stored(&stage.jetstream, "EVENTS", ECHOES).await?;
        ensure!(found.len() == count, "{} are there", found.len());
        let bodies = found.iter().map(|echo| serde_json::from_slice(&echo.body));
        Ok(bodies.collect::<Result<_, _>>()?)
    })
    .await
}

#[test]
fn who_reads_a_later_version_is_given_older_events_so() -> Result<()> {
    within(180, async {
        let folder = tempfile::tempdir()?;
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url()).source(&source());
        let mut stage = Stage::of(broker, setup).await?;
        let old = json!({"credit": "74999.950", "who": "contoso"});
        let new = json!({"creditlimit": 12.5, "who": "contoso"});
        let text = json!({"type": "string"});
        import(&stage, &folder, &json!({"credit": text, "who": text})).await?;
        until_known(&stage, &old, 1).await?;
        let number = json!({"type": "number"});
        import(
            &stage,
            &folder,
            &json!({"creditlimit": number, "who": text}),
        )
        .await?;
        until_known(&stage, &new, 2).await?;

        // What does not lead to version 2 is refused, with an event that shows it.
        let file = folder.path().join("steps.json");
        let steps = file.display().to_string();
        let rename = json!({"op": "rename", "path": "/credit", "to": "creditlimit"});
        let upcast = ["upcast", TYPE, "--to", "2", "--file", steps.as_str()];
        fs::write(&file, json!([rename]).to_string())?;
        schema(&stage, &upcast).await?.refused(
            1,
            &[
                "k1-",
                "/creditlimit is retyped (number, found string)",
                "nothing was changed",
            ],
        )?;
        schema(&stage, &["upcast", TYPE, "--to", "3", "--file", &steps])
            .await?
            .refused(1, &["version 3"])?;
        fs::write(&file, json!([{"op": "shift"}]).to_string())?;
        schema(&stage, &upcast)
            .await?
            .refused(1, &["step 1", "shift"])?;
        let convert = json!({"op": "convert", "path": "/creditlimit", "to": "number"});
        fs::write(&file, json!([rename, convert]).to_string())?;
        let put = [&upcast[..], &["--json"]].concat();
        let put = schema(&stage, &put).await?.ok()?.json()?;
        ensure!(1 <= put["tried"].as_u64().unwrap_or(0), "{put}");

        // One is given version 2 of everything, one what came.
        let before = stored(
            &stage.jetstream,
            "EVENTS",
            "d365.custom.test.business.order.*.*",
        )
        .await?;
        stage
            .host
            .put_plugin("reads-2.wasm", &reader("reads-2", 2)?)?;
        let given = echoes(&stage, before.len()).await?;
        for body in &given {
            let limit = body["creditlimit"].to_string();
            ensure!(limit == "74999.950" || limit == "12.5", "{body}");
            ensure!(
                body.get("credit").is_none() && body["who"] == "contoso",
                "{body}"
            );
        }
        stage
            .host
            .put_plugin("reads-1.wasm", &reader("reads-1", 1)?)?;
        let given = echoes(&stage, 2 * before.len()).await?;
        let old_ones = given.iter().filter(|body| body["credit"] == "74999.950");
        ensure!(1 <= old_ones.count(), "{given:?}");

        // After a start as before, and what cannot be made one of version 2 is never handed over.
        stage.host.stop().await?;
        stage.host.start().await?;
        let wrong = json!({"credit": "a lot", "who": "contoso"});
        let taken = stage.taken(&order("wrong", &wrong)).await?;
        ensure!(said(&taken) == uri(1), "{:?}", said(&taken));
        let letters = wait_dead_letters(&stage.jetstream, 1, 30).await?;
        ensure!(letters.len() == 1, "{}", letters.len());
        let letter = &letters[0];
        ensure!(letter.header("Sluice-Reason")? == "schema");
        let error = letter.header("Sluice-Error")?;
        ensure!(
            error.contains("version 1") && error.contains("/creditlimit"),
            "{error}"
        );
        ensure!(letter.header("Sluice-Plugin")? == "reads-2");
        ensure!(serde_json::from_slice::<Value>(&letter.body)? == wrong);
        echoes(&stage, 2 * before.len() + 1).await?;

        let files = folder.path().join("files").display().to_string();
        schema(&stage, &["export", &files]).await?.ok()?;
        let exported = folder.path().join(format!("files/{TYPE}/2.upcast.json"));
        let exported: Value = serde_json::from_str(&fs::read_to_string(exported)?)?;
        ensure!(exported == json!([rename, convert]), "{exported}");
        schema(&stage, &["upcast", TYPE, "--to", "2", "--remove"])
            .await?
            .ok()?;
        let left = schema(&stage, &["upcast", TYPE, "--json"]).await?.ok()?;
        ensure!(left.stdout.is_empty(), "{left:?}");
        Ok(())
    })
}

#[test]
fn the_policy_decides_what_becomes_of_what_fits_no_version() -> Result<()> {
    within(180, async {
        let folder = tempfile::tempdir()?;
        let broker = Broker::start().await?;
        let policy = format!("[schemas.types]\n\"{TYPE}\" = \"dead-letter\"\n");
        let setup = Setup::new(broker.url())
            .source(&source())
            .guest("relay")?
            .with(&policy);
        let stage = Stage::of(broker, setup).await?;
        import(&stage, &folder, &json!({"n": {"type": "number"}})).await?;
        until_known(&stage, &json!({"n": 1}), 1).await?;
        let handled = stored(
            &stage.jetstream,
            "EVENTS",
            "d365.custom.test.business.order.*.*",
        )
        .await?;
        echoes(&stage, handled.len()).await?;

        // The store has it, as it came; the plug-in has not.
        let taken = stage.taken(&order("wrong", &json!({"n": "one"}))).await?;
        ensure!(said(&taken).is_none(), "{:?}", said(&taken));
        let letters = wait_dead_letters(&stage.jetstream, 1, 30).await?;
        let letter = letters.first().context("no letter")?;
        ensure!(letter.header("Sluice-Reason")? == "schema");
        let error = letter.header("Sluice-Error")?;
        ensure!(
            error.contains("version 1: /n is retyped (number, found string)"),
            "{error}"
        );
        ensure!(!error.contains("one"), "a value is in it: {error}");
        // Members that no schema knows are no misfit.
        stage
            .taken(&order("more", &json!({"n": 2, "more": true})))
            .await?;
        echoes(&stage, handled.len() + 1).await?;
        let metrics = stage.host.metrics().await?;
        for what in ["arriving", "delivered"] {
            let seen = metrics.sum("sluicegate_schema_misfits_total", &[("what", what)])?;
            ensure!(seen == 1.0, "{what}: {seen}");
        }
        let buried = metrics.sum("sluicegate_dead_letters_total", &[("reason", "schema")])?;
        ensure!(buried == 1.0, "{buried}");

        // Once it is right so, the letter is sent again and handled.
        import(
            &stage,
            &folder,
            &json!({"n": {"type": ["number", "string"]}}),
        )
        .await?;
        until_known(&stage, &json!({"n": "two"}), 2).await?;
        let url = stage.broker.url().to_owned();
        let listed = dlq(&url, &["list", "--json"]).await?.ok()?.json()?;
        let id = listed[0]["id"].to_string();
        dlq(&url, &["replay", &id]).await?.ok()?;
        until("the letter to be handled", 30, async || {
            let found = stored(&stage.jetstream, "EVENTS", ECHOES).await?;
            let mut bodies = found.iter();
            let is_there = bodies.any(|echo| &echo.body[..] == br#"{"n":"one"}"#);
            ensure!(is_there, "not among {}", found.len());
            Ok(())
        })
        .await
    })
}

#[test]
fn a_host_that_is_not_to_look_does_not() -> Result<()> {
    within(120, async {
        let folder = tempfile::tempdir()?;
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .source(&source())
            .guest("relay")?
            .with("[schemas]\npolicy = \"off\"\n");
        let stage = Stage::of(broker, setup).await?;
        import(&stage, &folder, &json!({"n": {"type": "number"}})).await?;
        // The watch over drift is another matter, and tells when the host knows the schema.
        let mut n = 0;
        until("the schema to be known", 20, async || {
            n += 1;
            let taken = stage
                .taken(&order(&format!("n{n}"), &json!({"n": 1})))
                .await?;
            ensure!(said(&taken).is_none(), "{:?}", said(&taken));
            let metrics = stage.host.metrics().await?;
            let checked = metrics.sum("sluicegate_schema_bodies_total", &[("what", "checked")])?;
            ensure!(1.0 <= checked, "{checked} were looked at");
            Ok(())
        })
        .await?;
        let taken = stage.taken(&order("wrong", &json!({"n": "one"}))).await?;
        ensure!(said(&taken).is_none(), "{:?}", said(&taken));
        echoes(&stage, n + 1).await?;
        let metrics = stage.host.metrics().await?;
        let misfits = metrics.sum("sluicegate_schema_misfits_total", &[])?;
        ensure!(misfits == 0.0, "{misfits}");
        Ok(())
    })
}

/// The guest `project`: the row of a key has the `text` of its newest event.
#[test]
fn a_projection_is_built_of_older_events_as_the_version_that_it_reads() -> Result<()> {
    within(120, async {
        const THING: &str = "d365.custom.thing.update";
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url());
        let mut stage = Stage::of(broker, setup).await?;
        renamed(&stage, THING, ("old", "text")).await?;
        let inputs = [
            Input::with_data("e-1", "one", 1, json!({"old": "of version 1"})),
            Input::with_data("e-2", "two", 2, json!({"text": "of version 2"})),
        ];
        publish(&stage.jetstream, &inputs).await?;

        // At its start a host reads the registry before any plug-in is called.
        stage.host.stop().await?;
        let project = fs::read(environment::guest("project")?)?;
        let reader = reading(&project, THING, 2)?;
        stage.host.put_plugin("project.wasm", &reader)?;
        stage.host.start().await?;
        reached(&stage.host, "project", 2, 30).await?;
        let rows = all(&stage.host, "/project/keys").await?;
        for (key, text) in [("one", "of version 1"), ("two", "of version 2")] {
            let row = rows
                .get(key)
                .with_context(|| format!("no {key}: {rows:?}"))?;
            ensure!(row["text"] == text, "{row}");
        }
        Ok(())
    })
}

#[test]
fn a_bridge_out_sends_nothing_that_fits_no_version_where_that_is_a_dead_letter() -> Result<()> {
    within(120, async {
        const THING: &str = "d365.custom.thing.update";
        let folder = tempfile::tempdir()?;
        let receiver = Receiver::start().await?;
        let broker = Broker::start().await?;
        let lines = format!(
            "[schemas]\npolicy = \"dead-letter\"\n[http]\nca = \"receiver.pem\"\n\
             [[bridge]]\nname = \"to-grid\"\ndirection = \"out\"\n\
             subjects = [\"d365.custom.*.record.thing.update\"]\n\
             [bridge.http]\nurl = \"{}\"\n",
            receiver.url()
        );
        let setup = Setup::new(broker.url())
            .with(&lines)
            .beside("receiver.pem", receiver.certificate());
        let mut stage = Stage::of(broker, setup).await?;
        import_of(&stage, &folder, THING, &json!({"what": {"type": "string"}})).await?;
        stage.host.stop().await?;
        stage.host.start().await?;
        let inputs = [
            Input::with_data("wrong", "k", 1, json!({"what": 1})),
            Input::with_data("right", "k", 2, json!({"what": "fits"})),
        ];
        publish(&stage.jetstream, &inputs).await?;
        until("one event to arrive", 20, async || {
            ensure!(!receiver.arrived().is_empty(), "none yet");
            Ok(())
        })
        .await?;
        let arrived: Vec<String> = receiver.arrived().into_iter().map(|one| one.id).collect();
        ensure!(arrived == ["right"], "{arrived:?}");
        let letters = wait_dead_letters(&stage.jetstream, 1, 20).await?;
        let letter = letters.first().context("no letter")?;
        ensure!(letter.header("Sluice-Reason")? == "schema");
        ensure!(letter.header("Sluice-Plugin")? == "to-grid");
        Ok(())
    })
}

/// The guest `journey`: the `plan` of its first event says what it does, the `letters` of the one
/// that it waits for what it does next.
#[test]
fn a_saga_is_given_older_events_as_the_versions_that_it_reads() -> Result<()> {
    within(120, async {
        const PLANNED: &str = "d365.custom.journey.planned";
        const AWAITED: &str = "d365.custom.journey.never";
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url());
        let mut stage = Stage::of(broker, setup).await?;
        renamed(&stage, PLANNED, ("way", "plan")).await?;
        renamed(&stage, AWAITED, ("signs", "letters")).await?;

        stage.host.stop().await?;
        let reader = reading(&journeys::guest(&[])?, PLANNED, 2)?;
        let reader = reading(&reader, AWAITED, 2)?;
        stage.host.put_plugin("journey.wasm", &reader)?;
        stage.host.start().await?;
        let begins = |key: &str, data| journeys::event("planned", &format!("{key}-0"), key, data);
        let (old, new) = ("journey/old", "journey/new");
        let first = [
            begins(old, json!({"way": "sh"})),
            begins(new, json!({"plan": "h"})),
        ];
        publish(&stage.jetstream, &first).await?;
        // What a step did leaves in the same commit in which the saga begins to wait.
        let did = async |key: &str, steps| {
            until("what it did to arrive", 30, async || {
                let deeds = deeds(&stage.jetstream).await?;
                let expected: Vec<Deed> = (0..steps).map(Deed::Did).collect();
                ensure!(deeds.get(key) == Some(&expected), "{key}: {deeds:?}");
                Ok(())
            })
            .await
        };
        did(old, 2).await?;
        did(new, 1).await?;
        let then = [
            journeys::awaited_with(old, ("signs", "ss")),
            journeys::awaited_with(new, ("letters", "s")),
        ];
        publish(&stage.jetstream, &then).await?;
        for (key, steps) in [(old, 4), (new, 2)] {
            journeys::is(&stage.broker, key, "done").await?;
            did(key, steps).await?;
        }
        Ok(())
    })
}

#[test]
fn a_bridge_in_says_which_version_an_event_is_one_of() -> Result<()> {
    within(120, async {
        let Some(kafka) = KafkaBroker::start().await? else {
            return Ok(());
        };
        let folder = tempfile::tempdir()?;
        let topic = "orders";
        kafka.topic(topic, 1).await?;
        let bridge = format!(
            "[[bridge]]\nname = \"orders-in\"\ndirection = \"in\"\nenvironment = \"lab\"\n\
             format = \"cloudevents\"\n[bridge.kafka]\nbrokers = [\"{}\"]\ntopic = \"{topic}\"\n\
             security = \"none\"\ngroup = \"sluicegate\"\nsession_timeout = \"6s\"\n",
            kafka.address()
        );
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url()).with(&bridge);
        let mut stage = Stage::of(broker, setup).await?;
        let producer = kafka.producer()?;
        let send = async |id: &str, body: Value| {
            let headers = [
                ("ce_specversion", "1.0"),
                ("ce_id", id),
                ("ce_type", TYPE),
                ("ce_source", "/tests/orders"),
                ("content-type", "application/json"),
            ];
            let body = body.to_string();
            write(&producer, topic, (None, &headers), Some(body.as_bytes())).await
        };
        let arrived = async |count: usize| {
            until(
                "what was written to be in the event store",
                30,
                async || {
                    let mut found = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
                    // Not the system event of the drift.
                    found.retain(|event| event.attribute("type").is_ok_and(|of| of == TYPE));
                    ensure!(found.len() == count, "{} of {count} are", found.len());
                    Ok(found)
                },
            )
            .await
        };
        send("early", json!({"n": 1})).await?;
        let found = arrived(1).await?;
        ensure!(said(&found[0]).is_none(), "{:?}", said(&found[0]));
        import(&stage, &folder, &json!({"n": {"type": "number"}})).await?;

        // What waits in the topic is read as soon as the host is there.
        stage.host.stop().await?;
        send("right", json!({"n": 1})).await?;
        send("wrong", json!({"n": "one"})).await?;
        stage.host.start().await?;
        for event in arrived(3).await? {
            let id = event.attribute("id")?;
            let version = if id == "right" { uri(1) } else { None };
            ensure!(said(&event) == version, "{id}: {:?}", said(&event));
        }
        Ok(())
    })
}
