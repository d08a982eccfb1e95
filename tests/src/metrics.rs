//! Takes the text of `/metrics`, gives the value of one metric.

use anyhow::{Context, Result};

/// One reading of the host's metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// Wraps Prometheus text.
    pub fn new(text: String) -> Self {
        Self { text }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The sum over every series of `name` that carries all of `labels`; 0 when there is
    /// none, as a counter that never counted may not be printed at all.
    ///
    /// # Errors
    /// When a value is no number.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let mut sum = 0.0;
        for line in self.text.lines().filter(|line| !line.starts_with('#')) {
            let Some(rest) = line.strip_prefix(name) else {
                continue;
            };
            let (found, value) = match rest.strip_prefix('{') {
                Some(rest) => rest
                    .rsplit_once('}')
                    .with_context(|| format!("no }} in {line}"))?,
                None if rest.starts_with(' ') => ("", rest),
                // Another metric whose name only begins alike.
                None => continue,
            };
            let found: Vec<&str> = found.split(',').collect();
            if labels
                .iter()
                .all(|(key, value)| found.contains(&format!("{key}=\"{value}\"").as_str()))
            {
                let value = value
                    .split_whitespace()
                    .next()
                    .with_context(|| format!("no value in {line}"))?;
                sum += value
                    .parse::<f64>()
                    .with_context(|| format!("no number in {line}"))?;
            }
        }
        Ok(sum)
    }

    /// How many deliveries of `plugin` ended as `outcome` (done, duplicate, retry, dead).
    ///
    /// # Errors
    /// As [`Metrics::sum`].
    pub fn outcomes(&self, plugin: &str, outcome: &str) -> Result<f64> {
        self.sum(
            "sluicegate_outcomes_total",
            &[("plugin", plugin), ("outcome", outcome)],
        )
    }

    /// Whether a series of this name is printed at all.
    pub fn has(&self, name: &str) -> bool {
        self.text.lines().any(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_the_series_that_carry_the_labels() -> Result<()> {
        let text = "# TYPE a counter\na_total{plugin=\"x\",outcome=\"done\"} 3\n\
                    a_total{plugin=\"x\",outcome=\"dead\"} 2\na_total{plugin=\"y\",outcome=\"done\"} 7\n\
                    a_total_more{plugin=\"x\"} 100\nb 1.5 1700000000\n";
        let metrics = Metrics::new(text.to_owned());
        assert_eq!(metrics.sum("a_total", &[("plugin", "x")])?, 5.0);
        assert_eq!(
            metrics.sum("a_total", &[("outcome", "done"), ("plugin", "y")])?,
            7.0
        );
        assert_eq!(metrics.sum("a_total", &[("plugin", "z")])?, 0.0);
        assert_eq!(metrics.sum("b", &[])?, 1.5);
        assert!(metrics.has("b") && !metrics.has("a"));
        Ok(())
    }
}
