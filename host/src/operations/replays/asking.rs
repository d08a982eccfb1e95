//! Takes what an operator wants sent again, gives the record of it, once the audit has it.

use async_nats::jetstream::kv::CreateErrorKind;
use serde_json::json;
use uuid::Uuid;

use super::{Error, HISTORY, History, MAX_RATE, Past, Read, Replay, Replays, State, encoded, key};
use crate::broker::DEADLETTER;
use crate::clock;
use crate::operations::letters::{self, Conditions};
use crate::operations::{Who, audit};

impl Replays {
    /// Freezes the set and writes the replay down, and that it was asked for. `by` does it;
    /// where that is empty, the first host that sees it.
    ///
    /// # Errors
    /// When the letters cannot be read or the broker does not take the record.
    pub async fn ask(
        &self,
        who: &Who,
        conditions: &Conditions,
        rate: u32,
        by: String,
    ) -> Result<Read, Error> {
        let dead_letters = letters::stream(&self.context).await?;
        let up_to = dead_letters.cached_info().state.last_sequence;
        let letters = letters::all(&dead_letters, conditions, 1).await?;
        let total = letters.iter().filter(|letter| letter.id <= up_to).count();
        let replay = Replay {
            conditions: conditions.texts(),
            up_to,
            total: total as u64,
            ..new(who, rate, by, "")
        };
        let detail = json!({
            "replay": replay.id, "conditions": replay.conditions, "letters": total, "up_to": up_to,
            "rate": replay.rate,
        });
        audit::record(&self.context, who, "replay", DEADLETTER, detail).await?;
        self.begin(replay).await
    }

    /// Writes down that a plug-in is to be given a part of the event store again, and that it was
    /// asked for. `by` does it, as above.
    ///
    /// # Errors
    /// When the broker does not take the record.
    pub async fn ask_history(
        &self,
        who: &Who,
        past: &Past,
        rate: u32,
        by: String,
    ) -> Result<Read, Error> {
        let replay = Replay {
            conditions: past.conditions.clone(),
            up_to: past.up_to,
            total: past.total,
            cursor: past.history.from.saturating_sub(1),
            history: Some(past.history.clone()),
            ..new(who, rate, by, HISTORY)
        };
        let History {
            plugin,
            from,
            with_effects,
            ..
        } = &past.history;
        let detail = json!({
            "replay": replay.id, "conditions": replay.conditions, "events": replay.total,
            "from": from, "up_to": replay.up_to, "rate": replay.rate, "effects": with_effects,
        });
        audit::record(&self.context, who, "replay", plugin, detail).await?;
        self.begin(replay).await
    }

    async fn begin(&self, replay: Replay) -> Result<Read, Error> {
        let key = key(&replay.id);
        let created = self.bucket.create(key, encoded(&replay)?).await;
        let revision = created.map_err(|error| match error.kind() {
            CreateErrorKind::AlreadyExists => Error::Taken(replay.id.clone()),
            _ => Error::Bucket(error.to_string()),
        })?;
        self.forget_old_ones().await;
        Ok((replay, revision))
    }
}

/// One of nothing yet; its name begins so.
fn new(who: &Who, rate: u32, by: String, begins: &str) -> Replay {
    let now = clock::unix_millis();
    Replay {
        id: format!("{begins}{now}-{}", short(Uuid::new_v4())),
        who: who.clone(),
        asked: clock::rfc3339(now),
        conditions: Vec::new(),
        up_to: 0,
        rate: rate.clamp(1, MAX_RATE),
        total: 0,
        state: State::Running,
        cursor: 0,
        replayed: 0,
        gone: 0,
        failed: 0,
        failures: Vec::new(),
        by,
        ended: None,
        history: None,
    }
}

fn short(id: Uuid) -> String {
    id.simple().to_string().chars().take(6).collect()
}
