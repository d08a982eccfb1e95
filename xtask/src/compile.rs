//! Builds what tests and demo run: the `sluice` binary, the test guests, the plug-ins.

mod peers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::layout::Layout;
use crate::run;
use crate::setup::Languages;

pub(crate) use peers::{native_peer, peers};

/// How much of the workspace to build along with `sluice`.
#[derive(Clone, Copy)]
pub(crate) enum Scope {
    /// Tests and all, in one go: cargo unites the features of everything it builds in
    /// one call, and a `sluice` built alone would compile half of its dependencies twice.
    Workspace,
    /// `sluice` only.
    Binary,
}

/// Builds with the profile `dev` and gives the path of `sluice`.
pub(crate) fn sluice(layout: &Layout, scope: Scope) -> Result<PathBuf> {
    let args: &[&str] = match scope {
        Scope::Workspace => &["--workspace", "--all-targets"],
        Scope::Binary => &["--package", "sluicegate-host", "--bin", "sluice"],
    };
    program(&build(&layout.root, args)?, "sluice")
}

/// What `cargo xtask bench` runs.
pub(crate) struct Benchmarks {
    pub(crate) sluice: PathBuf,
    /// Measures it; a program of the tests' crate, for the harness.
    pub(crate) bench: PathBuf,
}

/// Builds with the profile `release`, in one go: what the two have in common is built once.
pub(crate) fn benchmarks(layout: &Layout) -> Result<Benchmarks> {
    let args = [
        "--release",
        "--package",
        "sluicegate-host",
        "--bin",
        "sluice",
        "--package",
        "sluicegate-tests",
        "--bin",
        "bench",
    ];
    let messages = build(&layout.root, &args)?;
    Ok(Benchmarks {
        sluice: program(&messages, "sluice")?,
        bench: program(&messages, "bench")?,
    })
}

/// Calls `cargo build` in a folder and gives its messages, one JSON document a line.
fn build(dir: &Path, args: &[&str]) -> Result<String> {
    let mut cargo = run::cargo(dir);
    cargo.args(["build", "--message-format", "json-render-diagnostics"]);
    cargo.args(args);
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not start `{}`", run::shown(&cargo)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", run::shown(&cargo), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The path of the program `name` that cargo's messages tell of.
fn program(messages: &str, name: &str) -> Result<PathBuf> {
    messages
        .lines()
        .find_map(|line| executable(line, name))
        .with_context(|| format!("`cargo build` made no program of the name {name}"))
}

/// The path in cargo's message about a finished program.
fn executable(line: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is = |pointer: &str, value: Value| message.pointer(pointer) == Some(&value);
    let wanted = is("/reason", "compiler-artifact".into())
        && is("/target/name", name.into())
        && is("/profile/test", false.into());
    wanted.then(|| message.pointer("/executable")?.as_str().map(PathBuf::from))?
}

/// The test guests that use what an operating system has, and so import WASI.
const WASI_GUESTS: [&str; 2] = ["calls", "wasi"];

/// Builds the test guests and gives the folder with one component for each manifest.
pub(crate) fn guests(layout: &Layout, sluice: &Path) -> Result<PathBuf> {
    let source = layout.root.join("tests/guests");
    let target = layout.target.join("guests");
    let build = |triple: &str, what: &[&str]| {
        let mut cargo = run::cargo(&source);
        cargo.args(["build", "--release", "--target", triple]);
        cargo.args(what).arg("--target-dir").arg(&target);
        run::plain(&mut cargo)?;
        Ok::<_, anyhow::Error>(target.join(triple).join("release/examples"))
    };
    let modules = build("wasm32-unknown-unknown", &["--examples"])?;
    let mut wasi = vec!["--features", "wasi"];
    wasi.extend(WASI_GUESTS.iter().flat_map(|guest| ["--example", guest]));
    let wasi_modules = build("wasm32-wasip2", &wasi)?;
    let components = made(target.join("components"))?;
    for manifest in files(&source.join("manifests"), "toml")? {
        // The guest `retry-twice` is the example and therefore the module `retry_twice`.
        let name = stem(&manifest).replace('-', "_");
        let made = if WASI_GUESTS.contains(&name.as_str()) {
            &wasi_modules
        } else {
            &modules
        };
        let module = made.join(format!("{name}.wasm"));
        if !module.is_file() {
            bail!(
                "{} has no example of its name: {} is not there",
                layout.short(&manifest),
                layout.short(&module)
            );
        }
        let out = components.join(format!("{name}.wasm"));
        if is_newer(&out, &[&module, &manifest, sluice]) {
            continue;
        }
        run::output(
            run::program(sluice)
                .arg("build")
                .arg("--module")
                .arg(&module)
                .arg("--manifest")
                .arg(&manifest)
                .arg("--out")
                .arg(&out),
        )?;
    }
    Ok(components)
}

/// Builds every folder of `source` that holds a `plugin.toml` to `out/<folder>.wasm`; those in
/// other languages than Rust by the tools given, or not at all. Says which were left out.
pub(crate) fn plugins(
    layout: &Layout,
    sluice: &Path,
    source: &Path,
    out: &Path,
    languages: Option<&Languages>,
) -> Result<Vec<String>> {
    fs::create_dir_all(out).with_context(|| format!("could not make {}", out.display()))?;
    let mut folders: Vec<_> = entries(source)?
        .into_iter()
        .filter(|path| path.join("plugin.toml").is_file())
        .collect();
    folders.sort();
    if folders.is_empty() {
        bail!(
            "{} holds no folder with a plugin.toml",
            layout.short(source)
        );
    }
    let mut left_out = Vec::new();
    for folder in folders {
        let file = out.join(format!("{}.wasm", stem(&folder)));
        let mut build = run::program(sluice);
        build.arg("build").arg(&folder).arg("--out").arg(&file);
        build.env("CARGO_TARGET_DIR", plugin_target(layout));
        if !folder.join("Cargo.toml").is_file() {
            let Some(languages) = languages else {
                continue;
            };
            if !languages.can_build(&folder) {
                // One of an earlier day would be tested as if it were today's.
                let _ = fs::remove_file(&file);
                left_out.push(format!("{} SKIPPED", stem(&folder)));
                continue;
            }
            // It takes long, and cargo is not there to see that nothing has changed.
            let mut sources = files_of(&folder)?;
            sources.push(sluice.to_owned());
            let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
            if is_newer(&file, &sources) {
                continue;
            }
            // As it is in this repository today.
            let _ = fs::remove_dir_all(folder.join("sluicegate"));
            build.envs(languages.environment());
        }
        run::output(&mut build)?;
    }
    Ok(left_out)
}

/// The files of a folder itself.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = entries(folder)?;
    files.retain(|path| path.is_file() && stem(path) != stem(folder));
    Ok(files)
}

/// One target folder for the workspaces of all plug-ins, so that the SDK is built once.
pub(crate) fn plugin_target(layout: &Layout) -> PathBuf {
    layout.target.join("plugin-build")
}

/// Whether `file` was made after all of `inputs`.
pub(crate) fn is_newer(file: &Path, inputs: &[&Path]) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    let Some(made) = changed(file) else {
        return false;
    };
    let newest: Option<Vec<SystemTime>> = inputs.iter().map(|path| changed(path)).collect();
    newest.is_some_and(|times| times.into_iter().all(|time| time < made))
}

fn made(dir: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    Ok(dir)
}

fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = entries(dir)?;
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    Ok(files)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(dir)
        .with_context(|| format!("could not read the folder {}", dir.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_finished_binary_among_cargos_messages() {
        let line = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"sluice"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        assert_eq!(
            executable(&line(false, r#""a/sluice""#), "sluice"),
            Some("a/sluice".into())
        );
        let none = |line: &str| assert_eq!(executable(line, "sluice"), None, "{line}");
        none(&line(true, r#""a/sluice-0f""#));
        none(&line(false, "null"));
        none(r#"{"reason":"build-finished"}"#);
        none("not JSON");
        assert_eq!(executable(&line(false, r#""a/sluice""#), "bench"), None);
    }
}
