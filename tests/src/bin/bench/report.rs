//! Takes what was measured, gives the table and the JSON that all benchmarks share.

use std::path::Path;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::machine::Machine;

/// A benchmark's result.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
}

/// One figure.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Sluicegate's figure; the median where there are several.
    pub(crate) ours: f64,
    /// The same of what it is compared with.
    pub(crate) other: Option<f64>,
    pub(crate) unit: &'static str,
    /// The median of the pairs' `ours / other`.
    pub(crate) ratio: Option<f64>,
    /// Lowest and highest of `ours`, where there are several.
    pub(crate) spread: Option<[f64; 2]>,
    pub(crate) target: Option<Target>,
    /// None where there is no target.
    pub(crate) met: Option<bool>,
}

/// What a figure has to be.
#[derive(Clone, Copy, Serialize)]
#[serde(into = "f64")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    Exactly(f64),
}

impl Target {
    fn is_met(self, found: f64) -> bool {
        match self {
            Self::AtLeast(value) => found >= value,
            Self::AtMost(value) => found <= value,
            Self::Exactly(value) => found == value,
        }
    }
}

impl From<Target> for f64 {
    fn from(target: Target) -> Self {
        match target {
            Target::AtLeast(value) | Target::AtMost(value) | Target::Exactly(value) => value,
        }
    }
}

impl Row {
    /// A figure by itself.
    pub(crate) fn new(name: impl Into<String>, ours: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            ours,
            other: None,
            unit,
            ratio: None,
            spread: None,
            target: None,
            met: None,
        }
    }

    /// The medians of several measures, each made beside one of something else.
    pub(crate) fn pairs(name: impl Into<String>, pairs: &[(f64, f64)], unit: &'static str) -> Self {
        let ours: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
        let other = pairs.iter().map(|pair| pair.1).collect();
        let ratios = pairs.iter().map(|pair| pair.0 / pair.1).collect();
        let lowest = ours.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = ours.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self {
            other: median(other),
            ratio: median(ratios),
            spread: Some([lowest, highest]),
            ..Self::new(name, median(ours).unwrap_or_default(), unit)
        }
    }

    /// What something costs beside something else: the median of the pairs' differences.
    pub(crate) fn added(name: impl Into<String>, pairs: &[(f64, f64)], unit: &'static str) -> Self {
        let added = pairs.iter().map(|(ours, other)| ours - other);
        let pairs: Vec<(f64, f64)> = added.map(|added| (added, 0.0)).collect();
        Self {
            other: None,
            ratio: None,
            ..Self::pairs(name, &pairs, unit)
        }
    }

    /// The median of several measures, beside nothing else.
    pub(crate) fn several(
        name: impl Into<String>,
        values: Vec<f64>,
        unit: &'static str,
    ) -> Option<Self> {
        let lowest = values.iter().copied().reduce(f64::min)?;
        let highest = values.iter().copied().reduce(f64::max)?;
        Some(Self {
            spread: Some([lowest, highest]),
            ..Self::new(name, median(values)?, unit)
        })
    }

    pub(crate) fn with_target(mut self, target: Target) -> Self {
        self.met = Some(target.is_met(self.ours));
        self.target = Some(target);
        self
    }

    /// A target for the ratio and not for the figure.
    pub(crate) fn target_ratio(&mut self, target: Target) {
        self.met = Some(self.ratio.is_some_and(|ratio| target.is_met(ratio)));
        self.target = Some(target);
    }
}

/// p50, p99 and p99.9 of one run, and the p99 of how late the load was, in milliseconds.
pub(crate) type Percentiles = [f64; 4];

/// What each of them is.
pub(crate) const PERCENTILES: [&str; 4] = ["p50", "p99", "p99.9", "p99 of how late the load was"];

/// Those of what was measured by the load itself, in microseconds.
pub(crate) fn percentiles(seen: &Histogram<u64>, late: &Histogram<u64>) -> Percentiles {
    let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|share| seen.value_at_percentile(share));
    [p50, p99, p999, late.value_at_percentile(99.0)].map(|micros| micros as f64 / 1e3)
}

impl Row {
    /// One for each of the percentiles.
    pub(crate) fn percentiles(found: Percentiles, name: impl Fn(&str) -> String) -> [Self; 4] {
        let [p50, p99, p999, late] = PERCENTILES;
        let [of_p50, of_p99, of_p999, of_late] = found;
        [
            (p50, of_p50),
            (p99, of_p99),
            (p999, of_p999),
            (late, of_late),
        ]
        .map(|(what, value)| Self::new(name(what), value, "ms"))
    }
}

impl Report {
    /// Whether no row with a target misses it.
    pub(crate) fn met(&self) -> bool {
        self.rows.iter().all(|row| row.met != Some(false))
    }

    pub(crate) fn print(&self) {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max();
        let width = width.unwrap_or_default();
        println!("\n{}\n", self.machine);
        let head =
            ["ours", "other", "ratio", "lowest", "highest"].map(|word| format!("{word:>10}"));
        println!("  {:<width$} {}  unit       target", "", head.join(" "));
        for row in &self.rows {
            let [lowest, highest] = row.spread.map_or([None, None], |spread| spread.map(Some));
            let ratio = row.ratio.map(|ratio| format!("{ratio:.2}"));
            let columns = [
                number(Some(row.ours)),
                number(row.other),
                ratio.unwrap_or_default(),
                number(lowest),
                number(highest),
            ];
            let columns = columns.map(|text| format!("{text:>10}"));
            let line = format!(
                "  {:<width$} {}  {:<10} {}",
                row.name,
                columns.join(" "),
                row.unit,
                judged(row)
            );
            println!("{}", line.trim_end());
        }
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))
    }
}

fn judged(row: &Row) -> String {
    let target = match row.target {
        Some(Target::AtLeast(value)) => format!("at least {}", number(Some(value))),
        Some(Target::AtMost(value)) => format!("at most {}", number(Some(value))),
        Some(Target::Exactly(value)) => format!("exactly {}", number(Some(value))),
        None => return String::new(),
    };
    let verdict = if row.met == Some(true) {
        "met"
    } else {
        "NOT MET"
    };
    format!("{target}: {verdict}")
}

/// Three digits or more, thousands apart.
fn number(value: Option<f64>) -> String {
    let Some(value) = value else {
        return String::new();
    };
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        if index > 0 && left.is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len().is_multiple_of(2) {
        return Some(f64::midpoint(*values.get(middle - 1)?, upper));
    }
    Some(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_members_that_the_design_names() -> Result<()> {
        let row = Row::pairs("a", &[(10.0, 20.0), (30.0, 40.0), (20.0, 80.0)], "1/s");
        let row = serde_json::to_value(row.with_target(Target::AtLeast(15.0)))?;
        let wanted = serde_json::json!({
            "name": "a", "ours": 20.0, "other": 40.0, "unit": "1/s", "ratio": 0.5,
            "spread": [10.0, 30.0], "target": 15.0, "met": true,
        });
        assert_eq!(row, wanted);
        Ok(())
    }

    #[test]
    fn what_is_added_is_the_median_of_the_differences() {
        let row = Row::added("a", &[(10.0, 4.0), (30.0, 29.0), (20.0, 22.0)], "ms");
        assert_eq!((row.ours, row.spread), (1.0, Some([-2.0, 6.0])));
        assert_eq!((row.other, row.ratio), (None, None));
    }

    #[test]
    fn targets_are_judged() {
        let row = |target| Row::new("a", 25.0, "ms").with_target(target).met;
        assert_eq!(row(Target::AtMost(25.0)), Some(true));
        assert_eq!(row(Target::AtMost(24.9)), Some(false));
        assert_eq!(row(Target::AtLeast(25.1)), Some(false));
        assert_eq!(row(Target::Exactly(25.0)), Some(true));
    }

    #[test]
    fn a_ratio_can_have_the_target() {
        let mut row = Row::pairs("a", &[(80.0, 100.0)], "1/s");
        row.target_ratio(Target::AtLeast(0.75));
        assert_eq!(row.met, Some(true));
        row.target_ratio(Target::AtLeast(0.81));
        assert_eq!(row.met, Some(false));
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(number(Some(1_234_567.8)), "1,234,568");
        assert_eq!(number(Some(999.0)), "999");
        assert_eq!(number(Some(4.321)), "4.32");
        assert_eq!(number(None), "");
    }
}
