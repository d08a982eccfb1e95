//! `sluice replay --into`: takes events of the store and a build, gives what it does otherwise than is recorded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;
use tokio_util::sync::CancellationToken;

use self::report::tell;
use crate::broker::EVENTS;
use crate::cli::connect::stream;
use crate::cli::output::line;
use crate::cli::progress::Progress as Bar;
use crate::cli::stop::Stop;
use crate::config::{Config, Schemas};
use crate::deployment::{self, Components};
use crate::load;
use crate::manifest::Manifest;
use crate::metrics::Metrics;
use crate::operations::fleet;
use crate::operations::history::{Bounds, Export};
use crate::operations::shadow::{
    Definition, Progress, Scope, Shadow, Step, Store, run as replay, scope,
};
use crate::plugin::engine::Engine;
use crate::plugin::generation::Generation;
use crate::plugin::package::digest;
use crate::schemas::fitting::Fitting;
use crate::schemas::known::Known;
use crate::telemetry;

mod report;

/// What is asked of a shadow.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// The shadow's build, a .wasm file; the one that is deployed when not given.
    #[arg(long, value_name = "FILE", requires = "into")]
    component: Option<PathBuf>,
    /// A config value of the shadow, key=value.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "into", value_parser = pair)]
    set: Vec<(String, String)>,
    /// What does not count in an emitted event, a JSON pointer such as /event/data/at; times and
    /// traces of it never do.
    #[arg(long, value_name = "POINTER", requires = "into", value_parser = pointer)]
    ignore: Vec<String>,
    /// Write every difference into this file, a JSON object a line.
    #[arg(long, value_name = "FILE", requires = "into")]
    differences: Option<PathBuf>,
    /// Print so many differences.
    #[arg(long, value_name = "N", requires = "into", default_value_t = 20)]
    show: usize,
    /// Where shadows are kept, a folder each.
    #[arg(
        long,
        value_name = "FOLDER",
        requires = "into",
        default_value = ".sluicegate/shadows"
    )]
    folder: PathBuf,
    /// Throw away what a shadow of this name has found before.
    #[arg(long, requires = "into")]
    anew: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=');
    let (key, value) = pair.ok_or_else(|| "expected key=value".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

fn pointer(text: &str) -> Result<String, String> {
    match text.strip_prefix('/') {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("expected a JSON pointer such as /event/data/at".to_owned()),
    }
}

pub(super) async fn run(args: super::Args) -> anyhow::Result<ExitCode> {
    telemetry::warnings();
    let name = args.into.clone().context("--into is missing")?;
    let folder = args.shadow.folder.join(&name);
    let (query, bounds) = args.which.query();
    // Before anything is asked of a broker.
    let named = match &args.shadow.component {
        Some(file) => Some(std::fs::read(file).with_context(|| file.display().to_string())?),
        None => None,
    };
    let context = args.target.connect().await?;
    let events = stream(&context, EVENTS).await?;
    let (bytes, place) = match (named, &args.shadow.component) {
        (Some(bytes), Some(file)) => (bytes, file.display().to_string()),
        _ => deployed(&context, &args.plugin).await?,
    };
    let mut manifest =
        load::manifest(&bytes, &place, &Config::default()).with_context(|| place.clone())?;
    if manifest.name != args.plugin {
        bail!(
            "{place} is a build of {}, and --plugin says {}; what is recorded of one tells nothing \
             of the other",
            manifest.name,
            args.plugin
        );
    }
    manifest.config.extend(args.shadow.set.iter().cloned());
    let definition = Definition {
        plugin: args.plugin.clone(),
        digest: digest(&bytes),
        version: manifest.version.clone(),
        conditions: args.which.said(),
        config: BTreeMap::from_iter(args.shadow.set.iter().cloned()),
        ignored: args.shadow.ignore.clone(),
        effects: args.effects,
    };
    let scope = scope(&context, &events, &args.plugin).await?;
    let heard = manifest.filter_subjects(&(0..crate::ownership::SLOTS).collect::<Vec<u8>>());
    let found = Export::between(&context, &events, heard, &query, bounds).await?;
    let Bounds { from, to } = found.bounds();
    let from = from.unwrap_or(1).saturating_sub(1);
    let to = to.unwrap_or(0).min(scope.last());
    if args.dry_run {
        match args.json {
            true => line!("{}", serde_json::json!({ "total": found.expected() })),
            false => line!(
                "{} events of the subscription, up to {to}, would be given to the shadow",
                found.expected()
            ),
        }
        return Ok(ExitCode::SUCCESS);
    }
    drop(found);
    let store = open(&folder, &definition, args.shadow.anew, (&scope, from, to))?;
    let scope = store.scope()?;
    let emit = emit(&context, &manifest).await?;
    let shadow = Shadow {
        generation: compiled(&context, bytes, manifest).await.context(place)?,
        store: Arc::clone(&store),
        definition,
        scope,
        query,
        emit,
        dedup_window: Config::default().ledger.dedup_window,
    };
    let definition = shadow.definition.clone();
    let progress = Box::pin(follow((&context, &events), shadow, args.rate)).await?;
    tell(&args, &store, &definition, &progress)
}

/// The build that hosts are to run.
async fn deployed(context: &Context, plugin: &str) -> anyhow::Result<(Vec<u8>, String)> {
    let wish = deployment::wish(context, plugin).await?;
    let build = wish
        .build
        .ok_or_else(|| anyhow!("no build of {plugin} is deployed; say --component FILE"))?;
    let bytes = Components::open(context).await?.get(&build.digest).await?;
    Ok((bytes, format!("{plugin} {}", build.version)))
}

/// Where the plug-in may have emitted to: what this build is granted, and what the running ones are.
async fn emit(context: &Context, manifest: &Manifest) -> anyhow::Result<Vec<String>> {
    let mut emit = manifest.capabilities.emit.clone();
    let (answers, _) = fleet::answers(context).await?;
    let entries = answers.into_iter().flat_map(|answer| answer.plugins);
    let limits = entries
        .filter(|entry| entry.plugin == manifest.name)
        .filter_map(|entry| entry.limits);
    emit.extend(limits.flat_map(|limits| limits.emit));
    Ok(emit)
}

/// It reads the versions that it would read live.
async fn compiled(
    context: &Context,
    bytes: Vec<u8>,
    manifest: Manifest,
) -> anyhow::Result<Generation> {
    let known = Known::default();
    known.read(context).await?;
    let fitting = Fitting::new(known, Schemas::default(), Metrics::default());
    let compiling = tokio::task::spawn_blocking(move || {
        let engine = Engine::new().map_err(|error| anyhow!("{error:#}"))?;
        let engine = engine.with_fitting(fitting);
        Ok(Generation::load(&Arc::new(engine), &bytes, manifest)?)
    });
    compiling.await?
}

/// The shadow of this name goes on only as what it was.
fn open(
    folder: &Path,
    definition: &Definition,
    anew: bool,
    (scope, from, to): (&Scope, u64, u64),
) -> anyhow::Result<Arc<Store>> {
    if anew && folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let store = Store::open(folder)?;
    match store.definition()? {
        Some(before) if before == *definition => {}
        Some(before) => bail!(
            "{} is another replay: {}; give this one another name, or say --anew to throw that one \
             away",
            folder.display(),
            said(&before)
        ),
        None => {
            let progress = Progress {
                from,
                to,
                ..Progress::default()
            };
            store.begin(definition, scope, &progress)?;
        }
    }
    Ok(Arc::new(store))
}

/// A replay in words.
fn said(definition: &Definition) -> String {
    let Definition {
        plugin,
        digest,
        version,
        conditions,
        config,
        ignored,
        effects,
    } = definition;
    let mut said = format!("{plugin} {version}, {}", digest.get(..19).unwrap_or(digest));
    let config = config
        .iter()
        .map(|(key, value)| format!("--set {key}={value}"));
    let ignored = ignored.iter().map(|pointer| format!("--ignore {pointer}"));
    let effects = effects.then(|| "--effects".to_owned());
    for words in conditions
        .iter()
        .cloned()
        .chain(config)
        .chain(ignored)
        .chain(effects)
    {
        said.push_str(", ");
        said.push_str(&words);
    }
    said
}

async fn follow(
    from: (&Context, &Stream),
    shadow: Shadow,
    rate: Option<u32>,
) -> anyhow::Result<Progress> {
    let mut stop = Stop::new()?;
    let token = CancellationToken::new();
    let mut shown = Steps(None);
    let done = {
        let show = |step, done, total| shown.show(step, done, total);
        let running = replay(from, shadow, rate, &token, show);
        tokio::pin!(running);
        tokio::select! {
            done = &mut running => done,
            () = stop.asked() => {
                token.cancel();
                running.await
            }
        }
    };
    shown.end();
    Ok(done?)
}

/// A bar for each step.
struct Steps(Option<(Step, Bar)>);

impl Steps {
    fn show(&mut self, step: Step, done: u64, total: u64) {
        if self.0.as_ref().is_none_or(|(before, _)| *before != step) {
            std::mem::replace(self, Self(Some((step, Bar::lasting(Some(total)))))).end();
        }
        let note = match step {
            Step::Recorded => "reading what is recorded",
            Step::Calls => "replaying",
        };
        if let Some((_, bar)) = &mut self.0 {
            bar.show(done, || note.to_owned());
        }
    }

    fn end(self) {
        if let Some((_, bar)) = self.0 {
            bar.end();
        }
    }
}
