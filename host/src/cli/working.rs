//! Takes a replay that is this process's to do, shows how far it is, and what became of it.

use std::process::ExitCode;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::output::line;
use super::progress::Progress;
use crate::operations::Who;
use crate::operations::replays::{self, Failure, Read, Replay, Replays, State};

/// This process, among those that could do a replay.
pub(super) fn own(who: &Who) -> String {
    format!("{}, process {}", who.via, std::process::id())
}

/// Does a replay here, with a bar; an interrupt cancels what is left of it.
pub(super) async fn work(replays: &Replays, read: Read, json: bool) -> anyhow::Result<ExitCode> {
    let id = read.0.id.clone();
    let mut progress = Progress::lasting(Some(read.0.total));
    let stop = CancellationToken::new();
    let done = {
        let running = replays::run(replays, read, &stop, |replay| {
            progress.show(replay.finished(), || note(replay));
        });
        tokio::pin!(running);
        tokio::select! {
            done = &mut running => done.with_context(|| {
                format!("replay {id} was interrupted here; a host goes on with it, or `sluice dlq resume {id}`")
            })?,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                replays.cancel(&Who::at_the_command_line(), &id).await?;
                running.await?
            }
        }
    };
    progress.end();
    for Failure { number, error } in &done.failures {
        match done.history {
            None => eprintln!("error: dead letter {number} stays: {error}"),
            Some(_) => eprintln!("error: event {number} was not given: {error}"),
        }
    }
    match json {
        true => line!("{}", serde_json::to_string(&done)?),
        false => line!("{}", closing(&done)),
    }
    let is_whole = done.failed == 0 && done.state == State::Done;
    Ok(if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Beside the bar.
fn note(replay: &Replay) -> String {
    let mut notes = Vec::new();
    if 0 < replay.failed {
        notes.push(format!("{} failed", replay.failed));
    }
    if let Some(history) = &replay.history {
        if 0 < history.unhandled {
            notes.push(format!("{} not handled yet", history.unhandled));
        }
        if !history.waits.is_empty() {
            notes.push(format!("waits: {}", history.waits));
        }
    }
    notes.join(", ")
}

/// What became of it.
fn closing(done: &Replay) -> String {
    let word = match done.history {
        None => "replayed",
        Some(_) => "given again",
    };
    let mut text = format!("{} {word}, {} failed", done.replayed, done.failed);
    if 0 < done.gone {
        text.push_str(&format!(", {} were gone", done.gone));
    }
    let undecodable = done
        .history
        .as_ref()
        .map_or(0, |history| history.undecodable);
    if 0 < undecodable {
        text.push_str(&format!(
            ", {undecodable} left out since they are no CloudEvents"
        ));
    }
    if done.state == State::Cancelled {
        let left = done.total.saturating_sub(done.finished());
        let rest = match done.history {
            None => format!("{left} dead letters stay where they are"),
            Some(_) => format!("{left} events were not given"),
        };
        text.push_str(&format!("\ncancelled: {rest}"));
    }
    text
}
