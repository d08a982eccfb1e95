//! Takes a stream and a subject filter, gives what is stored there.
//!
//! Everything is read without acknowledgements through consumers of its own, so reading
//! changes nothing for the host.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::Context as JetStream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::Value;

use crate::wait::until;

/// Where the guests' outputs are, in `EVENTS`.
pub const ECHOES: &str = "d365.custom.test.business.echo.raised.*";
/// The same in `LEDGER`, before the broker carried them over.
pub const ECHOES_IN_LEDGER: &str = "ledger.out.custom.test.business.echo.raised.*";

/// One stored message.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its sequence in the stream that was read.
    pub sequence: u64,
    /// When it was stored, by the broker's clock, in nanoseconds since 1970.
    pub at: i128,
    /// Its subject.
    pub subject: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its bytes.
    pub body: Bytes,
}

impl Stored {
    /// A header's text.
    ///
    /// # Errors
    /// When it is not there.
    pub fn header(&self, name: &str) -> Result<&str> {
        let value = self.headers.get(name);
        Ok(value
            .with_context(|| format!("no header {name} on {}: {:?}", self.subject, self.headers))?
            .as_str())
    }

    /// A CloudEvents attribute of an event in binary mode, percent-decoded (NATS protocol
    /// binding, section 3.1.3).
    ///
    /// # Errors
    /// When it is not there, or is not encoded as it should be.
    pub fn attribute(&self, name: &str) -> Result<String> {
        let encoded = self.header(&format!("ce-{name}"))?;
        let mut bytes = Vec::new();
        let mut parts = encoded.split('%');
        bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
        for part in parts {
            let (code, rest) = part.split_at_checked(2).context("half a percent code")?;
            bytes.push(u8::from_str_radix(code, 16)?);
            bytes.extend_from_slice(rest.as_bytes());
        }
        let plain = encoded
            .bytes()
            .all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'"');
        ensure!(plain, "ce-{name} is not encoded: {encoded:?}");
        Ok(String::from_utf8(bytes)?)
    }

    /// All its CloudEvents attributes.
    ///
    /// # Errors
    /// As [`Stored::attribute`].
    pub fn attributes(&self) -> Result<BTreeMap<String, String>> {
        let names = self.headers.iter().map(|(name, _)| name.to_string());
        names
            .filter_map(|name| Some(name.strip_prefix("ce-")?.to_owned()))
            .map(|name| Ok((name.clone(), self.attribute(&name)?)))
            .collect()
    }

    /// The headers that the event came with: all but the broker's and the host's own.
    pub fn original_headers(&self) -> BTreeMap<String, Vec<String>> {
        original_headers(&self.headers)
    }
}

/// `headers` without `Nats-*` and `Sluice-*`, comparable.
pub fn original_headers(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let foreign = |name: &str| !name.starts_with("Nats-") && !name.starts_with("Sluice-");
    let texts = |values: &[HeaderValue]| {
        values
            .iter()
            .map(|value| value.as_str().to_owned())
            .collect()
    };
    headers
        .iter()
        .map(|(name, values)| (name.to_string(), texts(values)))
        .filter(|(name, _)| foreign(name))
        .collect()
}

/// What `emit_one` says about an event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Echo {
    /// The input's id.
    pub input: String,
    /// Its partition key.
    pub key: String,
    /// Its place among the events of that key.
    pub n: u64,
}

/// All messages of `stream` on `filter`, in stream order.
///
/// # Errors
/// When the broker does not answer.
pub async fn stored(jetstream: &JetStream, stream: &str, filter: &str) -> Result<Vec<Stored>> {
    let config = pull::Config {
        filter_subject: filter.to_owned(),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::None,
        inactive_threshold: Duration::from_secs(10),
        memory_storage: true,
        ..Default::default()
    };
    let consumer = jetstream
        .get_stream_no_info(stream)
        .await?
        .create_consumer(config)
        .await?;
    let expected = usize::try_from(consumer.cached_info().num_pending)?;
    let mut found = Vec::with_capacity(expected);
    while found.len() < expected {
        let fetch = consumer
            .fetch()
            .max_messages((expected - found.len()).min(500));
        let mut batch = fetch.messages().await?;
        let before = found.len();
        while let Some(message) = batch.next().await {
            let message = message.map_err(|error| anyhow::anyhow!("reading {stream}: {error}"))?;
            let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
            found.push(Stored {
                sequence: info.stream_sequence,
                at: info.published.unix_timestamp_nanos(),
                subject: message.subject.to_string(),
                headers: message.headers.clone().unwrap_or_default(),
                body: message.payload.clone(),
            });
        }
        ensure!(
            before < found.len(),
            "{stream} gave {before} of {expected} messages on {filter}"
        );
    }
    Ok(found)
}

/// The message of `EVENTS` that an answer of the gateway names by its `sequence`.
///
/// # Errors
/// When the answer names none, or it is not there.
pub async fn named(jetstream: &JetStream, told: &Value) -> Result<Stored> {
    let sequence = told.get("sequence").and_then(Value::as_u64);
    let sequence = sequence.with_context(|| format!("no sequence in {told}"))?;
    let events = jetstream.get_stream_no_info("EVENTS").await?;
    let message = events.get_raw_message(sequence).await;
    let message = message.with_context(|| format!("no message {sequence}, though {told}"))?;
    Ok(Stored {
        sequence: message.sequence,
        at: message.time.unix_timestamp_nanos(),
        subject: message.subject.to_string(),
        headers: message.headers,
        body: message.payload,
    })
}

/// How many messages of `stream` are on `filter`.
///
/// The client asks for another page after every full answer; a subject that came between the
/// two moves the others, and one of them comes twice.
///
/// # Errors
/// When the broker does not answer.
pub async fn count(jetstream: &JetStream, stream: &str, filter: &str) -> Result<usize> {
    let stream = jetstream.get_stream_no_info(stream).await?;
    let subjects = stream.info_builder().subjects(filter).fetch().await?;
    let counts: HashMap<String, usize> = subjects.try_collect().await?;
    Ok(counts.values().sum())
}

/// The outputs of the guests, in stream order.
///
/// # Errors
/// When the broker does not answer or an output is none of the guests'.
pub async fn echoes(jetstream: &JetStream) -> Result<Vec<Echo>> {
    let parse = |stored: &Stored| -> Result<Echo> {
        serde_json::from_slice(&stored.body).with_context(|| format!("no echo: {stored:?}"))
    };
    stored(jetstream, "EVENTS", ECHOES)
        .await?
        .iter()
        .map(parse)
        .collect()
}

/// Waits until at least `expected` outputs are there, and gives all.
///
/// # Errors
/// When they are not there after `seconds`.
pub async fn wait_echoes(
    jetstream: &JetStream,
    expected: usize,
    seconds: u64,
) -> Result<Vec<Echo>> {
    until(&format!("{expected} outputs"), seconds, async || {
        let found = count(jetstream, "EVENTS", ECHOES).await?;
        ensure!(expected <= found, "{found} outputs");
        Ok(())
    })
    .await?;
    echoes(jetstream).await
}

/// Waits until every output that was committed to the ledger has arrived in `EVENTS`.
///
/// # Errors
/// When that is not so after 20 s.
pub async fn carried_over(jetstream: &JetStream) -> Result<()> {
    until("the broker to carry the outputs over", 20, async || {
        let committed = count(jetstream, "LEDGER", ECHOES_IN_LEDGER).await?;
        let arrived = count(jetstream, "EVENTS", ECHOES).await?;
        ensure!(
            committed == arrived,
            "{committed} committed, {arrived} arrived"
        );
        Ok(())
    })
    .await
}

/// The dead letters, oldest first.
///
/// # Errors
/// When the broker does not answer.
pub async fn dead_letters(jetstream: &JetStream) -> Result<Vec<Stored>> {
    stored(jetstream, "DEADLETTER", "dead.>").await
}

/// Waits until at least `expected` dead letters are there, and gives all.
///
/// # Errors
/// When they are not there after `seconds`.
pub async fn wait_dead_letters(
    jetstream: &JetStream,
    expected: usize,
    seconds: u64,
) -> Result<Vec<Stored>> {
    until(&format!("{expected} dead letters"), seconds, async || {
        let found = count(jetstream, "DEADLETTER", "dead.>").await?;
        ensure!(expected <= found, "{found} dead letters");
        Ok(())
    })
    .await?;
    dead_letters(jetstream).await
}

/// A value of a plug-in's state, as the ledger has it; `key` consists of letters and digits.
///
/// # Errors
/// When the broker does not answer.
pub async fn state(jetstream: &JetStream, plugin: &str, key: &str) -> Result<Option<Bytes>> {
    state_of(jetstream, plugin, 0, key).await
}

/// [`state`] of another partition than the first.
///
/// # Errors
/// When the broker does not answer.
pub async fn state_of(
    jetstream: &JetStream,
    plugin: &str,
    partition: u32,
    key: &str,
) -> Result<Option<Bytes>> {
    let ledger = jetstream.get_stream_no_info("LEDGER").await?;
    let subject = format!("ledger.{plugin}.{partition}.state.{key}");
    match ledger.get_last_raw_message_by_subject(&subject).await {
        Ok(message) => Ok(Some(message.payload)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {subject}")),
    }
}
