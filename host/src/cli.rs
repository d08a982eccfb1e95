//! Takes arguments, gives what they ask for; one file a verb.

mod asking;
mod audit;
mod build;
mod check;
mod completions;
mod connect;
mod deploy;
mod dev;
mod dlq;
mod docs;
mod doctor;
mod embedded;
mod events;
mod following;
mod hosts;
mod input;
mod man;
mod new;
mod output;
mod pause;
mod plugins;
mod progress;
mod projections;
mod replay;
mod rollback;
mod run;
mod sagas;
mod schema;
mod send;
mod sign;
mod simulate;
mod state;
mod stop;
mod test;
mod touched;
mod wit;
mod working;

pub(crate) use self::events::level_name;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config;
use crate::plugin::compiler;

/// Dynamics 365 events to sandboxed WebAssembly plug-ins.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon.
    Run(run::Args),
    /// Parse the config, compile and link every plug-in, and say what is wrong.
    Check(check::Args),
    /// Publish events: CloudEvents, or raw Dynamics 365 bodies.
    Send(send::Args),
    /// Make Dynamics 365 traffic: through the gateway, straight to NATS, or into a file.
    Simulate(simulate::Args),
    /// Run plug-ins from their sources: a broker, a gateway and a host of their own; a change is
    /// built and swapped in, and each event's outcome is shown.
    Dev(dev::Args),
    /// Make the folder of a new plug-in: it builds, tests and deploys at once.
    New(new::Args),
    /// Build a plug-in: one .wasm file with its manifest in it.
    Build(build::Args),
    /// The contract between host and plug-in, for the tools of any language.
    Wit(wit::Args),
    /// Sign a plug-in, or make a key for that.
    Sign(sign::Sign),
    /// Say who has signed a plug-in.
    Verify(sign::Verify),
    /// Run a plug-in on events, without a broker.
    Test(test::Args),
    /// The event store: show, find, tail, export, import, compact, redact.
    #[command(subcommand)]
    Events(events::Verb),
    /// The newest events, one line each: `events tail`.
    Tail(events::TailArgs),
    /// Dead letters: list, show, replay, discard.
    #[command(subcommand)]
    Dlq(dlq::Verb),
    /// Which build of each plug-in runs where, and what it does.
    Plugins(plugins::Arguments),
    /// Give a plug-in to every host, at once or for a share of the keys first.
    Deploy(deploy::Args),
    /// Take a canary back, or else go back to the build that was deployed before.
    Rollback(following::About),
    /// Have each host run what its folder has, in place of what was deployed.
    Undeploy(following::About),
    /// Begin no call of a plug-in any more, on any host; nothing is lost meanwhile.
    Pause(following::About),
    /// Go on with a plug-in that was paused.
    Resume(following::About),
    /// Which hosts are there, and which partitions each runs.
    Hosts(hosts::Arguments),
    /// Write the catalogue of events: an AsyncAPI document, and a page to read.
    Docs(docs::Args),
    /// Look at the config, this machine, the broker, its streams, the hosts and their plug-ins:
    /// what is wrong, and what to do.
    Doctor(doctor::Args),
    /// What a shell needs to complete a half-typed `sluice` command, on standard output.
    Completions(completions::Args),
    /// Write manual pages, one for each verb.
    Man(man::Args),
    /// Give a plug-in its history again, or a new build of it, and say what that one does otherwise.
    Replay(replay::Args),
    /// What a plug-in keeps, now or as it was.
    State(state::Args),
    /// Sagas: list, show, cancel, retry.
    #[command(subcommand)]
    Sagas(sagas::Verb),
    /// What the bodies of each type look like: list, show, learn, import, export, check.
    #[command(subcommand)]
    Schema(schema::Verb),
    /// Tables that are made of events: list, show, rebuild.
    #[command(subcommand)]
    Projections(projections::Verb),
    /// Who deployed, paused, replayed, edited, discarded, redacted what.
    Audit(audit::Args),
    /// What `run` starts for each component that it has not compiled before.
    #[command(name = compiler::VERB, hide = true)]
    Compile(compiler::Bounds),
}

impl Cli {
    /// Does it, prints an error where there is one, and gives the exit status.
    pub fn run(self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => return failed(&error.into()),
        };
        let result = match self.verb {
            Verb::Run(args) => runtime.block_on(run::run(args)),
            Verb::Check(args) => check::run(args),
            Verb::Send(args) => runtime.block_on(send::run(args)),
            Verb::Simulate(args) => runtime.block_on(simulate::run(args)),
            Verb::Dev(args) => runtime.block_on(dev::run(args)),
            Verb::New(args) => new::run(&args),
            Verb::Build(args) => build::run(&args),
            Verb::Wit(args) => wit::run(&args),
            Verb::Sign(args) => sign::sign(&args),
            Verb::Verify(args) => sign::verify(&args),
            Verb::Test(args) => test::run(&args),
            Verb::Events(verb) => runtime.block_on(events::run(verb)),
            Verb::Tail(args) => runtime.block_on(events::run(events::Verb::Tail(args))),
            Verb::Dlq(verb) => runtime.block_on(dlq::run(verb)),
            Verb::Plugins(arguments) => runtime.block_on(plugins::run(arguments)),
            Verb::Deploy(args) => runtime.block_on(deploy::run(args)),
            Verb::Rollback(args) => runtime.block_on(rollback::run(args)),
            Verb::Undeploy(args) => runtime.block_on(rollback::undeploy(args)),
            Verb::Pause(args) => runtime.block_on(pause::run(args, true)),
            Verb::Resume(args) => runtime.block_on(pause::run(args, false)),
            Verb::Hosts(arguments) => runtime.block_on(hosts::run(arguments)),
            Verb::Docs(args) => runtime.block_on(docs::run(args)),
            Verb::Doctor(args) => runtime.block_on(doctor::run(args)),
            Verb::Completions(args) => completions::run(&args),
            Verb::Man(args) => man::run(&args),
            Verb::Replay(args) => runtime.block_on(replay::run(args)),
            Verb::State(args) => runtime
                .block_on(state::run(args))
                .map(|()| ExitCode::SUCCESS),
            Verb::Sagas(verb) => runtime.block_on(sagas::run(verb)),
            Verb::Schema(verb) => runtime.block_on(schema::run(verb)),
            Verb::Projections(verb) => runtime.block_on(projections::run(verb)),
            Verb::Audit(args) => runtime.block_on(audit::run(args)),
            Verb::Compile(bounds) => compiler::run(bounds).map(|()| ExitCode::SUCCESS),
        };
        // A call that does not come back must not keep the process.
        runtime.shutdown_background();
        match result {
            Ok(code) => code,
            Err(error) => failed(&error),
        }
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    if error.downcast_ref::<config::Error>().is_some() {
        return ExitCode::from(2);
    }
    ExitCode::FAILURE
}
