//! `sluice dlq edit`: takes a dead letter, lets an operator change its body, gives the one that takes its place.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde_json::json;

use crate::cli::connect::Target;
use crate::cli::output::line;
use crate::operations::Who;
use crate::operations::dead_letters::{check, edit, replay};
use crate::operations::{audit, letters};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Edit {
    /// Its number in `list`.
    id: u64,
    /// Take the new body from this file, `-` for standard input; without it, the editor of the
    /// variable VISUAL or EDITOR opens with the body that is there.
    #[arg(long)]
    body: Option<PathBuf>,
    /// And send it again.
    #[arg(long)]
    replay: bool,
    #[command(flatten)]
    target: Target,
    /// A JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Edit) -> anyhow::Result<()> {
    let context = args.target.connect().await?;
    let dead_letters = letters::stream(&context).await?;
    let mut letter = letters::one(&dead_letters, args.id).await?;
    letter.redeem(&context).await?;
    let body = match &args.body {
        Some(path) if path.as_os_str() == "-" => {
            let mut body = Vec::new();
            std::io::stdin().read_to_end(&mut body)?;
            body
        }
        Some(path) => {
            std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?
        }
        None => in_an_editor(&letter.body)?,
    };
    if body == letter.body {
        bail!("the body is the same, so nothing was changed");
    }
    let max_payload = context.client().server_info().max_payload;
    let note = check(&letter, &body, max_payload)?;
    let who = Who::at_the_command_line();
    let new = edit(&context, &who, &letter, Bytes::from(body)).await?;
    let mut sequence = None;
    if args.replay {
        let mut edited = letters::one(&dead_letters, new).await?;
        let about = format!("dead letter {new}");
        audit::record(
            &context,
            &who,
            "replay",
            &about,
            json!({ "edited": args.id }),
        )
        .await?;
        sequence = Some(replay(&context, &mut edited).await?);
    }
    if args.json {
        let told = json!({ "id": new, "edited": args.id, "sequence": sequence });
        line!("{told}");
        return Ok(());
    }
    line!("dead letter {new} took the place of {} ({note})", args.id);
    match sequence {
        Some(sequence) => line!("and was sent again as event {sequence}"),
        None => line!("`sluice dlq replay {new}` sends it again"),
    }
    Ok(())
}

/// What an operator makes of the body.
fn in_an_editor(body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let editor = variable("VISUAL").or_else(|| variable("EDITOR"));
    let editor = editor.context(
        "neither VISUAL nor EDITOR says which editor to open; set one, or give the body with --body",
    )?;
    let mut file = tempfile::Builder::new()
        .prefix("dead-letter-")
        .suffix(".json")
        .tempfile()?;
    file.write_all(body)?;
    file.flush()?;
    // As git does it: the variable may hold arguments too.
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(file.path())
        .status()
        .with_context(|| format!("{editor} cannot be run"))?;
    if !status.success() {
        bail!("{editor} ended with {status}, so nothing was changed");
    }
    Ok(std::fs::read(file.path())?)
}
