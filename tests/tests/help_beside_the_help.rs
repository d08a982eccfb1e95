//! Promise: shells complete every verb, and every verb has a manual page.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use sluicegate_tests::events::{publish, series};
use sluicegate_tests::sluice::{Said, sluice, sluice_on};
use sluicegate_tests::{Stage, within};
use tempfile::TempDir;

/// The verbs under `words`, as its `--help` lists them.
async fn verbs(words: &[&str]) -> Result<Vec<String>> {
    let said = sluice(&[words, &["--help"]].concat()).await?.ok()?;
    let lines = said
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    // A line that goes on with the text of the one above is indented further.
    let verbs = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    Ok(verbs
        .filter(|verb| !verb.is_empty() && *verb != "help")
        .map(ToOwned::to_owned)
        .collect())
}

#[test]
fn each_shell_completes_every_verb() -> Result<()> {
    within(60, async {
        let verbs = verbs(&[]).await?;
        ensure!(verbs.len() > 20, "{verbs:?}");
        for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
            let script = sluice(&["completions", shell]).await?.ok()?.stdout;
            for verb in &verbs {
                ensure!(script.contains(verb), "{shell} does not know {verb}");
            }
        }
        sluice(&["completions", "cobol"])
            .await?
            .refused(2, &["bash", "zsh"])?;
        Ok(())
    })
}

#[test]
fn bash_completes_a_half_typed_verb() -> Result<()> {
    within(60, async {
        let folder = TempDir::new()?;
        let file = folder.path().join("sluice.bash");
        let script = sluice(&["completions", "bash"]).await?.ok()?.raw;
        std::fs::write(&file, script)?;
        // What bash itself does when somebody types `sluice comp` and the tabulator key.
        let asked = "source \"$1\"; COMP_WORDS=(sluice \"$2\"); COMP_CWORD=1; \
                     _sluice sluice \"$2\" sluice; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut bash = Command::new("bash");
        bash.args(["-c", asked, "bash"]).arg(&file).arg("comp");
        let Ok(output) = bash.output() else {
            eprintln!("SKIPPED: there is no bash");
            return Ok(());
        };
        ensure!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout)?;
        // Not the verb that the daemon alone calls.
        ensure!(said.trim() == "completions", "{said:?}");
        Ok(())
    })
}

#[test]
fn each_verb_has_a_page() -> Result<()> {
    within(60, async {
        let folder = TempDir::new()?;
        let out = folder.path().join("man1");
        let path = out.to_str().context("a path")?;
        sluice(&["man", "--out", path]).await?.ok()?;
        let page = |name: &str| {
            let file = out.join(format!("{name}.1"));
            std::fs::read_to_string(&file).with_context(|| file.display().to_string())
        };
        let mut pages = 1;
        ensure!(page("sluice")?.contains(".TH sluice 1"));
        for verb in verbs(&[]).await? {
            pages += 1;
            ensure!(page(&format!("sluice-{verb}"))?.contains(".SH SYNOPSIS"));
            for below in verbs(&[&verb]).await? {
                pages += 1;
                let text = page(&format!("sluice-{verb}-{below}"))?;
                ensure!(text.contains(".SH SYNOPSIS"), "{text}");
            }
        }
        let found = std::fs::read_dir(&out)?.count();
        ensure!(found == pages, "{found} pages for {pages} verbs");
        Ok(())
    })
}

#[test]
fn tail_is_short_for_events_tail() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["ok"], "").await?;
        publish(&stage.jetstream, &series("a", 3)).await?;
        let short: Said = sluice_on(&stage.broker, &["tail", "--last", "2"])
            .await?
            .ok()?;
        let long = sluice_on(&stage.broker, &["events", "tail", "--last", "2"]).await?;
        ensure!(short.stdout == long.ok()?.stdout, "{short:?}");
        ensure!(short.stdout.lines().count() == 2, "{short:?}");
        Ok(())
    })
}
