//! Promise: what the bodies of a type look like is learnt from those that came, kept in versions, as
//! files and in the broker, and compared by rules.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::bodies::{account_update, invoice};
use sluicegate_tests::component::with_manifest;
use sluicegate_tests::outputs::stored;
use sluicegate_tests::sluice::{Said, sluice, sluice_on};
use sluicegate_tests::{Broker, Setup, Source, Stage, environment, until, within};

const ACCOUNT: &str = "d365.dataverse.account.update";
const INVOICE: &str = "d365.fno.SalesInvoicePostedBusinessEvent";

/// A host that has taken so many of both.
async fn stage_with(count: u64) -> Result<(Stage, Source)> {
    let (dataverse, fno) = (
        Source::new("dataverse", "contoso"),
        Source::new("fno", "contoso"),
    );
    let stage = Stage::taking(&[&dataverse, &fno]).await?;
    for n in 1..=count {
        stage.taken(&dataverse.json(account_update(n, n)?)).await?;
        stage.taken(&fno.json(invoice(n)?)).await?;
    }
    Ok((stage, dataverse))
}

async fn schema(stage: &Stage, words: &[&str]) -> Result<Said> {
    sluice_on(&stage.broker, &[&["schema"], words].concat()).await
}

fn of_type<'a>(rows: &'a [Value], event_type: &str) -> Result<&'a Value> {
    let found = rows.iter().find(|row| row["type"] == event_type);
    found.with_context(|| format!("{event_type} is not in {rows:?}"))
}

#[test]
fn schemas_are_learnt_shown_and_are_a_new_version_only_where_something_is_new() -> Result<()> {
    within(300, async {
        let (stage, dataverse) = stage_with(3).await?;
        let folder = tempfile::tempdir()?;
        let files = folder.path().join("schemas");
        let files = files.to_str().context("a path")?;
        let learn = ["learn", "--required-after", "3", "--json"];
        let dry = schema(&stage, &[&learn[..], &["--dry-run"]].concat()).await?;
        let dry = dry.ok()?.json_lines()?;
        ensure!(of_type(&dry, ACCOUNT).is_ok() && of_type(&dry, INVOICE).is_ok());
        ensure!(
            schema(&stage, &["list", "--json"])
                .await?
                .ok()?
                .stdout
                .is_empty()
        );
        let first = schema(&stage, &[&learn[..], &["--write", files]].concat()).await?;
        let first = first.ok()?.json_lines()?;
        for event_type in [ACCOUNT, INVOICE] {
            let row = of_type(&first, event_type)?;
            ensure!(
                row["what"] == "new" && row["version"] == 1 && row["seen"] == 3,
                "{row}"
            );
            let file = folder.path().join(format!("schemas/{event_type}/1.json"));
            let file: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
            ensure!(file["title"] == event_type, "{file}");
            let shown = schema(&stage, &["show", event_type, "--json"])
                .await?
                .ok()?;
            ensure!(shown.json()? == file);
        }
        let shown = schema(&stage, &["show", ACCOUNT]).await?.ok()?.stdout;
        let line = "/InputParameters/Target/Attributes/creditlimit  Money, always";
        ensure!(shown.contains(line), "{shown}");

        // The same bodies say nothing new.
        let again = schema(&stage, &learn).await?.ok()?.json_lines()?;
        // What was done here is told as an event, which is of a type of its own.
        for event_type in [ACCOUNT, INVOICE] {
            let row = of_type(&again, event_type)?;
            ensure!(row["what"] == "unchanged" && row["version"] == 1, "{row}");
        }
        // One without a column does.
        let body = account_update(9, 9)?.replace("\"new_factor\"", "\"new_other\"");
        stage.taken(&dataverse.json(body)).await?;
        let only = [&learn[..], &["--type", ACCOUNT]].concat();
        let more = schema(&stage, &only).await?.ok()?.json_lines()?;
        ensure!(more.len() == 1 && more[0]["version"] == 2, "{more:?}");
        let shown = schema(&stage, &["show", ACCOUNT]).await?.ok()?.stdout;
        for line in [
            "Attributes/new_factor  number\n",
            "Attributes/new_other  number\n",
        ] {
            ensure!(shown.contains(line), "{shown}");
        }
        let listed = schema(&stage, &["list", "--json"])
            .await?
            .ok()?
            .json_lines()?;
        ensure!(of_type(&listed, ACCOUNT)?["versions"] == 2, "{listed:?}");

        // Into a folder, where the rule is broken by what may be missing now; and back.
        schema(&stage, &["export", files]).await?.ok()?;
        let checked = sluice(&["schema", "check", files, "--rule", "forward", "--json"]).await?;
        ensure!(checked.code == Some(1), "{checked:?}");
        let broken = checked.json_lines()?;
        let path = "/InputParameters/Target/Attributes/new_factor";
        ensure!(broken.len() == 1 && broken[0]["path"] == path, "{broken:?}");
        sluice(&["schema", "check", files, "--rule", "backward"])
            .await?
            .ok()?;
        let back = schema(&stage, &["import", files, "--json"])
            .await?
            .ok()?
            .json_lines()?;
        ensure!(
            back.iter().all(|row| row["what"] == "unchanged"),
            "{back:?}"
        );

        let deeds = sluice_on(&stage.broker, &["audit", "--json"])
            .await?
            .ok()?
            .json_lines()?;
        let learnt = deeds.iter().filter(|deed| deed["action"] == "learn-schema");
        ensure!(learnt.count() == 3, "{deeds:?}");
        schema(&stage, &["show", "d365.none"])
            .await?
            .refused(1, &["no schema of d365.none"])?;
        schema(&stage, &["show", ACCOUNT, "--schema-version", "7"])
            .await?
            .refused(1, &["version 7"])?;
        schema(&stage, &["learn", "--since", "yesterday"])
            .await?
            .refused(2, &["--since"])?;
        Ok(())
    })
}

#[test]
fn descriptions_of_others_become_versions() -> Result<()> {
    within(300, async {
        let stage = Stage::taking(&[]).await?;
        let folder = tempfile::tempdir()?;
        let write = |name: &str, value: &Value| -> Result<String> {
            let path = folder.path().join(name);
            fs::write(&path, value.to_string())?;
            Ok(path.display().to_string())
        };
        let metadata = write(
            "metadata.json",
            &json!({"LogicalName": "account", "Attributes": [
            {"LogicalName": "creditlimit", "AttributeType": "Money"}]}),
        )?;
        let rows = schema(
            &stage,
            &["import", &metadata, "--as", "dataverse", "--json"],
        )
        .await?;
        let rows = rows.ok()?.json_lines()?;
        ensure!(of_type(&rows, ACCOUNT)?["what"] == "new", "{rows:?}");
        let shown = schema(&stage, &["show", ACCOUNT]).await?.ok()?.stdout;
        ensure!(
            shown.contains("Attributes/creditlimit  null or Money\n"),
            "{shown}"
        );

        let asyncapi = write(
            "asyncapi.json",
            &json!({"asyncapi": "3.0.0", "components": {
            "messages": {"m": {"name": "acme.m", "payload": {"type": "object",
                "properties": {"a": {"type": "integer"}}, "required": ["a"]}}}}}),
        )?;
        schema(&stage, &["import", &asyncapi, "--as", "asyncapi"])
            .await?
            .ok()?;
        let shown = schema(&stage, &["show", "acme.m"]).await?.ok()?.stdout;
        ensure!(shown.contains("/a  number, always\n"), "{shown}");

        let fno = write("fno.json", &json!({"Amount": 0, "EventId": ""}))?;
        let import = ["import", fno.as_str(), "--as", "fno"];
        schema(&stage, &import).await?.refused(1, &["--type"])?;
        schema(&stage, &[&import[..], &["--type", INVOICE]].concat())
            .await?
            .ok()?;
        schema(&stage, &["import", &fno, "--as", "asyncapi"])
            .await?
            .refused(1, &["asyncapi"])?;
        schema(&stage, &["import", &fno])
            .await?
            .refused(1, &["--as"])?;
        schema(&stage, &["import", &fno, "--as", "xml"])
            .await?
            .refused(2, &["--as"])?;
        Ok(())
    })
}

/// The guest `ok` as a plug-in of this name that hears of accounts, with more lines.
fn hearing(name: &str, more: &str) -> Result<Vec<u8>> {
    let guest = fs::read(environment::guest("ok")?)?;
    let manifest = format!(
        "[plugin]\nname = \"{name}\"\nversion = \"1.0.0\"\n\
         [subscribe]\nsubjects = [\"d365.dataverse.*.record.account.*\"]\n{more}"
    );
    with_manifest(&guest, &manifest)
}

fn reads(members: &str) -> String {
    format!("[[reads]]\ntype = \"{ACCOUNT}\"\nmembers = [{members}]\n")
}

const LIMIT: &str = "/InputParameters/Target/Attributes/creditlimit";

#[test]
fn a_member_removed_one_retyped_and_one_added_are_each_told_once_with_who_reads_them() -> Result<()>
{
    within(300, async {
        let dataverse = Source::new("dataverse", "contoso");
        let broker = Broker::start().await?;
        let limit = reads(&format!("{LIMIT:?}"));
        let other = reads("\"/InputParameters/Target/Attributes/new_factor\"");
        let setup = Setup::new(broker.url())
            .source(&dataverse)
            .file("limit.wasm", hearing("limit", &limit)?)
            .file("factor.wasm", hearing("factor", &other)?)
            .file("listener.wasm", hearing("listener", "")?);
        let stage = Stage::of(broker, setup).await?;
        for n in 1..=20 {
            stage.taken(&dataverse.json(account_update(n, n)?)).await?;
        }
        schema(&stage, &["learn", "--type", ACCOUNT]).await?.ok()?;
        // The same as before is no drift; nor is a column that was cleared.
        let cleared = account_update(30, 30)?.replace("\"value\":0.10", "\"value\":null");
        // Whoever has to know the schema first knows it when the drift is told.
        let drifted = |n: u64| -> Result<String> {
            Ok(account_update(n, n)?
                .replace("{\"key\":\"new_factor\",\"value\":0.10},", "")
                .replace("{\"__type\":\"Money:http:\\/\\/schemas.microsoft.com\\/xrm\\/2011\\/Contracts\",\"Value\":74999.9500}", "74999.95")
                .replace("{\"key\":\"donotemail\"", "{\"key\":\"new_added\",\"value\":\"x\"},{\"key\":\"donotemail\""))
        };
        stage.taken(&dataverse.json(cleared)).await?;
        let mut n = 40;
        let found = until("the drift to be told", 30, async || {
            n += 1;
            let told = stage.taken(&dataverse.json(drifted(n)?)).await?;
            let first = told.attribute("id")?;
            let rows = schema(&stage, &["drift", "--json"])
                .await?
                .ok()?
                .json_lines()?;
            ensure!(rows.len() == 3, "{n}, {first}: {rows:?}");
            Ok(rows)
        })
        .await?;
        let of = |path: &str| {
            let row = found
                .iter()
                .find(|row| row["path"] == format!("/InputParameters/Target/Attributes/{path}"));
            row.with_context(|| format!("{path} is not in {found:?}"))
        };
        let plugins = |row: &Value| -> Vec<String> {
            let all = row["plugins"].as_array().into_iter().flatten();
            let words = all.map(|one| format!("{} {}", one["plugin"], one["how"]).replace('"', ""));
            words.collect()
        };
        let limit = of("creditlimit")?;
        ensure!(
            limit["kind"] == "retyped" && limit["was"] == "Money" && limit["is"] == "number",
            "{limit}"
        );
        ensure!(
            limit["example"] == "74999.95" && limit["host"] == "host-1",
            "{limit}"
        );
        ensure!(
            plugins(limit) == ["limit reads", "listener subscribed"],
            "{limit}"
        );
        let factor = of("new_factor")?;
        ensure!(
            factor["kind"] == "removed" && factor["is"] == "absent",
            "{factor}"
        );
        ensure!(
            plugins(factor) == ["factor reads", "listener subscribed"],
            "{factor}"
        );
        let added = of("new_added")?;
        ensure!(
            added["kind"] == "added" && plugins(added) == ["listener subscribed"],
            "{added}"
        );

        // More of the same are not told again, nor after a start.
        let mut stage = stage;
        stage.host.stop().await?;
        stage.host.start().await?;
        for n in 100..130 {
            stage.taken(&dataverse.json(drifted(n)?)).await?;
        }
        let subject = "d365.custom.host-1.system.schema-drift.raised.*";
        let events = until("the events of the drift", 20, async || {
            let checked = stage.host.metrics().await?;
            let checked = checked.sum("sluicegate_schema_bodies_total", &[("what", "checked")])?;
            ensure!(1.0 <= checked, "{checked} bodies were looked at");
            let events = stored(&stage.jetstream, "EVENTS", subject).await?;
            ensure!(3 <= events.len(), "{} events", events.len());
            Ok(events)
        })
        .await?;
        ensure!(events.len() == 3, "{} events", events.len());
        for event in &events {
            ensure!(event.attribute("type")? == "d365.system.schema-drift");
            let data: Value = serde_json::from_slice(&event.body)?;
            ensure!(found.contains(&data), "{data} is not in {found:?}");
        }
        let told = stage
            .host
            .metrics()
            .await?
            .sum("sluicegate_schema_drift_total", &[])?;
        ensure!(told == 0.0, "{told} were told again");
        let shown = schema(&stage, &["drift"]).await?.ok()?.stdout;
        ensure!(
            shown.contains("limit (reads), listener (subscribed)"),
            "{shown}"
        );

        // It is right so: the next version knows it, and nothing is left to be told.
        let accepted = schema(&stage, &["accept", ACCOUNT, "--json"])
            .await?
            .ok()?
            .json()?;
        ensure!(
            accepted["what"] == "new" && accepted["version"] == 2,
            "{accepted}"
        );
        let rows = schema(&stage, &["drift", "--json"])
            .await?
            .ok()?
            .json_lines()?;
        ensure!(rows.is_empty(), "{rows:?}");
        let shown = schema(&stage, &["show", ACCOUNT]).await?.ok()?.stdout;
        for line in [
            "Attributes/creditlimit  number or Money, always\n",
            "Attributes/new_factor  null or number\n",
        ] {
            ensure!(shown.contains(line), "{line} is not in {shown}");
        }
        let deeds = sluice_on(&stage.broker, &["audit", "--json"])
            .await?
            .ok()?
            .json_lines()?;
        ensure!(
            deeds.iter().any(|deed| deed["action"] == "accept-schema"),
            "{deeds:?}"
        );
        schema(&stage, &["accept", "d365.none"])
            .await?
            .refused(1, &["no schema of d365.none"])?;
        Ok(())
    })
}

#[test]
fn a_build_that_reads_what_no_schema_has_is_not_deployed() -> Result<()> {
    within(180, async {
        let (stage, _) = stage_with(3).await?;
        schema(&stage, &["learn", "--required-after", "3"])
            .await?
            .ok()?;
        let folder = tempfile::tempdir()?;
        let files = folder.path().join("schemas").display().to_string();
        schema(&stage, &["export", &files]).await?.ok()?;
        let plugin = |name: &str, column: &str| -> Result<String> {
            let reads = format!(
                "[[reads]]\ntype = \"{ACCOUNT}\"\n\
                 members = [\"/InputParameters/Target/Attributes/{column}\"]\n"
            );
            let path = folder.path().join(format!("{name}.wasm"));
            fs::write(&path, hearing(name, &reads)?)?;
            Ok(path.display().to_string())
        };
        let good = plugin("good", "creditlimit")?;
        let bad = plugin("bad", "creditlimits")?;
        let check = ["schema", "check", &files, "--plugin", &good];
        sluice(&check).await?.ok()?;
        let check = [
            "schema", "check", &files, "--plugin", &good, "--plugin", &bad,
        ];
        let checked = sluice(&check).await?;
        ensure!(checked.code == Some(1), "{checked:?}");
        let line = format!(
            "bad: {ACCOUNT} version 1 has no /InputParameters/Target/Attributes/creditlimits"
        );
        ensure!(checked.stdout.contains(&line), "{}", checked.stdout);
        let broker = &stage.broker;
        sluice_on(broker, &["deploy", &bad]).await?.refused(
            1,
            &["bad is not deployed", "creditlimits", "--whatever-it-reads"],
        )?;
        sluice_on(broker, &["deploy", &bad, "--whatever-it-reads"])
            .await?
            .ok()?;
        sluice_on(broker, &["deploy", &good]).await?.ok()?;
        Ok(())
    })
}
