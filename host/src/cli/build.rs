//! `sluice build`: takes a Rust plug-in's folder, or what another tool built, gives one .wasm file with the manifest in it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use super::output::line;
use crate::manifest::{self, Manifest};
use crate::plugin::{generation, package};

const TARGET: &str = "wasm32-unknown-unknown";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plug-in's folder, with Cargo.toml and plugin.toml.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where the file goes; <DIR>/<name>.wasm when not given.
    #[arg(long, short)]
    out: Option<PathBuf>,
    /// Take this core module or component instead of building one.
    #[arg(long, requires = "manifest", conflicts_with = "dir")]
    module: Option<PathBuf>,
    /// The manifest; <DIR>/plugin.toml when not given.
    #[arg(long)]
    manifest: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let manifest_file = args
        .manifest
        .clone()
        .unwrap_or_else(|| args.dir.join("plugin.toml"));
    let text = std::fs::read_to_string(&manifest_file)
        .with_context(|| format!("{} cannot be read", manifest_file.display()))?;
    let manifest = manifest::parse(&text, &manifest_file.display().to_string())?;
    let module = match &args.module {
        Some(module) => module.clone(),
        None => cargo_build(&args.dir)?,
    };
    let wasm =
        std::fs::read(&module).with_context(|| format!("{} cannot be read", module.display()))?;
    let component = package::componentize(&wasm)
        .with_context(|| format!("{} cannot be made a plug-in", module.display()))?;
    if wasm == component {
        check_grants(&component, &manifest)
            .with_context(|| format!("{} cannot be made a plug-in", module.display()))?;
    }
    let file = package::embed_manifest(&component, &text)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| args.dir.join(format!("{}.wasm", manifest.name)));
    write(&out, &file).with_context(|| format!("{} cannot be written", out.display()))?;
    line!(
        "{} {}  {:.1} KB  {}\n{}",
        manifest.name,
        manifest.version,
        file.len() as f64 / 1024.0,
        package::digest(&file),
        out.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// The tools of Python and JavaScript import all of a world, used or not, so that a grant is
/// easily missing: better said here than at load.
fn check_grants(component: &[u8], manifest: &Manifest) -> anyhow::Result<()> {
    for import in package::imports(component)? {
        generation::check_grant(&import, manifest).map_err(|error| {
            anyhow::anyhow!("{error}; or build it for a world without this import")
        })?;
    }
    Ok(())
}

/// Whoever watches the folder sees the old file or the new one, never a part.
pub(super) fn write(out: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = match out.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, bytes)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(file.path(), readable)?;
    file.persist(out)?;
    Ok(())
}

/// Runs cargo, and finds the core module among what it made.
fn cargo_build(dir: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--lib", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .arg("--manifest-path")
        .arg(dir.join("Cargo.toml"))
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be run; is Rust installed?")?;
    if !output.status.success() {
        bail!("cargo build failed; if the target is missing: rustup target add {TARGET}");
    }
    let manifest = dir.join("Cargo.toml").canonicalize()?;
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Artifact>(line).ok())
        .filter(|artifact| Path::new(&artifact.manifest_path) == manifest)
        .flat_map(|artifact| artifact.filenames)
        .find(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        .with_context(|| {
            format!(
                "cargo made no .wasm file; {} needs [lib] crate-type = [\"cdylib\"]",
                dir.join("Cargo.toml").display()
            )
        })
}

#[derive(serde::Deserialize)]
struct Artifact {
    manifest_path: String,
    filenames: Vec<PathBuf>,
}
