//! Takes a test runner's closing lines, gives numbers.

use std::fmt;

/// How one call of a test runner ended.
pub(super) struct Tally {
    ok: bool,
    passed: u64,
    failed: u64,
    lines: Vec<String>,
}

impl Tally {
    /// From whether the runner's exit status was 0, and its closing lines.
    pub(super) fn new(ok: bool, lines: Vec<String>) -> Self {
        let sum = |words: &[&str]| {
            let each = lines
                .iter()
                .flat_map(|line| words.iter().map(|word| number(line, word)));
            each.flatten().sum()
        };
        Self {
            ok,
            passed: sum(&["passed"]),
            failed: sum(&["failed", "timed"]),
            lines,
        }
    }

    pub(super) fn ok(&self) -> bool {
        self.ok && self.failed == 0
    }

    pub(super) fn ran(&self) -> u64 {
        self.passed + self.failed
    }

    /// The runner's own lines, of those parts that ran a test.
    pub(super) fn closing_lines(&self) -> impl Iterator<Item = &str> {
        let ran = |line: &&str| {
            ["passed", "failed"]
                .iter()
                .any(|word| number(line, word).is_some_and(|n| n > 0))
        };
        self.lines.iter().map(String::as_str).filter(ran)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed", self.passed)?;
        if self.failed > 0 {
            write!(f, ", {} FAILED", self.failed)?;
        } else if !self.ok {
            write!(f, ", and the runner FAILED")?;
        }
        Ok(())
    }
}

/// `Summary [   1.2s] 3 tests run: …` of nextest, `test result: ok. …` of cargo test. Nextest shows
/// what a failed test printed, with a closing line of its own, indented.
pub(super) fn is_closing_line(line: &str) -> bool {
    line.starts_with("test result: ") || line.trim_start().starts_with("Summary [")
}

/// The number before `word`: 3 for "failed" in "12 passed; 3 failed;".
fn number(line: &str, word: &str) -> Option<u64> {
    let words: Vec<&str> = line
        .split([' ', ',', ';'])
        .filter(|word| !word.is_empty())
        .collect();
    words.windows(2).find_map(|pair| match pair {
        [number, found] if *found == word => number.parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXTEST: &str = "     Summary [  61.004s] 9/12 tests run: 6 passed (2 slow), 2 failed, 1 timed out, 3 skipped";
    const CARGO: &str =
        "test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
    const NONE: &str = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";

    #[test]
    fn reads_the_closing_lines_of_both_runners() {
        assert!(is_closing_line(NEXTEST) && is_closing_line(CARGO));
        assert!(!is_closing_line("test result_is_kept ... ok"));
        assert!(!is_closing_line(
            "    test result: FAILED. 0 passed; 1 failed; 6 filtered out"
        ));
        let tally = Tally::new(false, vec![NEXTEST.into()]);
        assert_eq!(tally.to_string(), "6 passed, 3 FAILED");
        assert_eq!(tally.ran(), 9);
        let tally = Tally::new(true, vec![NONE.into(), CARGO.into(), CARGO.into()]);
        assert_eq!(tally.to_string(), "14 passed");
        assert_eq!(tally.closing_lines().collect::<Vec<_>>(), [CARGO, CARGO]);
        assert!(tally.ok());
    }

    #[test]
    fn a_runner_that_failed_without_a_failed_test_is_a_failure() {
        let tally = Tally::new(false, vec![CARGO.into()]);
        assert_eq!(tally.to_string(), "7 passed, and the runner FAILED");
        assert!(!tally.ok());
    }
}
