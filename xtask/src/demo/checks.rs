//! What was expected against what was seen.

use std::fmt::Display;

/// The rows of the closing table.
#[derive(Default)]
pub(super) struct Checks {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    expected: String,
    seen: String,
}

impl Row {
    fn ok(&self) -> bool {
        self.expected == self.seen
    }
}

impl Checks {
    pub(super) fn add(
        &mut self,
        what: impl Into<String>,
        expected: impl Display,
        seen: impl Display,
    ) {
        self.rows.push(Row {
            what: what.into(),
            expected: expected.to_string(),
            seen: seen.to_string(),
        });
    }

    /// Prints the table and tells whether everything was as expected.
    pub(super) fn close(self) -> bool {
        println!("   {:<58} {:>13} {:>13}", "", "expected", "seen");
        for row in &self.rows {
            let mark = if row.ok() { "ok" } else { "OFF" };
            println!(
                "   {:<58} {:>13} {:>13}  {mark}",
                row.what, row.expected, row.seen
            );
        }
        let off = self.rows.iter().filter(|row| !row.ok()).count();
        match off {
            0 => println!("\n   All {} as expected.", self.rows.len()),
            _ => println!("\n   {off} of {} are OFF.", self.rows.len()),
        }
        off == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_that_is_off_fails_all() {
        let mut checks = Checks::default();
        checks.add("events sent", 40, 40);
        assert!(checks.close());

        let mut checks = Checks::default();
        checks.add("events sent", 40, 40);
        checks.add("dead letters", 1, 2);
        assert!(!checks.close());
    }
}
