//! Takes what the host has to say of itself, gives events in the store: on `d365.custom.<host>.system.<name>.raised.<slot>`.
//!
//! Whoever raises one never waits: the queue is bounded, and what does not fit is left out and
//! said in the log. The id says what happened, so that the broker drops what several hosts raise.

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Context;
use parking_lot::Mutex;
use serde_json::Value;
use sluicegate_d365::{Kind, Origin, Subject, slot, token};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::encode;
use crate::event::{AttributeValue, Event, validate};

/// What the types of all of them begin with.
pub const TYPES: &str = "d365.system.";
/// Events that wait for the broker.
const MAX_WAITING: usize = 256;

/// One thing that a host has to say.
#[derive(Debug, Clone)]
pub struct SystemEvent {
    /// `schema-drift`: of the subject, and behind `d365.system.` the type.
    pub name: String,
    /// The same for the same thing, whichever host says it.
    pub id: String,
    /// What it is about.
    pub about: String,
    /// More of it.
    pub data: Value,
}

/// Where they are raised. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SystemEvents(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    /// None where nothing is to be told.
    raise: Option<mpsc::Sender<SystemEvent>>,
    /// Its end, until somebody publishes.
    raised: Mutex<Option<mpsc::Receiver<SystemEvent>>>,
}

impl SystemEvents {
    /// Of a host, which may be silent.
    pub fn new(is_on: bool) -> Self {
        let (raise, raised) = is_on.then(|| mpsc::channel(MAX_WAITING)).unzip();
        let raised = Mutex::new(raised);
        Self(Arc::new(Queue { raise, raised }))
    }

    /// Raises one, if there is room.
    pub fn raise(&self, event: SystemEvent) {
        if let Some(raise) = &self.0.raise
            && let Err(error) = raise.try_send(event)
        {
            tracing::warn!(%error, "an event of the host's own is left out");
        }
    }

    /// Publishes what is raised, until `stop`; called once.
    pub async fn run(self, context: Context, host: String, stop: CancellationToken) {
        let Some(mut raised) = self.0.raised.lock().take() else {
            return;
        };
        loop {
            let event = tokio::select! {
                event = raised.recv() => event,
                () = stop.cancelled() => return,
            };
            let Some(event) = event else { return };
            let (name, id) = (event.name.clone(), event.id.clone());
            if let Err(error) = publish(&context, &host, event).await {
                tracing::warn!(name, id, error, "an event of the host's own was not stored");
            }
        }
    }
}

/// Publishes one; the broker has it, or had it before.
///
/// # Errors
/// When the broker does not take it.
pub async fn publish(context: &Context, host: &str, said: SystemEvent) -> Result<(), String> {
    let (subject, event) = event(host, said);
    validate(&event).map_err(|error| error.to_string())?;
    let message_id = event.message_id();
    let (mut headers, body) = encode::binary(event);
    headers.insert(NATS_MESSAGE_ID, message_id);
    let sent = context.publish_with_headers(subject, headers, body).await;
    let stored = sent.map_err(|error| error.to_string())?.await;
    stored.map(|_| ()).map_err(|error| error.to_string())
}

/// The event, and where it goes. Its source is the cluster's: hosts that say the same say it once.
pub fn event(host: &str, said: SystemEvent) -> (String, Event) {
    let SystemEvent {
        name,
        id,
        about,
        data,
    } = said;
    let subject = Subject {
        origin: Origin::Custom,
        environment: token(host),
        kind: Kind::System,
        name: token(&name),
        action: "raised".to_owned(),
        slot: Some(slot(&about)),
    };
    let event = Event {
        id,
        source: "/sluicegate".to_owned(),
        event_type: format!("{TYPES}{name}"),
        subject: (!about.is_empty()).then(|| about.clone()),
        time: Some(clock::rfc3339(clock::unix_millis())),
        datacontenttype: Some("application/json".to_owned()),
        dataschema: None,
        extensions: vec![("partitionkey".to_owned(), AttributeValue::Text(about))],
        data: Some(data.to_string().into()),
    };
    (subject.to_string(), event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_is_an_event_of_the_grammar() {
        let said = SystemEvent {
            name: "schema-drift".to_owned(),
            id: "1".to_owned(),
            about: "d365.dataverse.account.update".to_owned(),
            data: serde_json::json!({"a": 1}),
        };
        let (subject, event) = event("Host.1", said);
        let start = "d365.custom.host_1.system.schema-drift.raised.";
        assert!(subject.starts_with(start), "{subject}");
        assert_eq!(event.event_type, "d365.system.schema-drift");
        assert_eq!(validate(&event), Ok(()));
    }
}
