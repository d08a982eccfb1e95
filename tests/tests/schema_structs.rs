//! Promise: a plug-in in Rust gets the types of its bodies from their schema, whether that is taken
//! from the broker or from git.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use sluicegate_tests::bodies::{account_update, invoice};
use sluicegate_tests::sluice::{Said, sluice, sluice_on};
use sluicegate_tests::{Source, Stage, within};

const ACCOUNT: &str = "d365.dataverse.account.update";
const INVOICE: &str = "d365.fno.SalesInvoicePostedBusinessEvent";
const LEAD: &str = "d365.dataverse.lead.update";

/// A body and what is generated for it; the SDK's tests compile it and read the body with it.
const LEAD_BODY: &str = include_str!("../../schema/generated/lead_update.json");
const LEAD_STRUCTS: &str = include_str!("../../schema/generated/lead_update.rs");

async fn schema(stage: &Stage, words: &[&str]) -> Result<Said> {
    sluice_on(&stage.broker, &[&["schema"], words].concat()).await
}

fn has(source: &str, lines: &[&str]) -> Result<()> {
    for line in lines {
        let is_there = source.lines().any(|one| one.trim_start() == *line);
        ensure!(is_there, "{line} is not in {source}");
    }
    Ok(())
}

#[test]
fn structs_are_those_of_the_schema_wherever_it_is_taken_from() -> Result<()> {
    within(180, async {
        let dataverse = Source::new("dataverse", "contoso");
        let fno = Source::new("fno", "contoso");
        let stage = Stage::taking(&[&dataverse, &fno]).await?;
        for n in 1..=3 {
            stage.taken(&dataverse.json(account_update(n, n)?)).await?;
            stage.taken(&fno.json(invoice(n)?)).await?;
        }
        let lead = LEAD_BODY.trim_end().to_owned();
        stage.taken(&dataverse.json(lead)).await?;
        schema(&stage, &["learn", "--required-after", "3"])
            .await?
            .ok()?;

        let columns = schema(&stage, &["rust", ACCOUNT]).await?.ok()?.stdout;
        let lines = [
            "pub struct AccountUpdate {",
            "pub creditlimit: Option<Money>,",
            "pub new_exact: Option<Decimal>,",
            "pub accountcategorycode: Option<i64>,",
            "pub new_regions: Option<Vec<i64>>,",
            "pub name: Option<String>,",
            "pub donotemail: Option<bool>,",
            "pub primarycontactid: Option<EntityReference>,",
        ];
        has(&columns, &lines)?;
        let members = schema(&stage, &["rust", INVOICE]).await?.ok()?.stdout;
        let lines = [
            "pub struct SalesInvoicePosted {",
            "pub amount: Decimal,",
            "pub customer: SalesInvoicePostedCustomer,",
            "pub struct SalesInvoicePostedCustomer {",
            "#[serde(rename = \"Group Name\")]",
            "pub group_name: String,",
        ];
        has(&members, &lines)?;
        ensure!(!members.contains("control_number"), "{members}");

        // To the letter what the SDK is tested with.
        let told = schema(&stage, &["rust", LEAD, "--schema-version", "1"]).await?;
        ensure!(told.ok()?.stdout == LEAD_STRUCTS);
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (files, file) = (path("schemas"), path("src/lead_update.rs"));
        schema(&stage, &["export", &files]).await?.ok()?;
        let of_files = ["schema", "rust", LEAD, "--schemas", &files, "--out", &file];
        let said = sluice(&of_files).await?.ok()?.stdout;
        ensure!(said.trim_end() == file, "{said}");
        let written = fs::read_to_string(&file).context("the file that was asked for")?;
        ensure!(written == LEAD_STRUCTS, "{written}");

        let none = ["rust", "d365.none"];
        let none_there = ["no schema of d365.none"];
        schema(&stage, &none).await?.refused(1, &none_there)?;
        let in_files = [&["schema"][..], &none, &["--schemas", &files]].concat();
        sluice(&in_files).await?.refused(1, &none_there)?;
        let newer = [&of_files[..5], &["--schema-version", "7"]].concat();
        sluice(&newer).await?.refused(1, &[LEAD, "version 7"])?;
        Ok(())
    })
}
