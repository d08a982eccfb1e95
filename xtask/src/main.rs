//! `cargo xtask VERB`: what a person or CI does with the project, one file a verb.

mod bench;
mod child;
mod clock;
mod compile;
mod demo;
mod languages;
mod layout;
mod run;
mod setup;
mod test;
mod tidy;

use std::env;
use std::process::ExitCode;

use crate::layout::Layout;

// The arguments are few enough to be read by hand, and without clap and its macros a
// first `cargo xtask` is compiled in seconds.
const USAGE: &str = "\
The project's own tasks.

Usage: cargo xtask VERB

  setup                       fetch what the build and the tests need: the wasm targets
                              and a nats-server; for tests of plug-ins in Python and
                              JavaScript the tools of these, for tests from outside a
                              browser, Prometheus, a collector of traces and RabbitMQ,
                              where they can be had
  test [--long] [FILTER...]   build everything and run every test, or those with a FILTER
                              in their names; --long adds the soaks and the chaos runs
  demo                        run a host on a broker of its own and show what it does
                              with some 40 events
  bench [--quick] [NAME...]   measure a release build; exit 1 when a target is not met.
                              NAME: dispatch (without a name), gateway, latency,
                              ledger, neighbours, scale, typed, or all
  screenshots                 keep a picture of every page of the console, wide and narrow,
                              light and dark, in target/screenshots
  tidy                        check prose and structure, one line a finding
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if words
        .iter()
        .any(|word| matches!(*word, "--help" | "-h" | "help"))
    {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let result = match words.as_slice() {
        ["setup"] => Layout::find().and_then(|layout| {
            setup::run(&layout)?;
            setup::languages(&layout);
            setup::outsiders(&layout);
            setup::collector(&layout);
            setup::kafka(&layout);
            Ok(true)
        }),
        ["test", rest @ ..] => match test::Args::read(rest) {
            Ok(args) => Layout::find().and_then(|layout| test::run(&layout, &args)),
            Err(wrong) => return usage(&wrong),
        },
        ["bench", rest @ ..] => match bench::Args::read(rest) {
            Ok(args) => Layout::find().and_then(|layout| bench::run(&layout, &args)),
            Err(wrong) => return usage(&wrong),
        },
        ["demo"] => Layout::find().and_then(|layout| demo::run(&layout)),
        ["screenshots"] => Layout::find().and_then(|layout| test::screenshots(&layout)),
        ["tidy"] => Layout::find().and_then(|layout| tidy::run(&layout)),
        [] => return usage("say which VERB"),
        other => return usage(&format!("there is no `{}`", other.join(" "))),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            eprintln!("error: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage(wrong: &str) -> ExitCode {
    eprint!("error: {wrong}\n\n{USAGE}");
    ExitCode::from(2)
}
