//! Takes an event's id or sequence, gives the event as it is stored.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use async_nats::jetstream::stream::Stream;

use super::indexed::Indexed;
use super::story;
use crate::broker::EVENTS;
use crate::cli::connect::{Target, stream};
use crate::cli::output::{bytes, line};
use crate::operations::history::find::by_id;
use crate::operations::history::{self, MOST, Query, Stored, search_by};
use crate::operations::letters::{self, Conditions};
use crate::redacted::Mark;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Digits only: its sequence in the event store; else its id, of which the newest is shown.
    #[arg(value_name = "ID|SEQUENCE")]
    event: String,
    /// Look for the id on these subjects only; `*` and `>` as NATS has them.
    #[arg(long, default_value = "d365.>")]
    subject: String,
    #[command(flatten)]
    indexed: Indexed,
    #[command(flatten)]
    target: Target,
    /// One line of JSON, with the event in the CloudEvents JSON format.
    #[arg(long, conflicts_with = "data")]
    json: bool,
    /// The body and not a byte more.
    #[arg(long)]
    data: bool,
    /// Who attempted it and how that ended, what it emitted, what it comes of.
    #[arg(long, conflicts_with = "data")]
    story: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let events = stream(&context, EVENTS).await?;
    let sequence = if args.event.bytes().all(|byte| byte.is_ascii_digit()) {
        args.event
            .parse()
            .with_context(|| format!("{} is no sequence", args.event))?
    } else {
        let found = find(&args, &events).await?;
        found.with_context(|| {
            format!(
                "there is no event {} on {}; `sluice events tail` shows the newest",
                args.event, args.subject
            )
        })?
    };
    let stored = history::one(&context, &events, sequence).await?;
    if let Some(mark) = stored.redacted.as_ref()
        && (args.data || stored.sequence != sequence)
    {
        let Mark { by, at, why, .. } = mark;
        let (was, place) = (mark.sequence, stored.sequence);
        let text = format!("event {was} was redacted by {by}, on {at} ({why})");
        ensure!(
            !args.data,
            "{text}; its envelope, event {place}, has no data"
        );
        eprintln!("note: {text}; its envelope is event {place}");
    }
    if stored.is_body_gone {
        eprintln!("note: the body of event {sequence} is not in the object store any more");
    }
    if args.story {
        let letters = match &stored.event {
            Ok(event) => {
                let of_it = Conditions::default().and("id", &event.id);
                letters::all(&letters::stream(&context).await?, &of_it, 1).await?
            }
            Err(_) => Vec::new(),
        };
        let story = history::story(&context, &events, &stored, letters).await?;
        match args.json {
            true => line!("{}", serde_json::to_string(&story)?),
            false => story::show(&story),
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Err(error) = &stored.event {
        eprintln!("note: message {sequence} is no CloudEvent, shown as it is: {error}");
    }
    show(&stored, &args)?;
    Ok(ExitCode::SUCCESS)
}

/// The newest event with this id: mostly it is among the newest events.
async fn find(args: &Args, events: &Stream) -> anyhow::Result<Option<u64>> {
    let (id, subject) = (&args.event, &args.subject);
    if !args.indexed.is_named() {
        let found = by_id(events, id, subject, (u64::MAX, MOST)).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    let query = Query {
        id: id.clone(),
        subject: subject.clone(),
        ..Query::default()
    };
    match args.indexed.of(events, &query).await? {
        Some(index) => {
            let found = search_by(&index, events, &query, None, 1).await?;
            Ok(found.first().map(|row| row.sequence))
        }
        None => Ok(by_id(events, id, subject, (u64::MAX, u64::MAX)).await?),
    }
}

fn show(stored: &Stored, args: &Args) -> anyhow::Result<()> {
    if args.json {
        line!("{}", stored.json()?);
        return Ok(());
    }
    if !args.data {
        line!("sequence: {}", stored.sequence);
        line!("stored: {}", stored.stored);
        line!("nats-subject: {}", stored.subject);
        if let Some(mark) = &stored.redacted {
            line!("redacted: {} by {}: {}", mark.at, mark.by, mark.why);
            line!("original: {}, stored {}", mark.sequence, mark.stored);
        }
        for (name, value) in stored.attributes() {
            line!("{name}: {value}");
        }
        line!("");
    }
    bytes(stored.body());
    if !args.data && std::io::stdout().is_terminal() {
        line!("");
    }
    Ok(())
}
