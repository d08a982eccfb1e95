//! `cargo xtask bench`: builds a release `sluice` and what measures it, and runs it.

use std::fs;

use anyhow::{Context as _, Result};

use crate::clock::Stopwatch;
use crate::compile;
use crate::layout::Layout;
use crate::run;
use crate::setup;

/// Those that exist, in the order in which `all` of them run; without a name the first one does.
const NAMES: [&str; 7] = [
    "dispatch",
    "gateway",
    "latency",
    "ledger",
    "neighbours",
    "scale",
    "typed",
];

/// The one that compares with all other consumers,
const WITH_PEERS: &str = "dispatch";
/// and the one that compares with the native one only.
const WITH_NATIVE: &str = "latency";

/// What to measure.
pub(crate) struct Args {
    names: Vec<&'static str>,
    /// Shorter and fewer measures: less exact.
    quick: bool,
}

impl Args {
    /// Reads what follows `bench` on the command line; the error says what is wrong with it.
    pub(crate) fn read(words: &[&str]) -> Result<Self, String> {
        let mut args = Self {
            names: Vec::new(),
            quick: false,
        };
        for word in words {
            if *word == "--quick" {
                args.quick = true;
            } else if word.starts_with('-') {
                return Err(format!("`bench` has no option {word}"));
            } else if *word == "all" {
                args.names = NAMES.to_vec();
            } else if let Some(name) = NAMES.iter().find(|name| *name == word) {
                args.names.push(name);
            } else {
                let names = NAMES.join(", ");
                return Err(format!(
                    "there is no benchmark `{word}`; there is: {names}, and `all` of them"
                ));
            }
        }
        if args.names.is_empty() {
            args.names.extend(NAMES.first());
        }
        Ok(args)
    }

    /// Whether other consumers are to be had and built: that takes minutes.
    fn wants_peers(&self) -> bool {
        self.names.contains(&WITH_PEERS)
    }

    fn wants_native(&self) -> bool {
        self.wants_peers() || self.names.contains(&WITH_NATIVE)
    }
}

/// Runs each benchmark to its end and tells whether all targets were met.
pub(crate) fn run(layout: &Layout, args: &Args) -> Result<bool> {
    let tools = setup::run(layout)?;
    let mut peers = Vec::new();
    if args.wants_peers() {
        peers.extend(setup::peers(layout));
    }
    println!("build");
    let watch = Stopwatch::start();
    let programs = compile::benchmarks(layout)?;
    println!("  sluice       {}, {watch}", layout.short(&programs.sluice));
    let guests = compile::guests(layout, &programs.sluice)?;
    if args.wants_native() {
        peers.extend(compile::native_peer(layout));
    }
    if args.wants_peers() {
        peers.extend(compile::peers(layout));
    }
    let folder = layout.target.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    let mut met = true;
    for name in &args.names {
        println!("\n── {name}\n");
        let watch = Stopwatch::start();
        let mut bench = run::program(&programs.bench);
        bench.arg(name).arg(&folder);
        if args.quick {
            bench.arg("--quick");
        }
        // What docs/operating.md tells operators to set.
        if std::env::var_os("GOGC").is_none() {
            bench.env("GOGC", "400");
        }
        bench
            .env("SLUICE_BIN", &programs.sluice)
            .env("SLUICE_GUESTS", &guests)
            .env("SLUICE_NATS_SERVER", &tools.nats_server);
        bench.envs(peers.iter().map(|(name, path)| (name, path)));
        let status = bench
            .status()
            .with_context(|| format!("could not start `{}`", run::shown(&bench)))?;
        println!("\n{name}: {watch}");
        met &= status.success();
    }
    Ok(met)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_options_are_told_apart() {
        let args = Args::read(&["gateway", "--quick"]).unwrap();
        assert!(args.quick);
        assert_eq!(args.names, ["gateway"]);
        assert_eq!(Args::read(&["--quick"]).unwrap().names, ["dispatch"]);
        assert_eq!(Args::read(&["all"]).unwrap().names, NAMES);
    }

    #[test]
    fn other_consumers_are_built_for_the_benchmark_that_compares_with_them() {
        let wants = |words: &[&str]| Args::read(words).unwrap().wants_peers();
        assert!(wants(&[]));
        assert!(wants(&["ledger", "dispatch"]));
        let native = Args::read(&["latency"]).unwrap();
        assert!(native.wants_native() && !native.wants_peers());
        assert!(!wants(&["ledger", "--quick"]));
    }

    #[test]
    fn what_does_not_exist_is_named_beside_what_does() {
        let wrong = |words: &[&str]| Args::read(words).err().unwrap();
        assert_eq!(
            wrong(&["gatway"]),
            "there is no benchmark `gatway`; there is: dispatch, gateway, latency, \
             ledger, neighbours, scale, typed, and `all` of them"
        );
        assert_eq!(wrong(&["--quikc"]), "`bench` has no option --quikc");
    }
}
