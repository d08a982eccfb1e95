//! Takes questions of operators over the broker, gives what this host has of its projections.

use async_nats::jetstream::Context;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::query::{Page, Query};
use super::store::Refused;
use super::{Projections, asked};

/// Bytes of rows in one message.
const BYTES: usize = 512 << 10;
/// Refused events in one message: each has 2 KiB of text at most.
const REFUSED: usize = 100;
/// Questions that are answered at once.
const AT_ONCE: usize = 8;

/// Where a host of this id is asked.
pub fn subject(host_id: &str) -> String {
    format!("sluicegate.ask.projections.{host_id}")
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// Of which projection.
    pub projection: String,
    /// What.
    pub what: What,
}

/// What is asked of a projection.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A page of rows.
    Rows {
        /// The first one where none is said.
        table: Option<String>,
        /// As in an address.
        words: Vec<(String, String)>,
    },
    /// The newest events that could not be taken in.
    Refused,
    /// It is to be built anew.
    Rebuild,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// Rows.
    Rows {
        /// Of this table.
        table: String,
        /// These.
        page: Page,
    },
    /// Events that could not be taken in.
    Refused(Vec<Refused>),
    /// It is being built; false where it was already.
    Rebuilding(bool),
    /// Why there is no answer.
    Failed(String),
}

impl Projections {
    /// Answers whoever asks, until the host has stopped.
    pub async fn answer_all(self, context: Context, host_id: String, stop: CancellationToken) {
        let client = context.client();
        let questions = match client.subscribe(subject(&host_id)).await {
            Ok(questions) => questions,
            Err(error) => {
                tracing::warn!(%error, "`sluice projections` will not hear of this host");
                return;
            }
        };
        let (projections, context) = (&self, &context);
        let answering = questions.for_each_concurrent(AT_ONCE, |question| async move {
            let Some(reply) = question.reply else { return };
            let told = projections.answer(context, &question.payload).await;
            let body = serde_json::to_vec(&told).unwrap_or_default();
            // Who asked may be gone.
            let _ = context.client().publish(reply, body.into()).await;
        });
        tokio::select! {
            () = answering => {}
            () = stop.cancelled() => {}
        }
    }

    async fn answer(&self, context: &Context, question: &[u8]) -> Told {
        let answered = async {
            let Question { projection, what } =
                serde_json::from_slice(question).map_err(|error| error.to_string())?;
            let shown = self.get(&projection);
            let shown = shown.ok_or_else(|| format!("this host has no projection {projection}"))?;
            match what {
                What::Rows { table, words } => {
                    let mut query = Query::parse(words).map_err(|error| error.to_string())?;
                    query.bytes = BYTES;
                    let found = shown.ask(Some(context), table.as_deref(), &query).await;
                    let found = found.map_err(|error: asked::Error| error.to_string())?;
                    Ok(Told::Rows {
                        table: found.table,
                        page: found.answer.page,
                    })
                }
                What::Refused => {
                    let current = shown.versions.borrow().current.clone();
                    let found = current.look(|store| store.refused(REFUSED)).await;
                    let found = found.map_err(|error| error.to_string())?;
                    found.map(Told::Refused).map_err(|error| error.to_string())
                }
                What::Rebuild => Ok(Told::Rebuilding(shown.rebuild())),
            }
        };
        answered.await.unwrap_or_else(Told::Failed)
    }
}
