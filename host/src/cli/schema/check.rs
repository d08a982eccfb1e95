//! `sluice schema check`: takes a folder of schemas, gives what breaks the rule between two versions, and what plug-ins read that is not in them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::json;
use sluicegate_schema::{Rule, Shape, incompatible};

use crate::cli::output::line;
use crate::config::Config;
use crate::load;
use crate::schemas::{files, fits};

/// Who has to be able to read what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Word {
    /// Who knows the newer version reads what was written by the older one.
    Backward,
    /// Who knows the older version reads what is written by the newer one.
    Forward,
    /// Both.
    Full,
}

impl From<Word> for Rule {
    fn from(word: Word) -> Self {
        match word {
            Word::Backward => Self::Backward,
            Word::Forward => Self::Forward,
            Word::Full => Self::Full,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The folder, `<type>/<version>.json`.
    #[arg(default_value = "schemas")]
    folder: PathBuf,
    /// The rule between a version and the next one.
    #[arg(long, value_enum, default_value = "forward")]
    rule: Word,
    /// A plug-in's .wasm file: what its [[reads]] name has to be in the schemas too.
    #[arg(long, value_name = "FILE")]
    plugin: Vec<PathBuf>,
    /// A line of JSON for each thing that is wrong.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut wrong, mut count) = (0, 0);
    let mut shapes: BTreeMap<String, Vec<(u32, Shape)>> = BTreeMap::new();
    for (event_type, versions) in files::read(&args.folder)? {
        let mut before: Option<(u32, Shape)> = None;
        for (number, schema) in versions {
            let place = || format!("{event_type} version {number}");
            let shape = Shape::read(&schema).with_context(place)?;
            count += 1;
            if let Some((old, known)) = &before {
                for broken in incompatible(args.rule.into(), known, &shape) {
                    wrong += 1;
                    let (path, why) = (&broken.path, &broken.why);
                    if args.json {
                        line!(
                            "{}",
                            json!({"type": event_type, "old": old, "new": number, "path": path, "why": why})
                        );
                    } else {
                        line!("{event_type} {old} to {number}: {path}: {why}");
                    }
                }
            }
            let of_type = shapes.entry(event_type.clone()).or_default();
            of_type.push((number, shape.clone()));
            before = Some((number, shape));
        }
    }
    for file in &args.plugin {
        let (_, manifest) =
            load::open(file, &Config::default()).with_context(|| file.display().to_string())?;
        let versions = |event_type: &str| shapes.get(event_type).cloned().unwrap_or_default();
        for missing in fits::missing(&manifest.reads, versions) {
            wrong += 1;
            let (plugin, why) = (&manifest.name, missing.to_string());
            if args.json {
                line!(
                    "{}",
                    json!({
                        "plugin": plugin, "type": missing.event_type, "new": missing.version,
                        "path": missing.member, "why": why,
                    })
                );
            } else {
                line!("{plugin}: {why}");
            }
        }
    }
    if !args.json {
        line!("{count} versions, {wrong} found");
    }
    Ok(match wrong {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
