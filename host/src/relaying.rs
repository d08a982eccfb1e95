//! Takes dead letters and deeds of operators as the broker keeps them, gives events of the host's own life.
//!
//! Plug-ins react to them as to any other event: `d365.custom.<host>.system.<what>.raised`. All
//! hosts read by one consumer of the broker, and each event has an id that comes from its
//! place, so that there is one of each, whoever dies in between. An event about a dead letter
//! that is about such an event itself does not exist: one that nobody can handle would make
//! others without end.

use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::broker::DEADLETTER;
use crate::gateway::outgoing::Outgoing;
use crate::gateway::publisher::Publisher;
use crate::ledger::dead_letter as facts;
use crate::operations::audit;
use crate::system_events::{self, SystemEvent, TYPES};

/// The broker's consumer of each stream that is read, the same for all hosts.
const CONSUMER: &str = "system-events";
/// Without a word that the event is stored, another host takes it up.
const ACK_WAIT: Duration = Duration::from_secs(30);
const WAIT: Duration = Duration::from_secs(2);

/// What is told: its name, whom it is about, its data.
type Told = (String, String, Value);

/// Tells of what stands in these two streams, from now on, until `stop`.
pub async fn run(context: Context, publisher: Publisher, host: String, stop: CancellationToken) {
    let of = |stream: &'static str, read: fn(&Message, u64) -> Option<Told>| Relay {
        context: context.clone(),
        publisher: publisher.clone(),
        host: host.clone(),
        stream,
        read,
    };
    let letters = of(DEADLETTER, letter);
    let deeds = of(audit::STREAM, deed);
    let both = async { tokio::join!(letters.run(), deeds.run()) };
    tokio::select! {
        _ = Box::pin(both) => {}
        () = stop.cancelled() => {}
    }
}

struct Relay {
    context: Context,
    publisher: Publisher,
    host: String,
    stream: &'static str,
    read: fn(&Message, u64) -> Option<Told>,
}

impl Relay {
    async fn run(self) {
        let mut told = String::new();
        loop {
            if let Err(error) = self.follow().await
                && error != told
            {
                tracing::debug!(stream = self.stream, error, "events of the host wait");
                told = error;
            }
            sleep(WAIT).await;
        }
    }

    async fn follow(&self) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let stream: Stream = self
            .context
            .get_stream(self.stream)
            .await
            .map_err(|error| text(&error))?;
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            deliver_policy: DeliverPolicy::New,
            ack_wait: ACK_WAIT,
            ..pull::Config::default()
        };
        let consumer = stream.get_or_create_consumer(CONSUMER, config).await;
        let consumer = consumer.map_err(|error| text(&error))?;
        let mut messages = consumer.messages().await.map_err(|error| text(&error))?;
        while let Some(message) = messages.try_next().await.map_err(|error| text(&error))? {
            let sequence = message
                .info()
                .map_err(|error| text(&error))?
                .stream_sequence;
            if let Some(told) = (self.read)(&message, sequence) {
                let outgoing = self.event(told, sequence);
                let stored = self.publisher.publish(outgoing).await;
                // Not acknowledged: it comes again.
                stored.map_err(|error| text(&error))?;
            }
            message.ack().await.map_err(|error| text(&error))?;
        }
        Ok(())
    }

    fn event(&self, (name, about, data): Told, sequence: u64) -> Outgoing {
        let said = SystemEvent {
            name,
            id: format!("{}/{sequence}", self.stream.to_ascii_lowercase()),
            about,
            data,
        };
        let (subject, event) = system_events::event(&self.host, said);
        Outgoing::event(event, subject)
    }
}

/// A dead letter, without its body: that is what the operator's tools and its own key are for.
fn letter(message: &Message, sequence: u64) -> Option<Told> {
    let header = |name: &str| {
        let value = message.headers.as_ref()?.get(name)?;
        Some(value.as_str().to_owned())
    };
    let event_type = header("ce-type");
    if event_type
        .as_ref()
        .is_some_and(|text| text.starts_with(TYPES))
    {
        return None;
    }
    let plugin = header(facts::PLUGIN)?;
    let data = json!({
        "letter": sequence,
        "plugin": plugin,
        "version": header(facts::VERSION),
        "reason": header(facts::REASON),
        "error": header(facts::ERROR),
        "attempts": header(facts::ATTEMPTS),
        "event": {
            "id": header("ce-id"),
            "source": header("ce-source"),
            "type": event_type,
            "sequence": header(facts::SEQUENCE),
            "subject": header(facts::SUBJECT),
            "partitionkey": header(facts::PARTITION_KEY),
        },
    });
    Some(("dead-letter".to_owned(), plugin, data))
}

/// What an operator is about to do, as the audit has it.
fn deed(message: &Message, _: u64) -> Option<Told> {
    let entry: audit::Entry = serde_json::from_slice(&message.payload).ok()?;
    let data = serde_json::to_value(&entry).ok()?;
    Some((entry.action, entry.target, data))
}
