//! `sluice dev`: takes the sources of plug-ins, runs them with a broker, a gateway and a host of
//! their own, and builds and swaps what changes.

mod show;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::build::{self, Built};
use super::embedded;
use super::output::line;
use super::touched::Touched;
use crate::config::Config;
use crate::host::Host;
use crate::plugin::compiler::Compiler;

/// What is made of sources, and what is not theirs: no change of a plug-in. Nor is what is hidden.
const MADE: [&str; 6] = [
    "target",
    "node_modules",
    "__pycache__",
    "Cargo.lock",
    "package-lock.json",
    "expected.json",
];
/// What else belongs into the daemon's file: secrets, say.
const MORE: &str = "sluice.dev.toml";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A plug-in's folder, or one that has such folders in it.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The environment that the gateway takes events of.
    #[arg(long, default_value = "contoso")]
    environment: String,
    /// Where the gateway listens; it asks nobody for a key.
    #[arg(long, default_value = "127.0.0.1:8365")]
    gateway: SocketAddr,
    /// Where /healthz, /readyz and /metrics are.
    #[arg(long, default_value = "127.0.0.1:9365")]
    admin: SocketAddr,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let folders = folders(&args.dir)?;
    let data = args.dir.join(".sluicegate");
    let plugins = data.join("plugins");
    // What an earlier run has built may be of sources that are gone.
    let _ = fs::remove_dir_all(&plugins);
    fs::create_dir_all(&plugins)
        .with_context(|| format!("{} cannot be made", plugins.display()))?;
    let file = data.join("sluice.toml");
    embedded::write(&file, text(&args)?.as_bytes())?;
    let config = Config::load(&file)?;
    show::begin();

    // Watched from before the first build: what is changed meanwhile is built again.
    let mut sources = Vec::new();
    for folder in folders {
        let touched = Touched::folder(&folder, is_made)?;
        let mut source = Source {
            folder,
            plugins: plugins.clone(),
            placed: None,
        };
        source = tokio::task::spawn_blocking(move || {
            source.renew();
            source
        })
        .await?;
        sources.push((source, touched));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut host = Host::bind(config, Some(Compiler::this_program())).await?;
    let environment = &args.environment;
    line!(
        "gateway   http://{}/dataverse/{environment}  (also fno, eventgrid, cloudevents)\n\
         send      sluice send FILE… --environment {environment} --config {}  (--again for one that was sent before)\n\
         console   http://{}/\n\
         A change of a source is built and swapped in; Ctrl-C ends.",
        args.gateway,
        file.display(),
        args.admin,
    );
    for (mut source, mut touched) in sources {
        // A thread of its own for each: the process ends it.
        std::thread::spawn(move || {
            while touched.wait().is_ok() {
                source.renew();
            }
        });
    }
    tokio::select! {
        ended = host.join() => {
            ended?;
            return Ok(ExitCode::SUCCESS);
        }
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    show::end();
    host.shutdown().await?;
    Ok(ExitCode::SUCCESS)
}

/// The folder itself, or those in it that hold plug-ins.
fn folders(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if dir.join("plugin.toml").is_file() {
        return Ok(vec![dir.to_owned()]);
    }
    let entries = fs::read_dir(dir).with_context(|| format!("{} cannot be read", dir.display()))?;
    let folders: BTreeSet<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.join("plugin.toml").is_file())
        .collect();
    if folders.is_empty() {
        bail!(
            "{} has no plugin.toml, nor has a folder in it; `sluice new NAME` makes one",
            dir.display()
        );
    }
    Ok(folders.into_iter().collect())
}

fn is_made(inside: &Path) -> bool {
    let is_output = inside
        .extension()
        .is_some_and(|extension| extension == "wasm");
    let mut parts = inside
        .components()
        .filter_map(|part| part.as_os_str().to_str());
    is_output || parts.any(|part| part.starts_with('.') || MADE.contains(&part))
}

/// The daemon's file: what the flags say, and what the person has written down beside.
fn text(args: &Args) -> anyhow::Result<String> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = format!(
        "# Written by `sluice dev`; what is to be added belongs into {MORE}.\n\
         [nats]\nurl = \"embedded\"\n\
         [host]\nname = \"dev\"\ndata_dir = \".\"\nplugins_dir = \"plugins\"\nshutdown_grace = \"2s\"\n\
         [events]\nmax_bytes = \"1GiB\"\n\
         [gateway]\nlisten = {}\n[admin]\nlisten = {}\n",
        quoted(&args.gateway.to_string()),
        quoted(&args.admin.to_string()),
    );
    for kind in ["dataverse", "fno", "eventgrid", "cloudevents"] {
        text += &format!(
            "[[gateway.source]]\nenvironment = {}\nkind = \"{kind}\"\nauth = \"none-i-am-sure\"\n",
            quoted(&args.environment)
        );
    }
    let more = args.dir.join(MORE);
    match fs::read_to_string(&more) {
        Ok(more) => text += &more,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| more.display().to_string()),
    }
    Ok(text)
}

/// A plug-in's folder, and the file of it that the host runs.
struct Source {
    folder: PathBuf,
    plugins: PathBuf,
    placed: Option<PathBuf>,
}

impl Source {
    /// Builds it. The host goes on with the last good build where that fails.
    fn renew(&mut self) {
        let started = std::time::SystemTime::now();
        let shown = self.folder.display().to_string();
        line!("building  {shown}");
        let placed = build::folder(&self.folder).and_then(|built| self.place(&built));
        let took = started.elapsed().unwrap_or_default();
        match placed {
            Ok(name) => line!("built     {name} in {took:.1?}"),
            Err(error) => {
                let goes_on = match &self.placed {
                    Some(_) => "; the last good build goes on",
                    None => "",
                };
                line!("broken    {shown}{goes_on}\n{error:#}");
            }
        }
    }

    fn place(&mut self, built: &Built) -> anyhow::Result<String> {
        let to = self.plugins.join(format!("{}.wasm", built.name));
        build::write(&to, &fs::read(&built.file)?)?;
        if let Some(before) = self
            .placed
            .replace(to.clone())
            .filter(|before| *before != to)
        {
            // It was called otherwise.
            let _ = fs::remove_file(before);
        }
        Ok(built.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_sources_is_no_change() {
        for made in [
            "target/x",
            "a.wasm",
            ".sluice/wit/world.wit",
            ".tmpA1",
            "x/__pycache__/a.pyc",
        ] {
            assert!(is_made(Path::new(made)), "{made}");
        }
        for source in ["src/lib.rs", "plugin.toml", "plugin.py", "events/1.json"] {
            assert!(!is_made(Path::new(source)), "{source}");
        }
    }

    #[test]
    fn the_daemons_file_is_one_that_it_reads() {
        let folder = tempfile::tempdir().unwrap();
        let args = |dir: &Path| Args {
            dir: dir.to_owned(),
            environment: "contoso".to_owned(),
            gateway: "127.0.0.1:1".parse().unwrap(),
            admin: "127.0.0.1:2".parse().unwrap(),
        };
        let parse = |text: &str| Config::parse(text, "f", folder.path(), &|_| None);
        let config = parse(&text(&args(folder.path())).unwrap()).unwrap();
        assert_eq!(config.admin.listen.port(), 2);
        fs::write(folder.path().join(MORE), "[plugin.x]\nmax_in_flight = 1\n").unwrap();
        let config = parse(&text(&args(folder.path())).unwrap()).unwrap();
        assert!(config.overrides_for("x").is_some());
    }
}
