//! `sluice dlq list|show`: takes dead letters, shows them in lines, in groups, or one whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::Filter;
use crate::cli::connect::Target;
use crate::cli::output::line;
use crate::operations::history::sorted;
use crate::operations::letters::{self, Group, Letter, Summary, groups};

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    filter: Filter,
    /// One line for all of one plug-in, reason and error.
    #[arg(long)]
    group: bool,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// Its number in `list`.
    id: u64,
    #[command(flatten)]
    target: Target,
    /// A JSON object, with headers and body.
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(args: List) -> anyhow::Result<()> {
    let conditions = args.filter.conditions()?;
    let context = args.target.connect().await?;
    let letters = letters::all(&letters::stream(&context).await?, &conditions, 1).await?;
    if args.group {
        return show_groups(&groups(&letters), letters.len(), args.json);
    }
    if args.json {
        line!("{}", serde_json::to_string(&letters)?);
        return Ok(());
    }
    for letter in &letters {
        line!(
            "{:>6}  {}  {:<20}  {:<11}  {:>2} attempts  {}  {}{}",
            letter.id,
            letter.last_time,
            letter.plugin,
            letter.reason,
            letter.attempts,
            letter.event_id,
            letter.error,
            letter.blocks.map_or("", |_| "  (its key waits)")
        );
    }
    line!("{} dead letters", letters.len());
    Ok(())
}

fn show_groups(groups: &[Group], letters: usize, json: bool) -> anyhow::Result<()> {
    if json {
        line!("{}", serde_json::to_string(groups)?);
        return Ok(());
    }
    for group in groups {
        let blocking = match group.blocking {
            0 => String::new(),
            count => format!("  ({count} keys wait)"),
        };
        line!(
            "{}  {:>6}  {:<20}  {:<11}  {} … {}  {}{blocking}",
            group.group,
            group.count,
            group.plugin,
            group.reason,
            group.first_time,
            group.last_time,
            group.error
        );
    }
    line!(
        "{letters} dead letters in {} groups; `sluice dlq replay --where group=…` sends one again",
        groups.len()
    );
    Ok(())
}

pub(super) async fn show(args: Show) -> anyhow::Result<()> {
    let context = args.target.connect().await?;
    let mut letter = letters::one(&letters::stream(&context).await?, args.id).await?;
    letter.redeem(&context).await?;
    let Letter {
        summary,
        headers,
        body,
    } = &letter;
    let headers = sorted(headers);
    let text = String::from_utf8_lossy(body);
    if args.json {
        line!("{}", json(summary, &headers, body, &text)?);
        return Ok(());
    }
    line!("dead letter {}", summary.id);
    line!("group: {}", summary.group);
    // What the broker has added on the way says nothing about the event.
    for (name, value) in headers
        .iter()
        .filter(|(name, _)| !name.starts_with("Nats-"))
    {
        line!("{name}: {value}");
    }
    line!("\n{text}");
    Ok(())
}

fn json(
    summary: &Summary,
    headers: &[(&str, &str)],
    body: &[u8],
    text: &str,
) -> anyhow::Result<String> {
    let mut object = serde_json::to_value(summary)?;
    let headers: serde_json::Map<String, serde_json::Value> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect();
    if let Some(object) = object.as_object_mut() {
        object.insert("headers".to_owned(), headers.into());
        if std::str::from_utf8(body).is_err() {
            object.insert("body_base64".to_owned(), STANDARD.encode(body).into());
        }
        object.insert("body".to_owned(), text.into());
    }
    Ok(serde_json::to_string(&object)?)
}
