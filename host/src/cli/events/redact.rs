//! `sluice events redact`: takes what events are like, erases their data wherever the broker keeps it.

use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::ArgGroup;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::conditions::Conditions;
use super::find::show as show_row;
use crate::cli::asking::is_wanted;
use crate::cli::connect::Target;
use crate::cli::output::line;
use crate::cli::progress::Progress;
use crate::operations::Who;
use crate::operations::redaction::{Done, Order, Plan, Unread, plan, redact, unread};

/// Where the same data may be, and this does not go.
const ELSEWHERE: [&str; 6] = [
    "what plug-ins keep, and kept, in their state, and what they have sent elsewhere",
    "what plug-ins have emitted: events of their own, `sluice events find --correlation` finds them",
    "what plug-ins have logged and failed with: the stream JOURNAL, logs, traces",
    "the spools of gateways: what the broker did not have when this was asked for",
    "what the broker let go of before and has not compacted yet, and logs of its cluster",
    "backups, exports and shadows",
];

/// Where nobody wants it.
const NOT: &str = "nothing was redacted";

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("conditions").required(true).multiple(true).args([
    "subject", "event_type", "key", "id", "correlation", "since", "until",
]))]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    conditions: Conditions,
    /// Why: it stands in the audit and on the envelope of each event.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    why: String,
    /// Only list what would be erased.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Events too that a plug-in has still to handle: it passes them over.
    #[arg(long)]
    unread_too: bool,
    #[command(flatten)]
    target: Target,
    /// A JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let query = args.conditions.query();
    let plan = plan(&context, &query).await?;
    if plan.is_empty() {
        ensure!(
            !plan.envelopes.is_empty(),
            "no event and no dead letter is so; `sluice events find` with the same conditions \
             shows what the store has"
        );
        show(&plan, &Done::default(), args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let unread = match args.unread_too {
        true => Unread::default(),
        false => unread(&context, &plan).await?,
    };
    if args.dry_run {
        if !unread.is_none() {
            eprintln!("note: {unread}");
        }
        list(&plan, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !unread.is_none() {
        bail!(
            "nothing was redacted: {unread}; wait for that (`sluice plugins`, `sluice dlq \
             blocked`), or give --unread-too to have them passed over"
        );
    }
    let what = format!("{} lose their data for good", counted(&plan));
    if !args.yes && !is_wanted(&what, NOT)? {
        eprintln!("{NOT}");
        return Ok(ExitCode::FAILURE);
    }
    let order = Order {
        who: Who::at_the_command_line(),
        why: args.why,
        conditions: query.texts(),
    };
    let mut progress = Progress::of_many(plan.events.len() + plan.letters.len());
    let done = redact(&context, &order, &plan, |done| {
        let count = done.events.len() + done.dead_letters.len();
        progress.show(count as u64, String::new);
    })
    .await;
    progress.end();
    show(&plan, &done?, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn counted(plan: &Plan) -> String {
    format!(
        "{} events and {} dead letters",
        plan.events.len(),
        plan.letters.len()
    )
}

/// What would be erased.
fn list(plan: &Plan, json: bool) -> anyhow::Result<()> {
    if json {
        let rows: Vec<_> = plan.events.iter().map(|seen| &seen.row).collect();
        let letters: Vec<u64> = plan.letters.iter().map(|seen| seen.sequence).collect();
        line!(
            "{}",
            json!({
                "events": rows, "dead_letters": letters, "copies": plan.copies.len(),
                "bodies": plan.bodies, "redacted_before": plan.redacted_before(),
            })
        );
        return Ok(());
    }
    for seen in &plan.events {
        show_row(&seen.row, false)?;
    }
    for seen in &plan.letters {
        line!("dead letter {}  {}", seen.sequence, seen.row.id);
    }
    line!("{} would lose their data", counted(plan));
    Ok(())
}

fn show(plan: &Plan, done: &Done, json: bool) -> anyhow::Result<()> {
    let Done {
        events,
        dead_letters,
        copies,
        bodies,
        shared,
    } = done;
    let before = plan.redacted_before();
    if json {
        let events: Vec<_> = events
            .iter()
            .map(|(sequence, envelope)| json!({ "sequence": sequence, "envelope": envelope }))
            .collect();
        line!(
            "{}",
            json!({
                "events": events, "dead_letters": dead_letters, "copies": copies, "bodies": bodies,
                "bodies_shared": shared, "redacted_before": before, "not_reached": ELSEWHERE,
            })
        );
        return Ok(());
    }
    for (sequence, envelope) in events {
        line!("redacted {sequence}: its envelope is {envelope}");
    }
    for letter in dead_letters {
        line!("discarded dead letter {letter}");
    }
    for body in shared {
        line!("kept body {body}: another event has the same");
    }
    line!(
        "{} events redacted, {} dead letters discarded, {copies} copies and {bodies} bodies \
         erased; {before} were redacted before",
        events.len(),
        dead_letters.len()
    );
    line!("not reached, see to it where they hold the same data:");
    for place in ELSEWHERE {
        line!("- {place}");
    }
    Ok(())
}
