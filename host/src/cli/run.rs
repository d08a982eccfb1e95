//! `sluice run`: takes a config file, runs the daemon until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::host::Host;
use crate::plugin::compiler::Compiler;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The daemon's file.
    #[arg(long, default_value = "sluice.toml", env = "SLUICE_CONFIG")]
    config: PathBuf,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    telemetry::init(config.telemetry.log);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut host = Host::bind(config, Some(Compiler::this_program())).await?;
    tokio::select! {
        ended = host.join() => {
            ended?;
            return Ok(ExitCode::SUCCESS);
        }
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("draining; a second signal stops at once");
    tokio::select! {
        ended = host.shutdown() => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
