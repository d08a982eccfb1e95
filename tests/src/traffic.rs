//! Takes a rate and a time, gives what many senders were answered while something broke.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep, timeout};

use crate::answer::Answer;
use crate::bodies;
use crate::checks::Verdict;
use crate::events::Input;
use crate::gateway::{Gateway, Source};
use crate::outputs::Echo;
use crate::wire::Connection;

/// An answer that takes longer is a hang.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two attempts at one post.
const PAUSE: Duration = Duration::from_millis(100);

/// Senders of one source; each has a record of its own, and waits for every answer before it
/// posts the next update of that record.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// Where they post.
    pub gateway: Gateway,
    /// As whom, of kind `dataverse`.
    pub source: Source,
    /// How many there are.
    pub senders: u64,
    /// Posts a second of all together; who had to wait catches up.
    pub per_second: u64,
    /// How many posts each makes.
    pub each: u64,
    /// Whether a post that was not answered 202 is made again, until it is.
    pub retry: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Posted {
    /// All that was posted.
    pub inputs: Vec<Input>,
    /// Ids of those that were answered 202 in the end.
    pub accepted: HashSet<String>,
    /// What those that were answered 503 were told, the last time; by id.
    pub refused: HashMap<String, String>,
    /// How many of them were told to be in the spool.
    pub spooled: u64,
    /// How many answers of each status; 0 stands for a connection that broke.
    pub answers: BTreeMap<u16, u64>,
    /// The longest time that an answer took.
    pub slowest: Duration,
}

impl Traffic {
    /// Posts all of it.
    ///
    /// # Errors
    /// When an answer is neither 202 nor 503, or does not come.
    pub async fn run(&self) -> Result<Posted> {
        let mut senders = JoinSet::new();
        for key in 0..self.senders {
            let traffic = self.clone();
            senders.spawn(async move { traffic.sender(key).await });
        }
        let mut all = Posted::default();
        while let Some(posted) = senders.join_next().await {
            all.add(posted??);
        }
        Ok(all)
    }

    async fn sender(&self, key: u64) -> Result<Posted> {
        let mut posted = Posted::default();
        let mut connection = None;
        let between = Duration::from_secs(1) / u32::try_from(self.per_second.max(1))?;
        let (senders, turn) = (u32::try_from(self.senders)?, u32::try_from(key)?);
        // One after another, not all at the same moment.
        let mut ticks = interval_at(Instant::now() + between * turn, between * senders);
        for n in 0..self.each {
            ticks.tick().await;
            let request = self.source.json(bodies::account_update(key, n)?).bytes();
            let input = bodies::input(key, n);
            loop {
                let start = Instant::now();
                let answer = timeout(PATIENCE, self.post(&mut connection, &request));
                let answer = answer
                    .await
                    .with_context(|| format!("no answer in {PATIENCE:?}: a hang"))?;
                posted.slowest = posted.slowest.max(start.elapsed());
                let status = answer.as_ref().map_or(0, |answer| answer.status);
                *posted.answers.entry(status).or_default() += 1;
                match (status, answer) {
                    (202, Ok(answer)) => {
                        let spooled = answer.json()?.get("spooled").cloned();
                        posted.spooled += u64::from(spooled == Some(Value::Bool(true)));
                        posted.accepted.insert(input.id.clone());
                        break;
                    }
                    (503, Ok(answer)) => {
                        let told = answer.try_again()?.problem(503)?;
                        posted.refused.insert(input.id.clone(), told);
                    }
                    (0, _) => connection = None,
                    (_, answer) => bail!("{answer:?}"),
                }
                if !self.retry {
                    break;
                }
                sleep(PAUSE).await;
            }
            posted.inputs.push(input);
        }
        Ok(posted)
    }

    async fn post(&self, connection: &mut Option<Connection>, bytes: &[u8]) -> Result<Answer> {
        let connection = match connection {
            Some(connection) => connection,
            none => none.insert(self.gateway.connect().await?),
        };
        connection.send(bytes).await?;
        connection.answer().await
    }
}

impl Posted {
    fn add(&mut self, other: Self) {
        self.inputs.extend(other.inputs);
        self.accepted.extend(other.accepted);
        self.refused.extend(other.refused);
        self.spooled += other.spooled;
        for (status, count) in other.answers {
            *self.answers.entry(status).or_default() += count;
        }
        self.slowest = self.slowest.max(other.slowest);
    }

    /// How often the answer was this; 0 is a broken connection.
    pub fn answered(&self, status: u16) -> u64 {
        self.answers.get(&status).copied().unwrap_or_default()
    }

    /// What those were told that are stored without a 202, and how many were told so.
    pub fn told_of_stored(&self, stored: &[Echo]) -> BTreeMap<&str, usize> {
        let mut told = BTreeMap::new();
        for echo in stored
            .iter()
            .filter(|echo| !self.accepted.contains(&echo.input))
        {
            let text = self
                .refused
                .get(&echo.input)
                .map_or("nothing", String::as_str);
            *told.entry(text).or_default() += 1;
        }
        told
    }

    /// Holds what is stored, in stream order, against what was answered: every 202 is there
    /// once and in the order of its key. What is there without a 202 was posted, and is there
    /// once as well; its number is given.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn judge(&self, stored: &[Echo]) -> Result<(Verdict, usize)> {
        let accepted = |id: &str| self.accepted.contains(id);
        let inputs: Vec<Input> = self
            .inputs
            .iter()
            .filter(|input| accepted(&input.id))
            .cloned()
            .collect();
        let (promised, others): (Vec<Echo>, Vec<Echo>) = stored
            .iter()
            .cloned()
            .partition(|echo| accepted(&echo.input));
        let verdict = Verdict::on(&inputs, &promised);
        verdict.clean()?;
        let beyond = Verdict::on(&self.inputs, &others);
        ensure!(
            beyond.repeated.is_empty() && beyond.foreign.is_empty(),
            "what was answered 503 is there twice, or was never posted: {beyond:?}"
        );
        let whole = Verdict::on(&self.inputs, stored);
        ensure!(
            whole.reordered.is_empty(),
            "not in the order of their keys: {:?}",
            whole.reordered
        );
        Ok((verdict, others.len()))
    }

    /// For `target/chaos`.
    pub fn figures(&self, verdict: &Verdict, beyond: usize, kills: usize) -> Value {
        json!({
            "inputs": self.inputs.len(), "accepted": self.accepted.len(), "spooled": self.spooled,
            "stored": verdict.outputs, "stored_without_202": beyond,
            "lost": verdict.lost.len(), "repeated": verdict.repeated.len(),
            "reordered": verdict.reordered.len(), "kills": kills, "answers": self.answers,
            "slowest_ms": u64::try_from(self.slowest.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(key: u64, n: u64) -> Echo {
        let input = bodies::input(key, n);
        Echo {
            input: input.id,
            key: input.key,
            n,
        }
    }

    fn posted() -> Posted {
        let inputs: Vec<Input> = (0..3).map(|n| bodies::input(1, n)).collect();
        let accepted = inputs
            .iter()
            .filter(|input| input.n != 1)
            .map(|input| input.id.clone());
        Posted {
            accepted: accepted.collect(),
            inputs,
            ..Posted::default()
        }
    }

    #[test]
    fn what_was_promised_has_to_be_there_and_the_rest_may() {
        assert!(
            posted()
                .judge(&[echo(1, 0), echo(1, 2)])
                .is_ok_and(|(_, n)| n == 0)
        );
        assert!(
            posted()
                .judge(&[echo(1, 0), echo(1, 1), echo(1, 2)])
                .is_ok_and(|(_, n)| n == 1)
        );
    }

    #[test]
    fn what_a_sender_was_told_of_a_stored_event_is_found() {
        let mut posted = posted();
        let told = "the broker is away".to_owned();
        posted.refused.insert(bodies::input(1, 1).id, told);
        assert!(posted.told_of_stored(&[echo(1, 0), echo(1, 2)]).is_empty());
        let found = posted.told_of_stored(&[echo(1, 1), echo(9, 9)]);
        assert_eq!(found, [("nothing", 1), ("the broker is away", 1)].into());
    }

    #[test]
    fn a_loss_a_repeat_a_stranger_and_a_reordering_are_reported() {
        for stored in [
            vec![echo(1, 0)],
            vec![echo(1, 0), echo(1, 2), echo(1, 2)],
            vec![echo(1, 0), echo(1, 1), echo(1, 1), echo(1, 2)],
            vec![echo(1, 0), echo(1, 2), echo(9, 0)],
            vec![echo(1, 2), echo(1, 0)],
            vec![echo(1, 0), echo(1, 2), echo(1, 1)],
        ] {
            assert!(posted().judge(&stored).is_err(), "{stored:?}");
        }
    }
}
