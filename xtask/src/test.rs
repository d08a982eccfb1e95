//! `cargo xtask test`: builds everything, hands the parts to the tests, runs all of them.

mod tally;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::clock::Stopwatch;
use crate::compile::{self, Scope};
use crate::languages;
use crate::layout::Layout;
use crate::run::{self, Stream};
use crate::setup;
use tally::Tally;

/// What to run.
pub(crate) struct Args {
    /// The soaks and the chaos runs as well.
    long: bool,
    /// Only tests whose name contains one of these.
    filter: Vec<String>,
}

impl Args {
    /// Reads what follows `test` on the command line; the error says what is wrong with it.
    pub(crate) fn read(words: &[&str]) -> Result<Self, String> {
        let mut args = Self {
            long: false,
            filter: Vec::new(),
        };
        for word in words {
            match *word {
                "--long" => args.long = true,
                option if option.starts_with('-') => {
                    return Err(format!("`test` has no option {option}"));
                }
                filter => args.filter.push(filter.to_owned()),
            }
        }
        Ok(args)
    }
}

/// Runs everything to the end, whatever fails on the way, and tells whether nothing did.
pub(crate) fn run(layout: &Layout, args: &Args) -> Result<bool> {
    let mut summary = Summary::default();
    let parts = build(layout, args, &mut summary)?;
    summary.runner("doc tests", || doc_tests(layout, &parts, args))?;
    summary.runner("plug-in tests", || plugin_tests(layout, &parts, args))?;
    summary.runner("schema validator", || validator_tests(layout, &parts, args))?;
    // Last, so that what failed here is the last to be read.
    summary.runner("workspace tests", || workspace_tests(layout, &parts, args))?;
    summary.close(args)
}

/// Runs the test that looks at every page of the console, and has it keep a picture of each.
pub(crate) fn screenshots(layout: &Layout) -> Result<bool> {
    let args = Args {
        long: false,
        filter: vec!["every_page_reads_well".to_owned()],
    };
    let mut summary = Summary::default();
    let mut parts = build(layout, &args, &mut summary)?;
    let folder = layout.target.join("screenshots");
    parts
        .environment
        .push(("SLUICE_SCREENSHOTS", folder.clone()));
    summary.runner("pictures", || workspace_tests(layout, &parts, &args))?;
    println!("\npictures of every page are in {}", layout.short(&folder));
    summary.close(&args)
}

/// What tests find in their environment.
struct Parts {
    environment: Vec<(&'static str, PathBuf)>,
}

fn build(layout: &Layout, args: &Args, summary: &mut Summary) -> Result<Parts> {
    let tools = summary.step("setup", || setup::run(layout))?;
    let sluice = summary.step("build", || compile::sluice(layout, Scope::Workspace))?;
    let guests = summary.step("test guests", || compile::guests(layout, &sluice))?;
    let of_languages = summary.step("their tools", || Ok(setup::languages(layout)))?;
    summary.step_saying("other languages", || {
        languages::guests(layout, &sluice, &of_languages, &guests)
    })?;
    let plugins = layout.target.join("plugins");
    summary.step_saying("plug-ins", || {
        let source = layout.root.join("plugins");
        compile::plugins(layout, &sluice, &source, &plugins, Some(&of_languages))
    })?;
    println!("\n== outside tools");
    let watch = Stopwatch::start();
    let outsiders = setup::outsiders(layout);
    summary.row("outside tools", &watch, &outsiders.said().join("; "));
    let mut environment = vec![
        ("SLUICE_BIN", sluice),
        ("SLUICE_NATS_SERVER", tools.nats_server),
        ("SLUICE_GUESTS", guests),
        ("SLUICE_PLUGINS", plugins),
    ];
    environment.extend(of_languages.environment());
    environment.extend(outsiders.environment());
    let mut collector = None;
    summary.step_saying("collector", || {
        collector = setup::collector(layout);
        let skipped = "tests of traces SKIPPED".to_owned();
        Ok(collector.is_none().then_some(skipped).into_iter().collect())
    })?;
    environment.extend(collector.map(|program| ("SLUICE_COLLECTOR", program)));
    let mut kafka = None;
    summary.step_saying("kafka broker", || {
        kafka = setup::kafka(layout);
        let skipped = "tests of Kafka SKIPPED".to_owned();
        Ok(kafka.is_none().then_some(skipped).into_iter().collect())
    })?;
    environment.extend(kafka.map(|program| ("SLUICE_KAFKA_BROKER", program)));
    if args.long {
        environment.push(("SLUICE_LONG", "1".into()));
    }
    Ok(Parts { environment })
}

fn workspace_tests(layout: &Layout, parts: &Parts, args: &Args) -> Result<Tally> {
    let mut cargo = run::cargo(&layout.root);
    if !has_nextest(layout) {
        cargo.args([
            "test",
            "--workspace",
            "--all-targets",
            "--no-fail-fast",
            "--",
        ]);
        return tally(cargo.args(&args.filter), parts, Stream::Stdout);
    }
    cargo.args(["nextest", "run", "--workspace", "--no-tests", "pass"]);
    if args.long {
        cargo.args(["--profile", "long"]);
    }
    tally(cargo.args(&args.filter), parts, Stream::Stderr)
}

fn doc_tests(layout: &Layout, parts: &Parts, args: &Args) -> Result<Tally> {
    let mut cargo = run::cargo(&layout.root);
    cargo.args(["test", "--doc", "--no-fail-fast"]);
    cargo.args([
        "--package",
        "sluicegate-guest",
        "--package",
        "sluicegate-d365",
        "--",
    ]);
    tally(cargo.args(&args.filter), parts, Stream::Stdout)
}

fn plugin_tests(layout: &Layout, parts: &Parts, args: &Args) -> Result<Tally> {
    let mut cargo = run::cargo(&layout.root.join("plugins"));
    cargo.args(["test", "--workspace", "--no-fail-fast", "--target-dir"]);
    cargo.arg(compile::plugin_target(layout)).arg("--");
    tally(cargo.args(&args.filter), parts, Stream::Stdout)
}

/// Schemas are tried with a validator that others use, which is built by itself: its features are
/// not to become those of the host's dependencies.
fn validator_tests(layout: &Layout, parts: &Parts, args: &Args) -> Result<Tally> {
    let mut cargo = run::cargo(&layout.root.join("schema/validator"));
    cargo.args(["test", "--no-fail-fast", "--target-dir"]);
    cargo.arg(layout.target.join("validator-build")).arg("--");
    tally(cargo.args(&args.filter), parts, Stream::Stdout)
}

fn tally(runner: &mut Command, parts: &Parts, stream: Stream) -> Result<Tally> {
    runner.envs(parts.environment.iter().map(|(name, value)| (name, value)));
    println!("\n$ {}", run::shown(runner));
    let (status, lines) = run::tee(runner, stream, tally::is_closing_line)?;
    Ok(Tally::new(status.success(), lines))
}

fn has_nextest(layout: &Layout) -> bool {
    run::cargo(&layout.root)
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The times of all steps and what the test runners said at their ends.
#[derive(Default)]
struct Summary {
    rows: Vec<String>,
    runners: Vec<Tally>,
}

impl Summary {
    fn step<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n== {name}");
        let watch = Stopwatch::start();
        let result = step()?;
        self.row(name, &watch, "");
        Ok(result)
    }

    /// A step whose outcome belongs into the summary: what it left out, above all.
    fn step_saying(
        &mut self,
        name: &str,
        step: impl FnOnce() -> Result<Vec<String>>,
    ) -> Result<()> {
        println!("\n== {name}");
        let watch = Stopwatch::start();
        let said = step()?.join("; ");
        self.row(name, &watch, &said);
        Ok(())
    }

    fn runner(&mut self, name: &str, runner: impl FnOnce() -> Result<Tally>) -> Result<()> {
        println!("\n== {name}");
        let watch = Stopwatch::start();
        let tally = runner()?;
        self.row(name, &watch, &tally.to_string());
        self.runners.push(tally);
        Ok(())
    }

    fn row(&mut self, name: &str, watch: &Stopwatch, result: &str) {
        let row = format!("  {name:<16} {watch:>12}   {result}");
        self.rows.push(row.trim_end().to_owned());
    }

    fn close(self, args: &Args) -> Result<bool> {
        println!("\n== summary\n{}\n", self.rows.join("\n"));
        if self.runners.iter().all(|tally| tally.ran() == 0) {
            bail!(
                "no test was run: none has a name with {:?} in it",
                args.filter
            );
        }
        for line in self.runners.iter().flat_map(Tally::closing_lines) {
            println!("{line}");
        }
        Ok(self.runners.iter().all(Tally::ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_and_options_are_told_apart() {
        let args = Args::read(&["lane", "--long", "poison"]).unwrap();
        assert!(args.long);
        assert_eq!(args.filter, ["lane", "poison"]);
        let wrong = Args::read(&["--lnog"]).err();
        assert_eq!(wrong.as_deref(), Some("`test` has no option --lnog"));
    }
}
