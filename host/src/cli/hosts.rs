//! `sluice hosts`: takes the leases, shows which hosts are there and who runs what.

use std::process::ExitCode;

use clap::Args;

use super::connect::Target;
use super::output::line;
use crate::operations::fleet::{self, Row};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let context = arguments.target.connect().await?;
    let rows = fleet::hosts(&context).await?;
    if arguments.json {
        line!("{}", serde_json::to_string(&rows)?);
        return Ok(ExitCode::SUCCESS);
    }
    show(&rows)?;
    Ok(ExitCode::SUCCESS)
}

fn show(rows: &[Row]) -> anyhow::Result<()> {
    for row in rows {
        let lease = &row.lease;
        let running: Vec<&str> = lease.running.iter().map(String::as_str).collect();
        let running = match running.as_slice() {
            [] => "no partition".to_owned(),
            some => some.join(" "),
        };
        line!(
            "{:<20}  {}  {:<7}  seen {:>4.1} s ago  {} since {}  {running}",
            lease.name,
            lease.id.get(..8).unwrap_or(&lease.id),
            row.state(),
            std::time::Duration::from_millis(row.seen_ms_ago).as_secs_f64(),
            lease.version,
            lease.started
        );
    }
    line!("{} hosts", rows.len());
    Ok(())
}
