//! Takes the variables that `cargo xtask test` sets, gives the files under test.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The `sluice` binary under test (`SLUICE_BIN`).
///
/// # Errors
/// When the variable is missing or names nothing.
pub fn sluice() -> Result<PathBuf> {
    required("SLUICE_BIN")
}

/// The nats-server to test against, 2.12 or newer (`SLUICE_NATS_SERVER`).
///
/// # Errors
/// When the variable is missing or names nothing.
pub fn nats_server() -> Result<PathBuf> {
    required("SLUICE_NATS_SERVER")
}

/// The component of one guest of `tests/guests`: `emit_one` is `emit_one.wasm` in
/// `SLUICE_GUESTS`.
///
/// # Errors
/// When the variable is missing or the guest was not built.
pub fn guest(name: &str) -> Result<PathBuf> {
    component(&required("SLUICE_GUESTS")?, name)
}

/// The component of one guest of `tests/languages`, also in `SLUICE_GUESTS`. `None` when it
/// was not built, for want of its language's tools: then that is told, and the caller skips.
///
/// # Errors
/// When the variable is missing.
pub fn language_guest(language: &str) -> Result<Option<PathBuf>> {
    let guest = component(&required("SLUICE_GUESTS")?, language);
    if guest.is_err() {
        eprintln!("SKIPPED: the tools for {language} are not there; `cargo xtask setup` says why");
    }
    Ok(guest.ok())
}

/// A program from outside that a test looks at a host with: `SLUICE_CHROMIUM`,
/// `SLUICE_PLAYWRIGHT` (the `node_modules` that holds playwright-core), `SLUICE_PROMETHEUS`,
/// `SLUICE_PROMTOOL`, `SLUICE_POSTGRES` (the folder of its programs). `None` when it is not there: then that is told, and the caller skips.
pub fn outsider(variable: &str) -> Option<PathBuf> {
    let path = required(variable);
    if path.is_err() {
        eprintln!("SKIPPED: {variable} names nothing; `cargo xtask setup` says why");
    }
    path.ok()
}

/// The OpenTelemetry collector to export to (`SLUICE_COLLECTOR`). `None` when it cannot be had:
/// then that is told, and the caller skips.
///
/// # Errors
/// When the variable names nothing.
pub fn collector() -> Result<Option<PathBuf>> {
    if env::var_os("SLUICE_COLLECTOR").is_none_or(|value| value.is_empty()) {
        eprintln!("SKIPPED: there is no collector; `cargo xtask setup` says why");
        return Ok(None);
    }
    required("SLUICE_COLLECTOR").map(Some)
}

/// The component of one example plug-in of `plugins/` (`SLUICE_PLUGINS`).
///
/// # Errors
/// When the variable is missing or the plug-in was not built.
pub fn plugin(name: &str) -> Result<PathBuf> {
    component(&required("SLUICE_PLUGINS")?, name)
}

/// The target folder of the plug-ins' own builds, where what they depend on is compiled already.
///
/// # Errors
/// When the variable is missing or no plug-in was built.
pub fn plugin_target() -> Result<PathBuf> {
    let plugin = plugin("audit-trail")?;
    let target = plugin.ancestors().nth(2).context("no target folder")?;
    Ok(target.join("plugin-build"))
}

/// Whether this is a long run (`SLUICE_LONG`, set by `cargo xtask test --long`).
pub fn long() -> bool {
    env::var_os("SLUICE_LONG").is_some_and(|value| !value.is_empty() && value != "0")
}

/// The seed of a test that draws its faults: `SLUICE_SEED`, else another each time. It is
/// printed, so that a run can be made again.
///
/// # Errors
/// When `SLUICE_SEED` is no number.
pub fn seed() -> Result<u64> {
    let seed = match env::var("SLUICE_SEED") {
        Ok(text) => text.parse().context("SLUICE_SEED is no number")?,
        Err(_) => rand::random(),
    };
    eprintln!("SLUICE_SEED={seed}");
    Ok(seed)
}

/// Writes what a run came to into `chaos/<name>.json` in the target folder, and prints it.
///
/// # Errors
/// When the file cannot be written.
pub fn write_figures(name: &str, figures: &Value) -> Result<()> {
    eprintln!("{name}: {figures}");
    let folder = target()?.join("chaos");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.json"));
    fs::write(&file, serde_json::to_vec_pretty(figures)?)
        .with_context(|| file.display().to_string())
}

/// Bodies of public samples, which are not part of the project: `SLUICEGATE_FIXTURES`,
/// else `shared/fixtures` beside the repository. `None` when neither is there, and the
/// caller says that it skips.
pub fn fixtures() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    let folder = env::var_os("SLUICEGATE_FIXTURES").map_or_else(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// A body of our own in `tests/fixtures`.
pub fn own_fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// The `target` folder, where a chaos run leaves its figures.
///
/// # Errors
/// When the running program's own path cannot be read.
pub fn target() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("CARGO_TARGET_DIR") {
        return Ok(folder.into());
    }
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
}

fn component(folder: &Path, name: &str) -> Result<PathBuf> {
    let file = folder.join(format!("{name}.wasm"));
    ensure!(
        file.is_file(),
        "{} is missing: run `cargo xtask test`, which builds it",
        file.display()
    );
    Ok(file)
}

fn required(name: &str) -> Result<PathBuf> {
    let value = env::var_os(name).with_context(|| {
        format!(
            "{name} is not set: run `cargo xtask test`, which builds what the promise tests need"
        )
    })?;
    let path = PathBuf::from(value);
    ensure!(
        path.exists(),
        "{name} names {}, which is not there: run `cargo xtask test`",
        path.display()
    );
    Ok(path)
}
