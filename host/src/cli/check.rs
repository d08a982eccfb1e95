//! `sluice check`: takes a config file, says whether the daemon could run with it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::output::line;
use crate::config::Config;
use crate::gateway;
use crate::host::chain;
use crate::load;
use crate::plugin::engine::Engine;

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
    let engine = Engine::new().map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let loaded = load::folder(&Arc::new(engine), &config)
        .with_context(|| format!("host.plugins_dir: {}", config.host.plugins_dir.display()))?;
    let mut wrong = 0;
    for load::Loaded { file, result } in &loaded {
        let file = file.display();
        match result {
            Ok(generation) => {
                let manifest = generation.manifest();
                line!("{file}: ok, {} {}", manifest.name, manifest.version);
            }
            Err(error) => {
                wrong += 1;
                line!("{file}: {}", chain(error));
            }
        }
    }
    line!("{} plug-ins, {wrong} refused", loaded.len());
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
