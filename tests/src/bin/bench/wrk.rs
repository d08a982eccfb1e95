//! The same load from `wrk`, where it is installed: a second opinion on our own generator.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluicegate_tests::process::command;
use tempfile::TempDir;

use crate::body::{Part, Template};
use crate::load::Target;

/// wrk's rate of 2xx answers a second; none where there is no wrk on PATH.
pub(crate) fn measure(
    target: Target<'_>,
    template: &Template,
    connections: usize,
    time: Duration,
    numbers: &mut u64,
) -> Result<Option<f64>> {
    let Some(program) = on_path("wrk") else {
        return Ok(None);
    };
    let folder = TempDir::with_prefix("sluice-wrk-")?;
    let script = folder.path().join("dataverse.lua");
    std::fs::write(&script, lua(template, *numbers))?;
    // More than it can send: the numbers after these are free again.
    *numbers += 1 << 32;
    let mut wrk = command(&program);
    wrk.args(["--threads", "1", "--connections", &connections.to_string()]);
    wrk.args(["--duration", &format!("{}s", time.as_secs())]);
    wrk.arg("--script").arg(&script);
    wrk.arg(format!("http://{}{}", target.address, target.path));
    let output = wrk.stdin(Stdio::null()).output().context("starting wrk")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "wrk ended with {}: {said}",
        output.status
    );
    let rate = rate(&said).with_context(|| format!("wrk names no rate: {said}"))?;
    Ok(Some(rate))
}

/// Its rate is one of all answers, so those that were refused are taken out.
fn rate(said: &str) -> Option<f64> {
    let lines = || said.lines().map(str::trim);
    let after = |what| lines().find_map(|line| line.strip_prefix(what)?.trim().parse::<f64>().ok());
    let before = |what| {
        let all = lines().find_map(|line| line.split_once(what))?.0;
        all.parse::<f64>().ok()
    };
    let refused = after("Non-2xx or 3xx responses:").unwrap_or_default();
    let all = before(" requests in ")?;
    Some(after("Requests/sec:")? * (all - refused) / all)
}

/// A script that gives each request a body of its own, from `first` on.
fn lua(template: &Template, first: u64) -> String {
    let mut body = String::new();
    for part in template.parts() {
        if !body.is_empty() {
            body.push_str(" .. ");
        }
        // What the body holds is text without `]=]`.
        let _ = match part {
            Part::Text(text) => write!(body, "[=[{text}]=]"),
            Part::Operation => write!(body, "string.format('%012x', number)"),
            Part::Record => write!(
                body,
                "string.format('%012x', number % {})",
                Template::RECORDS
            ),
        };
    }
    format!(
        "local number = {first}\n\
         local headers = {{ ['Content-Type'] = 'application/json' }}\n\
         request = function()\n  number = number + 1\n  \
         return wrk.format('POST', nil, headers, {body})\nend\n"
    )
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read() {
        let said =
            "  Latency  1.2ms\n  80000 requests in 5.00s, 3MB read\nRequests/sec:  16000.00\n";
        assert_eq!(rate(said), Some(16_000.0));
        let refused = format!("{said}  Non-2xx or 3xx responses: 20000\n");
        assert_eq!(rate(&refused), Some(12_000.0));
        assert_eq!(rate("unable to connect"), None);
    }

    #[test]
    fn the_script_holds_the_whole_body() -> Result<()> {
        let template = Template::new()?;
        let script = lua(&template, 7);
        for part in template.parts() {
            if let Part::Text(text) = part {
                ensure!(script.contains(text), "{text:?} is missing");
            }
        }
        ensure!(script.contains("local number = 7\n"));
        Ok(())
    }
}
