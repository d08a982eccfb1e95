//! `sluice replay` without `--into`: takes events of the store, gives them to the plug-in that runs.

use std::process::ExitCode;

use serde_json::json;

use super::Args;
use crate::cli::output::line;
use crate::cli::progress::Progress;
use crate::cli::working::{own, work};
use crate::operations::Who;
use crate::operations::replays::{Past, RATE, Replays, Wish};

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let (query, bounds) = args.which.query();
    let wish = Wish {
        plugin: args.plugin,
        query,
        bounds,
        with_effects: args.effects,
    };
    let mut progress = None;
    let looked = Past::look(&context, wish, |count, expected| {
        let progress = progress.get_or_insert_with(|| Progress::lasting(Some(expected)));
        progress.show(count, || "looked at".to_owned());
    });
    let past = Box::pin(looked).await?;
    if let Some(progress) = progress {
        progress.end();
    }
    if args.dry_run {
        match args.json {
            true => line!("{}", summary(&past)),
            false => line!("{}", said(&past)),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let replays = Replays::open(&context).await?;
    let who = Who::at_the_command_line();
    let by = match args.no_wait {
        true => String::new(),
        false => own(&who),
    };
    let rate = args.rate.unwrap_or(RATE);
    let read = replays.ask_history(&who, &past, rate, by).await?;
    if args.no_wait {
        let replay = &read.0;
        match args.json {
            true => line!("{}", serde_json::to_string(replay)?),
            false => line!(
                "replay {} of {} {}: said to the hosts",
                replay.id,
                replay.total,
                replay.things()
            ),
        }
        return Ok(ExitCode::SUCCESS);
    }
    work(&replays, read, args.json).await
}

/// What it would be.
fn summary(past: &Past) -> serde_json::Value {
    let history = &past.history;
    json!({
        "plugin": history.plugin, "from": history.from, "up_to": past.up_to, "total": past.total,
        "undecodable": history.undecodable, "with_effects": history.with_effects,
    })
}

fn said(past: &Past) -> String {
    let history = &past.history;
    let mut text = format!(
        "{} would be given {} events again, between {} and {}",
        history.plugin, past.total, history.from, past.up_to
    );
    if 0 < history.undecodable {
        let count = history.undecodable;
        text.push_str(&format!(
            "; {count} would be left out since they are no CloudEvents"
        ));
    }
    text
}
