//! Promise: no guest without a test. A program of misbehaviour that nothing runs proves nothing.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use sluicegate_tests::guests::{OTHER_LANGUAGES, TESTED};

#[test]
fn every_guest_is_run_by_the_test_that_is_named_for_it() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut guests = BTreeSet::new();
    for entry in std::fs::read_dir(here.join("guests/manifests"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let stem = path.file_stem().context("a manifest without a name")?;
            guests.insert(stem.to_string_lossy().replace('-', "_"));
        }
    }
    let tested: BTreeSet<String> = TESTED
        .iter()
        .map(|(guest, _)| (*guest).to_owned())
        .collect();
    ensure!(
        guests == tested,
        "guests {guests:?}\nbut in src/guests.rs {tested:?}"
    );
    let mut languages = BTreeSet::new();
    for entry in std::fs::read_dir(here.join("languages"))? {
        languages.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    let run: BTreeSet<String> = OTHER_LANGUAGES
        .iter()
        .map(|(language, _)| (*language).to_owned())
        .collect();
    ensure!(
        languages == run,
        "{languages:?}\nbut in src/guests.rs {run:?}"
    );
    for (guest, file) in TESTED.iter().chain(OTHER_LANGUAGES) {
        let text = std::fs::read_to_string(here.join("tests").join(file))?;
        ensure!(
            text.contains(&format!("\"{guest}\"")),
            "{file} does not name the guest {guest}"
        );
    }
    Ok(())
}
