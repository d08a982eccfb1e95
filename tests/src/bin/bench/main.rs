//! `cargo xtask bench`: measures a release build of `sluice` and says whether its targets are met.
//!
//! A program of the tests' crate and not a part of xtask: it needs the harness, tokio and
//! async-nats, all of which a release build of `sluice` compiles anyhow, and xtask, which
//! everything waits for on a new machine, needs none of them.

mod backlog;
mod bare;
mod body;
mod cpu;
mod crowd;
mod delay;
mod dispatch;
mod follower;
mod gateway;
mod http;
mod latency;
mod ledger;
mod load;
mod machine;
mod neighbours;
mod peer;
mod report;
mod scale;
mod sluice;
mod steps;
mod store;
mod typed;
mod worked;
mod wrk;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        // One of those that are compared with: as many threads as it would have.
        Some((word, rest)) if word == "bare" => runtime(Builder::new_multi_thread())
            .and_then(|runtime| runtime.block_on(bare::run(rest)))
            .map(|()| true),
        // The load comes from one thread: gateway and broker need the rest of the machine.
        _ => {
            runtime(Builder::new_current_thread()).and_then(|runtime| runtime.block_on(run(&words)))
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn runtime(mut builder: Builder) -> Result<Runtime> {
    Ok(builder.enable_all().build()?)
}

/// `bench NAME FOLDER [--quick]`, as xtask calls it: `FOLDER/NAME.json` gets the figures.
async fn run(words: &[String]) -> Result<bool> {
    let usage = "this is run by `cargo xtask bench NAME [--quick]`";
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (name, folder, quick) = match words.as_slice() {
        [name, folder] => (*name, Path::new(folder), false),
        [name, folder, "--quick"] => (*name, Path::new(folder), true),
        _ => bail!(usage),
    };
    let report = match name {
        "dispatch" => dispatch::run(quick).await?,
        "gateway" => gateway::run(quick).await?,
        "latency" => latency::run(quick).await?,
        "ledger" => ledger::run(quick).await?,
        "neighbours" => neighbours::run(quick).await?,
        "scale" => scale::run(quick).await?,
        "typed" => typed::run(quick).await?,
        _ => bail!(usage),
    };
    report.print();
    let file = folder.join(format!("{name}.json"));
    report.write(&file)?;
    println!("\n{}", file.display());
    Ok(report.met())
}
