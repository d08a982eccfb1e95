//! `sluice schema check`: takes a folder of schemas, gives what breaks the rule between two versions.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::json;
use sluicegate_schema::{Rule, Shape, incompatible};

use crate::cli::output::line;
use crate::schemas::files;

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
    /// A line of JSON for each thing that is wrong.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut wrong, mut count) = (0, 0);
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
            before = Some((number, shape));
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
