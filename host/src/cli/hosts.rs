//! `sluice hosts`: takes the leases, shows which hosts are there and who runs what.

use std::process::ExitCode;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::Stream;
use clap::Args;
use serde::Serialize;

use super::connect::{Target, stream};
use super::output::line;
use crate::broker::read_all;
use crate::clock;
use crate::leases::{self, LEASE, Lease};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

/// A host as it last spoke of itself.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) lease: Lease,
    /// By this machine's clock.
    pub(super) seen_ms_ago: u64,
    /// Not silent for longer than its lease.
    pub(super) alive: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let context = arguments.target.connect().await?;
    let bucket = stream(&context, leases::STREAM).await?;
    let rows = rows(&bucket).await?;
    if arguments.json {
        line!("{}", serde_json::to_string(&rows)?);
        return Ok(ExitCode::SUCCESS);
    }
    show(&rows)?;
    Ok(ExitCode::SUCCESS)
}

/// All hosts that have a lease, by name.
pub(super) async fn rows(bucket: &Stream) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let newest = DeliverPolicy::LastPerSubject;
    read_all(bucket, leases::EVERY_HOST, newest, |message| {
        let Ok(info) = message.info() else { return };
        let said = u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let seen_ms_ago = clock::unix_millis().saturating_sub(said);
        if let Some(lease) = leases::lease(message.headers.as_ref(), &message.payload) {
            rows.push(Row {
                lease,
                seen_ms_ago,
                alive: u128::from(seen_ms_ago) < LEASE.as_millis(),
            });
        }
    })
    .await?;
    rows.sort_by(|one, other| {
        (&one.lease.name, &one.lease.id).cmp(&(&other.lease.name, &other.lease.id))
    });
    Ok(rows)
}

fn show(rows: &[Row]) -> anyhow::Result<()> {
    for row in rows {
        let Row {
            lease,
            seen_ms_ago,
            alive,
        } = row;
        let state = match (alive, lease.leaving) {
            (false, _) => "gone",
            (true, true) => "leaving",
            (true, false) => "alive",
        };
        let running: Vec<&str> = lease.running.iter().map(String::as_str).collect();
        let running = match running.as_slice() {
            [] => "no partition".to_owned(),
            some => some.join(" "),
        };
        line!(
            "{:<20}  {}  {state:<7}  seen {:>4.1} s ago  {} since {}  {running}",
            lease.name,
            lease.id.get(..8).unwrap_or(&lease.id),
            std::time::Duration::from_millis(*seen_ms_ago).as_secs_f64(),
            lease.version,
            lease.started
        );
    }
    line!("{} hosts", rows.len());
    Ok(())
}
