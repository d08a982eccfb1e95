//! `sluice check`: takes a config file, says whether the daemon could run with it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::output::line;
use crate::catalog::{Catalog, Change};
use crate::config::Config;
use crate::gateway;
use crate::host::chain;
use crate::plugin::engine::Engine;
use crate::plugin::http::Outgoing;
use crate::projections::Projections;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The daemon's file.
    #[arg(long, default_value = "sluice.toml", env = "SLUICE_CONFIG")]
    config: PathBuf,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) => {
            line!("{}", chain(&error));
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Err(error) = gateway::check(&config) {
        line!("{}: {}", args.config.display(), chain(&error));
        return Ok(ExitCode::FAILURE);
    }
    line!("{}: ok", args.config.display());
    let outgoing = match Outgoing::new(&config) {
        Ok(outgoing) => outgoing,
        Err(error) => {
            line!("{}: {}", args.config.display(), chain(&error));
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Err(error) = Projections::check(&config) {
        line!("{}: {}", args.config.display(), chain(&error));
        return Ok(ExitCode::FAILURE);
    }
    let engine = Engine::new().map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let engine = engine.with_outgoing(outgoing);
    let folder = config.host.plugins_dir.clone();
    let mut catalog = Catalog::new(Arc::new(engine), Arc::new(config));
    let found = catalog
        .look()
        .with_context(|| format!("host.plugins_dir: {}", folder.display()))?;
    let (mut all, mut wrong) = (0, 0);
    for change in &found {
        match change {
            Change::Loaded { file, generation } => {
                all += 1;
                let manifest = generation.manifest();
                line!(
                    "{}: ok, {} {}",
                    file.display(),
                    manifest.name,
                    manifest.version
                );
            }
            Change::Refused { file, error } => {
                all += 1;
                wrong += 1;
                line!("{}: {}", file.display(), chain(error));
            }
            // Nothing was there before.
            Change::Gone { .. } | Change::Ended { .. } => {}
        }
    }
    line!("{all} plug-ins, {wrong} refused");
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
