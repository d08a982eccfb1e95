//! Takes an event, gives the broker's word that its record stands in the topic.
//!
//! The producer is an idempotent one: what it sends again by itself stands there once, and in
//! order. A record that is sent again by another attempt, or after a crash of the host, stands
//! there twice, with the same id; readers tell it by that.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use super::binding::{self, Record};
use super::{Ear, settings, tokens};
use crate::bridge::sink::retry;
use crate::config::bridge::{Bridge, Kafka};
use crate::plugin::call::Failure;
use crate::plugin::http::Outgoing;
use crate::plugin::http::tokens::Tokens;
use crate::plugin::instance::Call;

/// Left of the time that an event may take when the client gives its record up.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A topic that is written to.
pub struct Writes {
    bridge: String,
    kafka: Kafka,
    patience: Duration,
    tokens: Option<Arc<Tokens>>,
    /// Made at the first event, and anew after an error that it does not get over.
    producer: Mutex<Option<FutureProducer<Ear>>>,
}

impl Writes {
    /// Opens no connection. `timeout` is what one event may take.
    pub fn new(bridge: &Bridge, kafka: &Kafka, outgoing: &Outgoing, timeout: Duration) -> Self {
        Self {
            bridge: bridge.name.clone(),
            kafka: kafka.clone(),
            patience: timeout.saturating_sub(LAST_WORDS).max(timeout / 2),
            tokens: tokens(&bridge.name, kafka, outgoing),
            producer: Mutex::default(),
        }
    }

    /// Sends one event. Done when all replicas in sync have it.
    ///
    /// # Errors
    /// [`Failure::Reject`] for a record that the broker never takes, [`Failure::Retry`] for
    /// anything else.
    pub async fn send(&self, call: &Call) -> Result<(), Failure> {
        let Record { headers, value } = binding::record(&call.event, self.kafka.mode);
        let sent = {
            let mut headers_of = OwnedHeaders::new_with_capacity(headers.len());
            for (key, value) in &headers {
                let value = Some(value.as_bytes());
                headers_of = headers_of.insert(Header { key, value });
            }
            let mut record = FutureRecord::to(&self.kafka.topic)
                .key(call.event.partition_key())
                .headers(headers_of);
            if let Some(value) = &value {
                record = record.payload(&**value);
            }
            let producer = self.producer()?;
            producer.send_result(record).map_err(|(error, _)| error)
        };
        let reported = match sent {
            Ok(report) => report.await,
            Err(error) => return Err(self.failure(&error)),
        };
        match reported {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(self.failure(&error)),
            Err(_) => Err(retry("the client was closed before the broker answered")),
        }
    }

    fn producer(&self) -> Result<FutureProducer<Ear>, Failure> {
        let mut producer = self.producer.lock();
        if let Some(producer) = &*producer {
            return Ok(producer.clone());
        }
        let mut settings = settings(&self.kafka);
        settings.set("enable.idempotence", "true");
        // The client's own choice spreads the same keys otherwise than Kafka's does.
        if !self.kafka.properties.contains_key("partitioner") {
            settings.set("partitioner", "murmur2_random");
        }
        settings.set("message.timeout.ms", self.patience.as_millis().to_string());
        let ear = Ear::new(&self.bridge, self.tokens.as_ref());
        let fresh: FutureProducer<Ear> = settings
            .create_with_context(ear)
            .map_err(|error| retry(format!("the client cannot be set up: {error}")))?;
        tracing::info!(
            bridge = self.bridge,
            topic = self.kafka.topic,
            "writes to Kafka"
        );
        Ok(producer.insert(fresh).clone())
    }

    fn failure(&self, error: &KafkaError) -> Failure {
        let code = error.rdkafka_error_code();
        let mut producer = self.producer.lock();
        let fatal = producer
            .as_ref()
            .and_then(|producer| producer.client().fatal_error());
        if let Some((_, reason)) = fatal {
            tracing::warn!(
                bridge = self.bridge,
                reason,
                "kafka: a new producer is made"
            );
            *producer = None;
            return retry(reason);
        }
        match code {
            Some(
                Code::MessageSizeTooLarge
                | Code::InvalidRecord
                | Code::InvalidMessage
                | Code::InvalidMessageSize,
            ) => Failure::Reject(error.to_string()),
            _ => retry(error.to_string()),
        }
    }
}
