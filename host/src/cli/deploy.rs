//! `sluice deploy`: takes a plug-in's file, gives it to every host, at once or for a share of the keys.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use async_nats::jetstream::Context;
use serde_json::json;

use super::connect::Target;
use super::following::{Does, Patience, entry, known, wait};
use super::output::line;
use crate::clock;
use crate::config::Config;
use crate::deployment::{self, Canary, Components, Wanted, Wish};
use crate::load;
use crate::manifest::{Manifest, Reads};
use crate::operations::{Who, audit};
use crate::plugin::engine::Engine;
use crate::plugin::generation::Generation;
use crate::roster::Answer;
use crate::schemas::fits::missing;
use crate::schemas::registry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plug-in's .wasm file.
    file: PathBuf,
    /// Try it on this share of the keys first, beside the build that runs: 5%. A canary that
    /// does worse is taken back. Deploy the file again without this to have it run for all.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    canary: Option<f64>,
    /// Deploy it though its [[reads]] name members that the schemas do not have.
    #[arg(long)]
    whatever_it_reads: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    target: Target,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse();
    match number {
        Ok(percent) if 0.0 < percent && percent < 100.0 => Ok(percent),
        Ok(_) | Err(_) => Err("expected a share between 0% and 100%, such as 5%".to_owned()),
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (bytes, manifest) = load::open(&args.file, &Config::default())
        .with_context(|| args.file.display().to_string())?;
    let plugin = manifest.name.clone();
    let version = manifest.version.clone();
    let reads = manifest.reads.clone();
    let bytes = checked(bytes, manifest)
        .await
        .with_context(|| args.file.display().to_string())?;
    let context = args.target.connect().await?;
    if args.canary.is_some() {
        known(&context, &plugin)
            .await
            .context("a canary is tried beside a build that runs; deploy it without --canary")?;
    }
    if !args.whatever_it_reads {
        fits(&context, &reads)
            .await
            .with_context(|| format!("{plugin} is not deployed"))?;
    }
    let components = Components::open(&context).await?;
    let digest = components.put(&bytes).await?;
    let build = Wanted {
        digest: digest.clone(),
        version,
        at: clock::rfc3339(clock::unix_millis()),
    };
    // Refused before it is written down that it was done.
    say(
        &mut deployment::wish(&context, &plugin).await?,
        &build,
        args.canary,
    )
    .with_context(|| format!("{plugin} is not deployed"))?;
    let (action, detail) = match args.canary {
        Some(percent) => ("canary", json!({ "to": build, "percent": percent })),
        None => ("deploy", json!({ "to": build })),
    };
    audit::record(
        &context,
        &Who::at_the_command_line(),
        action,
        &plugin,
        detail,
    )
    .await?;
    let (before, after) =
        deployment::change(&context, &plugin, |wish| say(wish, &build, args.canary))
            .await
            .with_context(|| format!("{plugin} is not deployed"))?;
    tidy(&components, &before, &after).await;
    let what = format!("{plugin} {} {}", build.version, short(&digest));
    match args.canary {
        Some(percent) => {
            let what = format!("{what} for {percent}% of the keys");
            wait(&context, &what, &args.patience, |answer| {
                tries(answer, &plugin, &digest, percent)
            })
            .await
        }
        None => {
            wait(&context, &what, &args.patience, |answer| {
                runs(answer, &plugin, &digest)
            })
            .await
        }
    }
}

/// Whether the schemas have what the plug-in says that it reads.
async fn fits(context: &Context, reads: &[Reads]) -> anyhow::Result<()> {
    if reads.is_empty() {
        return Ok(());
    }
    let mut shapes = BTreeMap::new();
    for one in reads {
        let versions = registry::versions(context, Some(&one.event_type)).await?;
        for (event_type, versions) in versions {
            let of_type: Result<Vec<_>, registry::Error> = versions
                .into_iter()
                .map(|(number, version)| Ok((number, version.shape()?)))
                .collect();
            shapes.insert(event_type, of_type?);
        }
    }
    let versions = |event_type: &str| shapes.get(event_type).cloned().unwrap_or_default();
    let missing = missing(reads, versions);
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    bail!(
        "its [[reads]] name what the schemas do not have: {}; `sluice schema show TYPE` shows what \
         there is, and --whatever-it-reads deploys it all the same",
        missing.join("; ")
    )
}

/// Compiles, links and starts it here: what cannot run is not given to anybody.
async fn checked(bytes: Vec<u8>, manifest: Manifest) -> anyhow::Result<Vec<u8>> {
    let checking = tokio::task::spawn_blocking(move || {
        let engine = Engine::new().map_err(|error| anyhow!("{error:#}"))?;
        Generation::load(&Arc::new(engine), &bytes, manifest)?.warm()?;
        Ok(bytes)
    });
    checking.await?
}

fn say(wish: &mut Wish, build: &Wanted, canary: Option<f64>) -> anyhow::Result<()> {
    let runs = wish.build.as_ref().map(|build| &build.digest);
    match canary {
        Some(_) if runs == Some(&build.digest) => {
            bail!("this build runs already, for all keys");
        }
        Some(percent) => {
            let build = build.clone();
            wish.canary = Some(Canary { build, percent });
            wish.taken_back = None;
        }
        None if runs == Some(&build.digest) => wish.canary = None,
        None => {
            wish.deploy(build.clone());
            wish.taken_back = None;
        }
    }
    Ok(())
}

/// Lets go of components that nobody can go back to.
pub(super) async fn tidy(components: &Components, before: &Wish, after: &Wish) {
    let taken_back = before.taken_back.iter();
    let taken_back = taken_back.map(|canary| canary.build.digest.as_str());
    let mut gone: Vec<&str> = before.digests().chain(taken_back).collect();
    gone.retain(|digest| after.digests().all(|kept| kept != *digest));
    for digest in gone {
        if let Err(error) = components.delete(digest).await {
            eprintln!("warning: {digest} stays in the object store: {error}");
        }
    }
}

/// Whether a host runs this build for all keys that no canary has.
pub(super) fn runs(answer: &Answer, plugin: &str, digest: &str) -> Does {
    if let Some(entry) = entry(answer, plugin).filter(|entry| entry.build.digest == digest) {
        let mut behind = entry.carrying_over.iter();
        let cannot = behind.find_map(|partition| {
            let label = deployment::label_of_state(partition);
            answer
                .refused
                .get(&label)
                .filter(|why| why.starts_with(digest))
        });
        return match cannot {
            Some(why) => Does::Refuses(why.clone()),
            None if entry.carrying_over.is_empty() => Does::It,
            None => Does::NotYet,
        };
    }
    let divided = answer.refused.get(plugin).cloned();
    divided.map_or_else(
        || refuses(answer, &deployment::label(plugin), digest),
        Does::Refuses,
    )
}

fn tries(answer: &Answer, plugin: &str, digest: &str, percent: f64) -> Does {
    let canary = entry(answer, plugin).and_then(|entry| entry.canary.as_ref());
    if canary.is_some_and(|canary| canary.digest == digest && canary.percent == percent) {
        return Does::It;
    }
    refuses(answer, &deployment::label_of_canary(plugin), digest)
}

/// A refusal of another build is an old one.
fn refuses(answer: &Answer, label: &str, digest: &str) -> Does {
    match answer.refused.get(label) {
        Some(why) if why.starts_with(digest) => Does::Refuses(why.clone()),
        Some(_) | None => Does::NotYet,
    }
}

/// Enough of a digest to know it by.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

/// The build that is deployed now, said of a host.
pub(super) async fn follow(
    context: &Context,
    (plugin, wish): (&str, &Wish),
    patience: &Patience,
) -> anyhow::Result<ExitCode> {
    match &wish.build {
        Some(build) => {
            let what = format!("{plugin} {} {}", build.version, short(&build.digest));
            wait(context, &what, patience, |answer| {
                let on_trial = entry(answer, plugin).and_then(|entry| entry.canary.as_ref());
                match on_trial {
                    Some(_) => Does::NotYet,
                    None => runs(answer, plugin, &build.digest),
                }
            })
            .await
        }
        None => {
            let what = format!("{plugin}: what each host's folder has");
            wait(context, &what, patience, |answer| {
                match entry(answer, plugin) {
                    Some(entry) if entry.build.file == "deployed" || entry.canary.is_some() => {
                        Does::NotYet
                    }
                    Some(_) | None => Does::It,
                }
            })
            .await
        }
    }
}

/// Says what is gone.
pub(super) fn went(build: &Wanted) {
    line!("{} {} runs no more", build.version, short(&build.digest));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_with_or_without_its_sign() {
        assert_eq!(percent("5%"), Ok(5.0));
        assert_eq!(percent("0.5"), Ok(0.5));
        for text in ["0", "100%", "-1", "five", "", "NaN", "%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }
}
