//! Sizes and first lines: what makes the tree a diagram that can be read.

use super::{Finding, Texts};

/// Sources in which each file says first what it is for.
const SAY_WHAT_THEY_ARE: [&str; 5] = [
    "host/src/",
    "d365/src/",
    "guest-sdk/src/",
    "guest-sdk/macros/src/",
    "xtask/src/",
];

/// The stages of the data path, in the order of docs and code.
const STAGES: [&str; 6] = ["cursor", "decode", "route", "lane", "outcome", "backoff"];

const MOST_LINES: usize = 400;
const MOST_BYTES: usize = 300 * 1024;

/// Findings of any file: compiled guests and other data do not belong into the history.
pub(super) fn weight(path: &str, bytes: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if path.ends_with(".wasm") || bytes.contains(&0) {
        findings.push(Finding::new(path, 1, "a binary: build it instead"));
    }
    if bytes.len() > MOST_BYTES {
        let what = format!(
            "{} KB, and {} are the most",
            bytes.len() / 1024,
            MOST_BYTES / 1024
        );
        findings.push(Finding::new(path, 1, what));
    }
    findings
}

/// Findings of one text file.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !path.ends_with(".rs") {
        return findings;
    }
    let first = text.lines().next().unwrap_or_default();
    if SAY_WHAT_THEY_ARE.iter().any(|dir| path.starts_with(dir)) && !first.starts_with("//! ") {
        findings.push(Finding::new(
            path,
            1,
            "the first line does not say what it is: `//! …`",
        ));
    }
    let lines = lines_before_tests(text);
    if lines > MOST_LINES && !is_test_file(path) {
        let what = format!("{lines} lines without its tests, and {MOST_LINES} are the most");
        findings.push(Finding::new(path, MOST_LINES + 1, what));
    }
    findings
}

/// Each stage of the data path is there and says what it takes and gives.
pub(super) fn stages(texts: &Texts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for stage in STAGES {
        let file = format!("host/src/{stage}.rs");
        let folder = format!("host/src/{stage}/mod.rs");
        let Some(text) = texts.get(&file).or_else(|| texts.get(&folder)) else {
            findings.push(Finding::new(
                &file,
                1,
                "a stage of the data path is missing",
            ));
            continue;
        };
        if !text.starts_with("//! Takes ") {
            let what = "a stage's first line is `//! Takes X, gives Y.`";
            findings.push(Finding::new(&file, 1, what));
        }
    }
    findings
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.starts_with("tests/") || path.contains("/tests/")
}

/// Lines up to the file's own `#[cfg(test)] mod … {`, which stands at its end.
fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .position(|pair| match pair {
            [attribute, module] => {
                *attribute == "#[cfg(test)]" && module.starts_with("mod ") && module.ends_with('{')
            }
            _ => false,
        })
        .unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_say_what_they_are() {
        assert_eq!(check("host/src/a.rs", "use x;\n").len(), 1);
        assert!(check("host/src/a.rs", "//! Takes a, gives b.\n").is_empty());
        assert!(check("plugins/a/src/lib.rs", "use x;\n").is_empty());
        assert!(check("host/README.md", "Hello\n").is_empty());
    }

    #[test]
    fn long_files_are_found_and_long_tests_are_not() {
        let code = format!("//! X\n{}", "code\n".repeat(MOST_LINES));
        assert_eq!(check("host/src/a.rs", &code).len(), 1);
        assert!(check("host/src/a/tests.rs", &code).is_empty());
        let tests = "test\n".repeat(MOST_LINES);
        let file = format!("//! X\n#[cfg(test)]\nmod tests {{\n{tests}}}\n");
        assert!(check("host/src/a.rs", &file).is_empty());
        assert_eq!(
            check("host/src/a.rs", &file.replace("#[cfg(test)]\n", "")).len(),
            1
        );
    }

    #[test]
    fn a_stage_that_is_missing_or_silent_is_found() {
        let mut texts: Texts = STAGES
            .map(|stage| {
                (
                    format!("host/src/{stage}.rs"),
                    "//! Takes X, gives Y.\n".to_owned(),
                )
            })
            .into();
        assert!(stages(&texts).is_empty());
        texts.insert("host/src/lane.rs".into(), "//! Lanes.\n".into());
        texts.remove("host/src/route.rs");
        let files: Vec<_> = stages(&texts)
            .into_iter()
            .map(|finding| finding.file)
            .collect();
        assert_eq!(files, ["host/src/route.rs", "host/src/lane.rs"]);
    }

    #[test]
    fn heavy_files_and_binaries_are_found() {
        assert_eq!(weight("a.wasm", b"\0asm").len(), 1);
        assert_eq!(weight("a.json", &vec![b' '; MOST_BYTES + 1]).len(), 1);
        assert!(weight("a.json", &vec![b' '; MOST_BYTES]).is_empty());
    }
}
