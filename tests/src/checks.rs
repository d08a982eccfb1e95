//! Takes inputs and outputs, gives what was lost, repeated, reordered or invented.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::events::Input;
use crate::outputs::Echo;

/// The verdict on one run; every list is empty when the promises were kept.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Distinct inputs.
    pub inputs: usize,
    /// Outputs, repeated ones counted.
    pub outputs: usize,
    /// Ids of inputs without an output.
    pub lost: Vec<String>,
    /// Ids with more than one output, once for each that is too many.
    pub repeated: Vec<String>,
    /// `key: n after m` where an output came behind a later one of its key.
    pub reordered: Vec<String>,
    /// Outputs of no input, or that name another key or place than their input.
    pub foreign: Vec<String>,
}

impl Verdict {
    /// Judges the outputs, given in stream order.
    ///
    /// Order is judged over the first output of each input: a repeat is reported as a
    /// repeat, not a second time as a reordering.
    pub fn on(inputs: &[Input], outputs: &[Echo]) -> Self {
        let known: HashMap<&str, &Input> = inputs
            .iter()
            .map(|input| (input.id.as_str(), input))
            .collect();
        let mut verdict = Self {
            inputs: known.len(),
            outputs: outputs.len(),
            ..Self::default()
        };
        let mut seen = HashSet::new();
        let mut latest: HashMap<&str, u64> = HashMap::new();
        for output in outputs {
            let meant = known.get(output.input.as_str());
            if !meant.is_some_and(|input| input.key == output.key && input.n == output.n) {
                verdict.foreign.push(format!("{output:?}"));
                continue;
            }
            if !seen.insert(output.input.as_str()) {
                verdict.repeated.push(output.input.clone());
                continue;
            }
            match latest.get(output.key.as_str()) {
                Some(&before) if output.n < before => {
                    verdict
                        .reordered
                        .push(format!("{}: {} after {before}", output.key, output.n));
                }
                _ => {
                    latest.insert(&output.key, output.n);
                }
            }
        }
        verdict.lost = known
            .keys()
            .filter(|id| !seen.contains(*id))
            .map(ToString::to_string)
            .collect();
        verdict.lost.sort();
        verdict
    }

    /// Fails unless every input has exactly its one output, in the order of its key.
    ///
    /// # Errors
    /// With the verdict.
    pub fn clean(&self) -> Result<()> {
        let faults =
            self.lost.len() + self.repeated.len() + self.reordered.len() + self.foreign.len();
        ensure!(
            faults == 0 && self.inputs == self.outputs,
            "the promise was broken: {self:#?}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::series;

    fn echo(input: &str, key: &str, n: u64) -> Echo {
        Echo {
            input: input.to_owned(),
            key: key.to_owned(),
            n,
        }
    }

    fn good() -> Vec<Echo> {
        vec![
            echo("a-0", "a", 0),
            echo("b-0", "b", 0),
            echo("a-1", "a", 1),
            echo("b-1", "b", 1),
        ]
    }

    fn judge(outputs: &[Echo]) -> Verdict {
        let inputs = [series("a", 2), series("b", 2)].concat();
        Verdict::on(&inputs, outputs)
    }

    #[test]
    fn a_good_run_is_clean() {
        assert!(judge(&good()).clean().is_ok());
    }

    #[test]
    fn keys_may_overtake_each_other() {
        let outputs = [
            echo("b-0", "b", 0),
            echo("b-1", "b", 1),
            echo("a-0", "a", 0),
            echo("a-1", "a", 1),
        ];
        assert!(judge(&outputs).clean().is_ok());
    }

    #[test]
    fn a_loss_is_reported() {
        let mut outputs = good();
        outputs.remove(2);
        let verdict = judge(&outputs);
        assert_eq!(verdict.lost, ["a-1"]);
        assert!(verdict.clean().is_err());
    }

    #[test]
    fn a_repeat_is_reported_once_for_each_that_is_too_many() {
        let mut outputs = good();
        outputs.push(echo("a-0", "a", 0));
        outputs.push(echo("a-0", "a", 0));
        let verdict = judge(&outputs);
        assert_eq!(verdict.repeated, ["a-0", "a-0"]);
        assert!(verdict.reordered.is_empty());
        assert!(verdict.clean().is_err());
    }

    #[test]
    fn a_reordering_is_reported() {
        let mut outputs = good();
        outputs.swap(0, 2);
        let verdict = judge(&outputs);
        assert_eq!(verdict.reordered, ["a: 0 after 1"]);
        assert!(verdict.clean().is_err());
    }

    #[test]
    fn what_nobody_sent_is_reported() {
        let mut outputs = good();
        outputs.push(echo("c-0", "c", 0));
        outputs.push(echo("a-1", "b", 1));
        let verdict = judge(&outputs);
        assert_eq!(verdict.foreign.len(), 2);
        assert!(verdict.clean().is_err());
    }

    #[test]
    fn a_repeat_cannot_hide_a_loss() {
        let mut outputs = good();
        outputs.pop();
        outputs.push(echo("a-1", "a", 1));
        let verdict = judge(&outputs);
        assert_eq!((verdict.inputs, verdict.outputs), (4, 4));
        assert!(verdict.clean().is_err());
    }
}
