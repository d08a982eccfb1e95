//! `sluice dlq discard`: takes dead letters, throws them away; one that cannot be leaves the others alone.

use std::process::ExitCode;

use serde_json::json;

use super::{Chosen, about};
use crate::cli::output::line;
use crate::cli::progress::Progress;
use crate::operations::dead_letters::discard;
use crate::operations::letters::{self, Letter};
use crate::operations::{Who, audit};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Discard {
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) async fn run(args: Discard) -> anyhow::Result<ExitCode> {
    let Chosen {
        ids,
        target,
        filter,
        json,
        all: _,
    } = args.chosen;
    let conditions = filter.conditions()?;
    let context = target.connect().await?;
    let dead_letters = letters::stream(&context).await?;
    let ids = if ids.is_empty() {
        let found = letters::all(&dead_letters, &conditions, 1).await?;
        found.iter().map(|letter| letter.id).collect()
    } else {
        for id in &ids {
            letters::one(&dead_letters, *id).await?;
        }
        ids
    };
    let who = Who::at_the_command_line();
    let (about, named) = about(&ids);
    let detail = json!({ "conditions": conditions.texts(), "letters": named });
    if !ids.is_empty() {
        audit::record(&context, &who, "discard", &about, detail).await?;
    }
    let mut progress = Progress::of_many(ids.len());
    let (mut done, mut failed) = (Vec::new(), 0);
    for (count, id) in ids.into_iter().enumerate() {
        progress.show(count as u64, String::new);
        let result = async {
            let letter = letters::one(&dead_letters, id).await?;
            let sequence = discard(&context, &letter).await?;
            anyhow::Ok((letter, sequence))
        };
        match result.await {
            Ok(one) => done.push(one),
            Err(error) => {
                failed += 1;
                eprintln!("error: dead letter {id} stays: {error:#}");
            }
        }
    }
    progress.end();
    show(&done, failed, json)?;
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn show(done: &[(Letter, Option<u64>)], failed: usize, json: bool) -> anyhow::Result<()> {
    if json {
        let done: Vec<_> = done
            .iter()
            .map(|(letter, sequence)| {
                json!({
                    "id": letter.summary.id, "plugin": letter.summary.plugin,
                    "event_id": letter.summary.event_id, "sequence": sequence,
                })
            })
            .collect();
        line!("{}", serde_json::to_string(&done)?);
        return Ok(());
    }
    for (letter, _) in done {
        let letter = &letter.summary;
        line!(
            "discarded {}  {}  {}",
            letter.id,
            letter.plugin,
            letter.event_id
        );
    }
    line!("{} discarded, {failed} failed", done.len());
    Ok(())
}
