//! Takes a topic, gives its records to an intake, and their offsets to the broker once the event
//! store has them.

use std::sync::Arc;
use std::sync::mpsc as back;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::binding;
use super::offsets::Place;
use super::reading::{Read, Reader};
use super::{Ear, settings, tokens};
use crate::bridge::intake::Intake;
use crate::config::SourceKind;
use crate::config::bridge::{Bridge, Kafka, Start};
use crate::plugin::http::Outgoing;
use crate::plugin::http::tokens::Tokens;

/// A topic that is read, as a member of a consumer group.
pub struct Reads {
    bridge: String,
    kafka: Kafka,
    tokens: Option<Arc<Tokens>>,
}

impl Reads {
    /// Opens no connection.
    pub fn new(bridge: &Bridge, kafka: &Kafka, outgoing: &Outgoing) -> Self {
        Self {
            bridge: bridge.name.clone(),
            kafka: kafka.clone(),
            tokens: tokens(&bridge.name, kafka, outgoing),
        }
    }

    /// Reads until `stop`; then what was handed over is waited for and committed, and the group
    /// left.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub async fn run(&self, intake: &Intake, stop: CancellationToken) -> Result<(), String> {
        let (records, mut incoming) = mpsc::unbounded_channel();
        let (settled, settling) = back::channel::<Place>();
        let ear = Ear::new(&self.bridge, self.tokens.as_ref());
        let reader = Reader::new(
            (&self.settings(), &self.kafka.topic),
            ear,
            settling,
            intake.clone(),
        )?;
        let reading = tokio::task::spawn_blocking(move || reader.run(records, &stop));
        let mut waiting = FuturesUnordered::new();
        let mut is_open = true;
        // What Dynamics 365 sends has its own partition key.
        let is_cloud_event = intake.format() == SourceKind::CloudEvents;
        while is_open || !waiting.is_empty() {
            tokio::select! {
                read = incoming.recv(), if is_open => match read {
                    None => is_open = false,
                    Some(Read { place, headers, key, value }) => {
                        let headers = headers.iter();
                        let headers = headers.map(|(name, value)| (name.as_str(), value.as_deref()));
                        let key = key.as_deref().filter(|_| is_cloud_event);
                        let (headers, body) = binding::request(headers, key, value);
                        let receipt = intake.take(&headers, body).await;
                        waiting.push(async move { (place, receipt.durable().await) });
                    }
                },
                Some((place, durable)) = waiting.next() => {
                    // What is not durable is not committed, and read again by whoever is next.
                    if durable.is_ok() {
                        // A reader that has ended says why below.
                        let _ = settled.send(place);
                    }
                }
            }
        }
        drop(settled);
        match reading.await {
            Ok(ended) => ended,
            Err(panicked) => Err(format!("the reader ended by itself: {panicked}")),
        }
    }

    fn settings(&self) -> rdkafka::ClientConfig {
        let mut settings = settings(&self.kafka);
        let start = match self.kafka.start {
            Start::Earliest => "earliest",
            Start::Latest => "latest",
        };
        let session = self.kafka.session_timeout.as_millis().to_string();
        for (name, value) in [
            ("group.id", self.kafka.group.as_str()),
            ("auto.offset.reset", start),
            ("session.timeout.ms", &session),
            // Only what the event store has is committed, and only by the reader.
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
        ] {
            settings.set(name, value);
        }
        // What librdkafka reads ahead, of each partition.
        if !self
            .kafka
            .properties
            .contains_key("queued.max.messages.kbytes")
        {
            settings.set("queued.max.messages.kbytes", "8192");
        }
        settings
    }
}
