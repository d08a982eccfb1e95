//! `sluice send`: takes files of events, publishes them, and waits for the broker's word on each.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Context;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::connect::Target;
use super::input::{self, Input, Origin, Reading};
use super::output::line;
use super::progress::Progress;
use crate::encode;

/// Publishes under way at once.
const AHEAD: usize = 256;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files of JSON documents, CloudEvents or raw bodies; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// What raw bodies have to be.
    #[arg(long)]
    origin: Option<Origin>,
    /// The environment that raw bodies come from; `default` when not given.
    #[arg(long)]
    environment: Option<String>,
    /// Publish there instead of where type and source say; the slot is added.
    #[arg(long)]
    subject: Option<String>,
    /// Leave out the message id by which the broker drops what it has seen before.
    #[arg(long)]
    no_broker_dedup: bool,
    /// Give each event an id of its own, so that it is handled though it was before.
    #[arg(long)]
    again: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

struct Sent {
    input: Input,
    sequence: u64,
    duplicate: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let reading = Reading {
        origin: args.origin,
        environment: args.environment.as_deref(),
        subject: args.subject.as_deref(),
    };
    let mut inputs = input::read_all(&args.files, &reading)?;
    if args.again {
        for input in &mut inputs {
            input.event.id = uuid::Uuid::new_v4().to_string();
        }
    }
    let context = args.target.connect().await?;
    let max_payload = context.client().server_info().max_payload;
    for input in &inputs {
        let size = input.event.data.as_ref().map_or(0, bytes::Bytes::len);
        if max_payload < size + 4096 {
            bail!(
                "{} has a body of {size} bytes; the broker takes messages of {max_payload} bytes \
                 with their headers (max_payload)",
                input.place
            );
        }
    }
    let mut progress = Progress::of_many(inputs.len());
    // One after another on the wire, so that the store has them in the files' order; only
    // the answers are waited for side by side.
    let sent = stream::iter(inputs)
        .then(|input| publish(&context, input, args.no_broker_dedup))
        .try_buffered(AHEAD);
    let mut sent = std::pin::pin!(sent);
    let (mut count, mut duplicates) = (0_u64, 0_u64);
    while let Some(sent) = sent.try_next().await? {
        count += 1;
        duplicates += u64::from(sent.duplicate);
        progress.around(|| print(&sent, args.json))?;
        progress.show(count, || format!("{duplicates} known"));
    }
    progress.end();
    if !args.json {
        line!("{count} sent, {duplicates} of them known to the broker already");
    }
    Ok(ExitCode::SUCCESS)
}

/// Publishes one event; what it gives back waits for the broker's word.
async fn publish(
    context: &Context,
    input: Input,
    no_dedup: bool,
) -> anyhow::Result<impl Future<Output = anyhow::Result<Sent>>> {
    let (mut headers, payload) = encode::binary(input.event.clone());
    if !no_dedup {
        headers.insert(NATS_MESSAGE_ID, input.event.message_id());
    }
    let ack = context
        .publish_with_headers(input.subject.clone(), headers, payload)
        .await
        .with_context(|| format!("{} was not sent", input.place))?;
    Ok(async move {
        let ack = ack.await.with_context(|| {
            let place = &input.place;
            format!("{place} was not stored; is the stream EVENTS there, and has it room?")
        })?;
        Ok(Sent {
            input,
            sequence: ack.sequence,
            duplicate: ack.duplicate,
        })
    })
}

fn print(sent: &Sent, json: bool) -> anyhow::Result<()> {
    let event = &sent.input.event;
    if json {
        let line = serde_json::json!({
            "subject": sent.input.subject,
            "id": event.id,
            "source": event.source,
            "type": event.event_type,
            "sequence": sent.sequence,
            "duplicate": sent.duplicate,
        });
        line!("{}", serde_json::to_string(&line)?);
    } else {
        let known = if sent.duplicate {
            "  (known already)"
        } else {
            ""
        };
        line!(
            "{:>8}  {}  {}{known}",
            sent.sequence,
            sent.input.subject,
            event.id
        );
    }
    Ok(())
}
