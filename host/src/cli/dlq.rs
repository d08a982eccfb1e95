//! `sluice dlq`: takes dead letters, shows them, sends them again, edits or discards them.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::blocked::{Blocked, Unblock};
use self::edit::Edit;
use self::list::{List, Show};
use self::replaying::{Cancel, Replay, ReplaysArgs, Resume};
use super::connect::Target;
use crate::broker::DEADLETTER;
use crate::operations::letters::Conditions;

mod blocked;
mod discard;
mod edit;
mod list;
mod replaying;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// One line each, oldest first; or one line for all that died of the same.
    List(List),
    /// One dead letter, whole.
    Show(Show),
    /// Send dead letters to their plug-in again, in their order.
    Replay(Replay),
    /// Replays that go on, and those that have ended.
    Replays(ReplaysArgs),
    /// Stop a replay: the rest stays where it is.
    Cancel(Cancel),
    /// Go on with a replay whose process is gone, here; a host does it by itself after 5 s.
    Resume(Resume),
    /// Give a dead letter another body, in an editor or from a file.
    Edit(Edit),
    /// Throw dead letters away; a key that waits for one goes on.
    Discard(discard::Discard),
    /// The keys that wait until their dead letter is replayed or discarded.
    Blocked(Blocked),
    /// Let a key go on whose dead letter is gone.
    Unblock(Unblock),
}

/// Which letters.
#[derive(Debug, Args)]
struct Filter {
    /// Of this plug-in only.
    #[arg(long)]
    plugin: Option<String>,
    /// With this reason only: rejected, trap, timeout, …
    #[arg(long)]
    reason: Option<String>,
    /// Only those of which this holds, such as `error~deadlock`, `group=0a1b2c3d4e` or
    /// `time>=2026-11-01`; of several all have to hold. Tests: = != ~ (contains) < <= > >=.
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<String>,
}

impl Filter {
    fn conditions(&self) -> anyhow::Result<Conditions> {
        let mut conditions = Conditions::parse(self.conditions.iter().map(String::as_str))?;
        for (field, value) in [("plugin", &self.plugin), ("reason", &self.reason)] {
            if let Some(value) = value {
                conditions = conditions.and(field, value);
            }
        }
        Ok(conditions)
    }
}

/// Letters by their numbers, or by what they are.
#[derive(Debug, Args)]
struct Chosen {
    /// Their numbers in `list`.
    #[arg(required_unless_present_any = ["all", "plugin", "reason", "conditions"])]
    ids: Vec<u64>,
    /// All of them, or all that --plugin, --reason and --where leave.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    filter: Filter,
    /// A JSON array of what was done.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::List(args) => list::list(args).await?,
        Verb::Show(args) => list::show(args).await?,
        Verb::Replay(args) => return replaying::replay(args).await,
        Verb::Replays(args) => replaying::list(args).await?,
        Verb::Cancel(args) => replaying::cancel(args).await?,
        Verb::Resume(args) => return replaying::resume(args).await,
        Verb::Edit(args) => edit::run(args).await?,
        Verb::Discard(args) => return discard::run(args).await,
        Verb::Blocked(args) => blocked::blocked(args).await?,
        Verb::Unblock(args) => blocked::unblock(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the audit has deeds be done to, and the numbers that it names: enough to find them again
/// in a copy of the stream, and not more than a message holds.
fn about(ids: &[u64]) -> (String, Vec<u64>) {
    let about = match ids {
        [one] => format!("dead letter {one}"),
        many => format!("{} dead letters of {DEADLETTER}", many.len()),
    };
    (about, ids.iter().take(1_000).copied().collect())
}
