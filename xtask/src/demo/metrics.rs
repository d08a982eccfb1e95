//! Takes the text of `/metrics`, gives numbers.

/// One reading of `/metrics`, in the Prometheus text format.
pub(super) struct Metrics {
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Lines that are no samples (comments, anything that cannot be read) are left out.
    pub(super) fn parse(text: &str) -> Self {
        Self {
            samples: text.lines().filter_map(sample).collect(),
        }
    }

    /// The sum of all samples of `name` that carry each of `labels`; 0 where there is none,
    /// since a counter that never moved is not printed.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let carries = |sample: &Sample, (label, value): &(&str, &str)| {
            sample.labels.iter().any(|(l, v)| l == label && v == value)
        };
        let sum: f64 = self
            .samples
            .iter()
            .filter(|sample| {
                sample.name == name && labels.iter().all(|label| carries(sample, label))
            })
            .map(|sample| sample.value)
            .sum();
        // Counters of a demo are small whole numbers: exact in either type.
        sum as u64
    }
}

/// `name{label="value",…} 12`, with or without the labels.
fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (head, labels, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, rest) = rest.rsplit_once('}')?;
            (name, labels, rest)
        }
        None => {
            let (name, rest) = line.split_once(' ')?;
            (name, "", rest)
        }
    };
    let labels = labels.split("\",").filter_map(|label| {
        let (name, value) = label.split_once("=\"")?;
        Some((
            name.trim().to_owned(),
            value.trim_end_matches('"').to_owned(),
        ))
    });
    Some(Sample {
        name: head.trim().to_owned(),
        labels: labels.collect(),
        value: rest.split_whitespace().next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP sluicegate_outcomes_total Deliveries by their outcome.
# TYPE sluicegate_outcomes_total counter
sluicegate_outcomes_total{plugin=\"audit-trail\",outcome=\"done\"} 40
sluicegate_outcomes_total{plugin=\"slow-erp\",outcome=\"done\"} 1
sluicegate_outcomes_total{plugin=\"slow-erp\",outcome=\"retry\"} 2.0
sluicegate_commit_events_sum 43
sluicegate_commit_events_bucket{le=\"+Inf\"} 7
# EOF
";

    #[test]
    fn samples_are_summed_by_label() {
        let metrics = Metrics::parse(TEXT);
        let outcomes = |labels: &[(&str, &str)]| metrics.sum("sluicegate_outcomes_total", labels);
        assert_eq!(outcomes(&[("outcome", "done")]), 41);
        assert_eq!(outcomes(&[("outcome", "retry"), ("plugin", "slow-erp")]), 2);
        assert_eq!(outcomes(&[("outcome", "dead")]), 0);
        assert_eq!(metrics.sum("sluicegate_commit_events_sum", &[]), 43);
    }

    #[test]
    fn lines_that_are_no_samples_are_left_out() {
        assert!(
            Metrics::parse("# nothing\n\nnonsense\nname{ 12\nname x\n")
                .samples
                .is_empty()
        );
    }
}
