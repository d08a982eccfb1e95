//! Promise: no guest without a test. A program of misbehaviour that nothing runs proves nothing.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use sluicegate_tests::guests::TESTED;

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
    for (guest, file) in TESTED {
        let text = std::fs::read_to_string(here.join("tests").join(file))?;
        ensure!(
            text.contains(&format!("\"{guest}\"")),
            "{file} does not name the guest {guest}"
        );
    }
    Ok(())
}
