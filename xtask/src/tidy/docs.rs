//! What the documents say, held against the code.

use std::collections::BTreeMap;

use super::{Finding, Texts};

const METRICS_CODE: &str = "host/src/metrics.rs";
const METRICS_DOCS: &str = "docs/metrics.md";
const PREFIX: &str = "sluicegate_";
const SUFFIXES: [&str; 4] = ["_total", "_bucket", "_sum", "_count"];
const CONTRACT: &str = "wit/types.wit";
const PACKAGE: &str = "sluicegate:plugin@";
const CHANGELOG: &str = "CHANGELOG.md";

/// Relative links that lead nowhere; `exists` is asked about paths from the root.
pub(super) fn links(texts: &Texts, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (line, target) in link_targets(text) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() {
                path.clone()
            } else {
                join(path, file)
            };
            let lost = |what| Finding::new(path, line, format!("`{target}`: {what}"));
            if !exists(&file) {
                findings.push(lost("there is no such file"));
            } else if let Some(page) = texts.get(&file)
                && file.ends_with(".md")
                && !anchor.is_empty()
                && !headings(page).any(|heading| heading == anchor)
            {
                findings.push(lost("that page has no such heading"));
            }
        }
    }
    findings
}

/// Every metric of the code is in the docs, and the other way round.
pub(super) fn metrics(texts: &Texts) -> Vec<Finding> {
    let (Some(code), Some(docs)) = (texts.get(METRICS_CODE), texts.get(METRICS_DOCS)) else {
        let missing = [METRICS_CODE, METRICS_DOCS]
            .into_iter()
            .filter(|path| !texts.contains_key(*path));
        return missing
            .map(|path| Finding::new(path, 1, "missing"))
            .collect();
    };
    let (code, docs) = (registered_metrics(code), mentioned_metrics(docs));
    let absent = |here: &Lines, there: &Lines, path, other| {
        here.iter()
            .filter(|(name, _)| !there.contains_key(*name))
            .map(|(name, line)| Finding::new(path, *line, format!("`{name}` is not in {other}")))
            .collect::<Vec<_>>()
    };
    let mut findings = absent(&code, &docs, METRICS_CODE, METRICS_DOCS);
    findings.extend(absent(&docs, &code, METRICS_DOCS, METRICS_CODE));
    findings
}

/// All mentions of the WIT package carry the version that it has.
pub(super) fn contract_version(texts: &Texts) -> Vec<Finding> {
    let version = texts.get(CONTRACT).and_then(|text| versions(text).next());
    let Some((_, version)) = version else {
        return vec![Finding::new(
            CONTRACT,
            1,
            format!("has no `package {PACKAGE}…`"),
        )];
    };
    let mut findings = Vec::new();
    for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (line, found) in versions(text).filter(|(_, found)| *found != version) {
            let what = format!("says `{PACKAGE}{found}`, and {CONTRACT} has {version}");
            findings.push(Finding::new(path, line, what));
        }
    }
    findings
}

/// The change log has a section for what is being worked on, or for the current version.
pub(super) fn changelog(texts: &Texts) -> Vec<Finding> {
    let version = texts
        .get("Cargo.toml")
        .and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("version = "))
        })
        .map(|version| version.trim_matches('"'))
        .unwrap_or_default();
    let Some(text) = texts.get(CHANGELOG) else {
        return vec![Finding::new(CHANGELOG, 1, "missing")];
    };
    let current = |line: &str| {
        line.starts_with("## ") && (line.contains("Unreleased") || line.contains(version))
    };
    if text.lines().any(current) {
        return Vec::new();
    }
    vec![Finding::new(
        CHANGELOG,
        1,
        format!("has no section `## Unreleased` or `## {version}`"),
    )]
}

/// Names of metrics, without what the text format appends to them, and their lines.
type Lines = BTreeMap<String, usize>;

/// What code registers: the name, with the registry's prefix and the unit as the
/// prometheus-client crate puts them together.
fn registered_metrics(code: &str) -> Lines {
    let mut names = Lines::new();
    let mut line = 1;
    let mut calls = code.split(".register");
    line += calls
        .next()
        .map_or(0, |before| before.matches('\n').count());
    for call in calls {
        if let Some(name) = call.split('"').nth(1) {
            let unit = call
                .starts_with("_with_unit(")
                .then(|| call.split("Unit::").nth(1)?.split(',').next())
                .flatten()
                .map(|unit| format!("_{}", unit.to_lowercase()));
            let name = format!("{PREFIX}{name}{}", unit.unwrap_or_default());
            names.entry(name).or_insert(line);
        }
        line += call.matches('\n').count();
    }
    names
}

/// What a page mentions: `sluicegate_deliveries_total` is about `sluicegate_deliveries`.
fn mentioned_metrics(page: &str) -> Lines {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let mut names = Lines::new();
    for (number, line) in (1..).zip(page.lines()) {
        for word in line.split(|c| !is_name(c)) {
            if word.starts_with(PREFIX) && !word.ends_with('_') {
                let bare = SUFFIXES.iter().find_map(|suffix| word.strip_suffix(suffix));
                names
                    .entry(bare.unwrap_or(word).to_owned())
                    .or_insert(number);
            }
        }
    }
    names
}

fn versions(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).flat_map(|(number, line)| {
        line.split(PACKAGE).skip(1).map(move |rest| {
            let end = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            (
                number,
                rest.get(..end).unwrap_or_default().trim_end_matches('.'),
            )
        })
    })
}

/// Line and target of each relative link outside of code.
fn link_targets(text: &str) -> Vec<(usize, String)> {
    let mut targets = Vec::new();
    for (number, line) in prose_lines(text) {
        // Every second part between back-ticks is code.
        let prose: Vec<&str> = line.split('`').step_by(2).collect();
        let prose = prose.join("");
        let inline = prose
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        let reference = prose
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]: "))
            .map(|(_, target)| target);
        for target in inline.chain(reference) {
            let target = target.split_whitespace().next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') {
                targets.push((number, target.to_owned()));
            }
        }
    }
    targets
}

/// A page's headings as their links name them: `## Dead letters` is `dead-letters`.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose_lines(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| {
            let title = line.trim_start_matches('#').trim();
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            title
                .to_lowercase()
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
}

/// The lines of a page that are not inside a fenced block of code.
fn prose_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// `../a.md` seen from `docs/b/c.md` is `docs/a.md`.
fn join(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<const N: usize>(files: [(&str, &str); N]) -> Texts {
        files
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into()
    }

    fn whats(findings: Vec<Finding>) -> Vec<String> {
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_are_followed_from_their_page() {
        let texts = texts([
            (
                "docs/a.md",
                "[b](../README.md#first-words) [c](c.md) [web](https://x.y/z)\n\n[d]: d.md",
            ),
            (
                "README.md",
                "# First words!\n```\n[x](in-code.md)\n```\n`[y](y.md)` [a](docs/a.md#no)",
            ),
        ]);
        assert_eq!(
            whats(links(&texts, |path| texts.contains_key(path))),
            [
                "README.md:5: `docs/a.md#no`: that page has no such heading",
                "docs/a.md:1: `c.md`: there is no such file",
                "docs/a.md:3: `d.md`: there is no such file",
            ]
        );
    }

    #[test]
    fn metrics_are_compared_both_ways() {
        let code = "let all = Registry::with_prefix(\"sluicegate\");\n\
                    all.register(\"deliveries\", \"Read\", x);\n\
                    all.register_with_unit(\n\"call_duration\",\n\"A call\",\nUnit::Seconds,\nx);\n\
                    all.register(\"lag_events\", \"Unread\", x);\n";
        let docs = "`sluicegate_deliveries_total{plugin}`, all of sluicegate_*\n\
                    `sluicegate_call_duration_seconds_bucket`\n\
                    `sluicegate_gone_total`\n";
        let texts = texts([(METRICS_CODE, code), (METRICS_DOCS, docs)]);
        assert_eq!(
            whats(metrics(&texts)),
            [
                "host/src/metrics.rs:8: `sluicegate_lag_events` is not in docs/metrics.md",
                "docs/metrics.md:3: `sluicegate_gone` is not in host/src/metrics.rs",
            ]
        );
    }

    #[test]
    fn an_old_version_of_the_contract_is_found() {
        let texts = texts([
            (
                CONTRACT,
                "/// The contract.\npackage sluicegate:plugin@0.2.0;",
            ),
            ("a.md", "Package `sluicegate:plugin@0.2.0`."),
            ("b.md", "\nsluicegate:plugin@0.1.0."),
        ]);
        assert_eq!(
            whats(contract_version(&texts)),
            ["b.md:2: says `sluicegate:plugin@0.1.0`, and wit/types.wit has 0.2.0"]
        );
    }

    #[test]
    fn the_change_log_has_to_have_a_current_section() {
        let version = "[workspace.package]\nversion = \"0.3.0\"\n";
        let log = |text| changelog(&texts([("Cargo.toml", version), (CHANGELOG, text)]));
        assert!(log("# Changes\n## Unreleased\n").is_empty());
        assert!(log("## 0.3.0 (today)\n").is_empty());
        assert_eq!(log("## 0.2.0\n").len(), 1);
    }
}
