//! Takes the command of another tool, runs it, gives what it said where it failed.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Runs a tool to its end. What it says is shown when it fails, and else is not.
pub(super) fn run(command: &mut Command, what: &str, missing: &str) -> anyhow::Result<()> {
    let output = command
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{what} cannot be started; {missing}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = readable(&String::from_utf8_lossy(&said));
    match hint(&said) {
        Some(hint) => bail!("{what} failed: {hint}\n{said}"),
        None => bail!("{what} failed\n{said}"),
    }
}

/// What a tool said, without where in itself it was.
fn readable(said: &str) -> String {
    let said = said.split("Stack backtrace:").next().unwrap_or_default();
    let is_inside = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("at ") || line.starts_with("Node.js v")
    };
    let lines: Vec<&str> = said.lines().filter(|line| !is_inside(line)).collect();
    lines.join("\n").trim().to_owned()
}

/// What the author can do, where what the tool says does not tell.
fn hint(said: &str) -> Option<String> {
    let grants = [
        ("state", "`state = true`"),
        ("outbox", "`emit = [\"<subjects>\"]`"),
    ];
    grants.into_iter().find_map(|(interface, grant)| {
        let imported = format!("sluicegate:plugin/{interface}@");
        let is_named = said.contains(&imported);
        is_named.then(|| {
            format!("the source imports {interface}, which needs {grant} under [capabilities] in plugin.toml")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_says_is_shown_with_what_to_do() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            run(&mut command, "the tool", "install it").map_err(|error| format!("{error:#}"))
        };
        assert_eq!(shell("true"), Ok(()));
        assert_eq!(
            shell("echo broken >&2; exit 1").unwrap_err(),
            "the tool failed\nbroken"
        );
        let error = shell("echo no sluicegate:plugin/state@0.1.0; exit 1").unwrap_err();
        assert!(
            error.contains("`state = true` under [capabilities]"),
            "{error}"
        );
        let error = shell("printf 'Error: no\\n    at f (x.js:1)\\n\\nNode.js v20\\n'; exit 1")
            .unwrap_err();
        assert_eq!(error, "the tool failed\nError: no");
        let missing = run(&mut Command::new("/nowhere/tool"), "the tool", "install it");
        let missing = format!("{:#}", missing.unwrap_err());
        assert!(
            missing.starts_with("the tool cannot be started; install it"),
            "{missing}"
        );
    }
}
