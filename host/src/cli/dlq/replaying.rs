//! `sluice dlq replay|replays|cancel|resume`: takes dead letters, sends them again at a bounded rate;
//! shows replays, of history too, and stops them.

use std::process::ExitCode;

use async_nats::jetstream::Context;
use serde_json::json;

use super::{Chosen, about};
use crate::cli::connect::Target;
use crate::cli::output::line;
use crate::cli::working::{own, work};
use crate::operations::dead_letters;
use crate::operations::letters::{self, Letter};
use crate::operations::replays::{MAX_RATE, RATE, Replays};
use crate::operations::{Who, audit};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Replay {
    #[command(flatten)]
    chosen: Chosen,
    /// So many a second at the most.
    #[arg(long, default_value_t = RATE, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RATE)))]
    rate: u32,
    /// Only say how many it would be.
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
    /// Have a host do it, and do not wait for the end.
    #[arg(long, conflicts_with = "ids")]
    no_wait: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReplaysArgs {
    #[command(flatten)]
    target: Target,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Cancel {
    /// Its name in `replays`.
    id: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Resume {
    /// Its name in `replays`.
    id: String,
    #[command(flatten)]
    target: Target,
    /// A JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn replay(args: Replay) -> anyhow::Result<ExitCode> {
    let conditions = args.chosen.filter.conditions()?;
    let context = args.chosen.target.connect().await?;
    if !args.chosen.ids.is_empty() {
        return each(&context, &args.chosen.ids, args.chosen.json).await;
    }
    if args.dry_run {
        let found = letters::all(&letters::stream(&context).await?, &conditions, 1).await?;
        match args.chosen.json {
            true => line!("{}", json!({ "total": found.len() })),
            false => line!("{} dead letters would be sent again", found.len()),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let replays = Replays::open(&context).await?;
    let who = Who::at_the_command_line();
    let by = if args.no_wait {
        String::new()
    } else {
        own(&who)
    };
    let read = replays.ask(&who, &conditions, args.rate, by).await?;
    if args.no_wait {
        match args.chosen.json {
            true => line!("{}", serde_json::to_string(&read.0)?),
            false => line!(
                "replay {} of {} dead letters: said to the hosts",
                read.0.id,
                read.0.total
            ),
        }
        return Ok(ExitCode::SUCCESS);
    }
    work(&replays, read, args.chosen.json).await
}

/// Those that were named, one by one.
async fn each(context: &Context, ids: &[u64], json: bool) -> anyhow::Result<ExitCode> {
    let dead_letters = letters::stream(context).await?;
    let mut chosen: Vec<Letter> = Vec::new();
    for id in ids {
        chosen.push(letters::one(&dead_letters, *id).await?);
    }
    let who = Who::at_the_command_line();
    let (about, named) = about(ids);
    audit::record(context, &who, "replay", &about, json!({ "letters": named })).await?;
    let (mut done, mut failed) = (Vec::new(), 0);
    for mut letter in chosen {
        match dead_letters::replay(context, &mut letter).await {
            Ok(sequence) => done.push((letter.summary, sequence)),
            Err(error) => {
                failed += 1;
                eprintln!("error: dead letter {} stays: {error:#}", letter.summary.id);
            }
        }
    }
    if json {
        let done: Vec<_> = done
            .iter()
            .map(|(letter, sequence)| json!({
                "id": letter.id, "plugin": letter.plugin, "event_id": letter.event_id, "sequence": sequence,
            }))
            .collect();
        line!("{}", serde_json::to_string(&done)?);
    } else {
        for (letter, _) in &done {
            line!(
                "replayed {}  {}  {}",
                letter.id,
                letter.plugin,
                letter.event_id
            );
        }
        line!("{} replayed, {failed} failed", done.len());
    }
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

pub(super) async fn resume(args: Resume) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let replays = Replays::open(&context).await?;
    let read = replays
        .claim(&args.id, own(&Who::at_the_command_line()))
        .await?;
    work(&replays, read, args.json).await
}

pub(super) async fn cancel(args: Cancel) -> anyhow::Result<()> {
    let context = args.target.connect().await?;
    let replays = Replays::open(&context).await?;
    let replay = replays
        .cancel(&Who::at_the_command_line(), &args.id)
        .await?;
    line!(
        "replay {} is cancelled after {} of {} {}",
        replay.id,
        replay.finished(),
        replay.total,
        replay.things()
    );
    Ok(())
}

pub(super) async fn list(args: ReplaysArgs) -> anyhow::Result<()> {
    let context = args.target.connect().await?;
    let all = Replays::open(&context).await?.all().await?;
    if args.json {
        line!("{}", serde_json::to_string(&all)?);
        return Ok(());
    }
    for replay in &all {
        line!(
            "{}  {:<9}  {} of {} at {}/s: {} replayed, {} gone, {} failed  {}  asked by {} on {}",
            replay.id,
            replay.state.name(),
            replay.finished(),
            replay.total,
            replay.rate,
            replay.replayed,
            replay.gone,
            replay.failed,
            replay.which(),
            replay.who.name,
            replay.asked
        );
    }
    line!("{} replays", all.len());
    Ok(())
}
