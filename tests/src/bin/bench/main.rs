//! `cargo xtask bench`: measures a release build of `sluice` and says whether its targets are met.
//!
//! A program of the tests' crate and not a part of xtask: it needs the harness, tokio and
//! async-nats, all of which a release build of `sluice` compiles anyhow, and xtask, which
//! everything waits for on a new machine, needs none of them.

mod backlog;
mod body;
mod cpu;
mod delay;
mod gateway;
mod http;
mod ledger;
mod load;
mod machine;
mod neighbours;
mod report;
mod sluice;
mod store;
mod typed;
mod wrk;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

/// The load comes from one thread: gateway and broker need the rest of the machine.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `bench NAME FOLDER [--quick]`, as xtask calls it: `FOLDER/NAME.json` gets the figures.
async fn run() -> Result<bool> {
    let mut words = std::env::args().skip(1);
    let usage = "this is run by `cargo xtask bench NAME [--quick]`";
    let name = words.next().context(usage)?;
    let folder = PathBuf::from(words.next().context(usage)?);
    let quick = match words.next().as_deref() {
        None => false,
        Some("--quick") => true,
        Some(_) => bail!(usage),
    };
    let report = match name.as_str() {
        "gateway" => gateway::run(quick).await?,
        "ledger" => ledger::run(quick).await?,
        "neighbours" => neighbours::run(quick).await?,
        "typed" => typed::run(quick).await?,
        _ => bail!(usage),
    };
    report.print();
    let file = folder.join(format!("{name}.json"));
    report.write(&file)?;
    println!("\n{}", file.display());
    Ok(report.met())
}
