//! `sluice build`: takes a plug-in's folder, or what another tool built, gives one .wasm file with the manifest in it.

mod javascript;
mod python;
mod rust;
mod tool;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::output::line;
use crate::manifest::{self, Manifest};
use crate::plugin::grants::check_grant;
use crate::plugin::package;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plug-in's folder: plugin.toml beside Cargo.toml, plugin.py, plugin.js or plugin.ts.
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
    let built = build(args)?;
    line!(
        "{} {}  {:.1} KB  {}\n{}",
        built.name,
        built.version,
        built.size as f64 / 1024.0,
        built.digest,
        built.file.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// A plug-in's file, and what is in it.
pub(super) struct Built {
    pub(super) name: String,
    version: String,
    size: usize,
    digest: String,
    pub(super) file: PathBuf,
}

/// Builds the folder to the file that it makes of itself.
pub(super) fn folder(dir: &Path) -> anyhow::Result<Built> {
    build(&Args {
        dir: dir.to_owned(),
        out: None,
        module: None,
        manifest: None,
    })
}

fn build(args: &Args) -> anyhow::Result<Built> {
    let manifest_file = args
        .manifest
        .clone()
        .unwrap_or_else(|| args.dir.join("plugin.toml"));
    let text = std::fs::read_to_string(&manifest_file)
        .with_context(|| format!("{} cannot be read", manifest_file.display()))?;
    let manifest = manifest::parse(&text, &manifest_file.display().to_string())?;
    let module = match &args.module {
        Some(module) => module.clone(),
        None => match Language::of(&args.dir)? {
            Language::Rust => rust::build(&args.dir)?,
            Language::Python | Language::JavaScript if manifest.projection.is_some() => bail!(
                "{}: a projection is written in Rust: what the tools of Python and JavaScript \
                 make imports clocks and random numbers, with which the same events would not \
                 give the same rows",
                manifest_file.display()
            ),
            Language::Python => python::build(&args.dir, &manifest)?,
            Language::JavaScript => javascript::build(&args.dir, &manifest)?,
        },
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
    Ok(Built {
        name: manifest.name,
        version: manifest.version,
        size: file.len(),
        digest: package::digest(&file),
        file: out,
    })
}

/// What a plug-in is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    Python,
    /// Or TypeScript.
    JavaScript,
}

impl Language {
    /// By the file that its tool begins with.
    fn of(dir: &Path) -> anyhow::Result<Self> {
        let languages = [
            ("Cargo.toml", Self::Rust),
            (python::SOURCE, Self::Python),
            (javascript::SOURCE, Self::JavaScript),
            (javascript::TYPED_SOURCE, Self::JavaScript),
        ];
        let mut found = languages
            .into_iter()
            .filter(|(file, _)| dir.join(file).is_file());
        match (found.next(), found.next()) {
            (Some((_, language)), None) => Ok(language),
            (Some((one, _)), Some((other, _))) => bail!(
                "{} has both {one} and {other}: a plug-in is written in one language",
                dir.display()
            ),
            (None, _) => bail!(
                "{} has no Cargo.toml, plugin.py, plugin.js or plugin.ts; `sluice new` makes a folder that has",
                dir.display()
            ),
        }
    }
}

/// The tools of Python and JavaScript import all of a world, used or not, so that a grant is
/// easily missing: better said here than at load.
fn check_grants(component: &[u8], manifest: &Manifest) -> anyhow::Result<()> {
    for import in package::imports(component)? {
        check_grant(&import, manifest).map_err(|error| {
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
