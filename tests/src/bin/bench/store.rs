//! The broker's side: what EVENTS holds, and a publisher without a gateway to compare with.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use tokio::time::Instant;

use crate::body::Template;

const EVENTS: &str = "EVENTS";
const REFERENCE: &str = "REFERENCE";
const MESSAGE_ID: &str = "Nats-Msg-Id";
const EVENT_ID: &str = "ce-id";

/// Messages that the reference has under way at once.
pub(crate) const OUTSTANDING: usize = 2_000;

/// A connection of the benchmark's own.
pub(crate) struct Store {
    jetstream: jetstream::Context,
}

/// A plain async-nats publisher that does what the gateway does with a body it understood:
/// same stream settings, same headers, same body, and the broker's word for each message.
pub(crate) struct Reference<'a> {
    store: &'a Store,
    stream: stream::Stream,
    headers: HeaderMap,
    subject: String,
}

impl Store {
    pub(crate) fn new(jetstream: jetstream::Context) -> Self {
        Self { jetstream }
    }

    /// The server's version.
    pub(crate) fn server(&self) -> String {
        self.jetstream.client().server_info().version
    }

    /// How many messages EVENTS holds.
    pub(crate) async fn messages(&self) -> Result<u64> {
        let stream = self.jetstream.get_stream(EVENTS).await?;
        Ok(stream.get_info().await?.state.messages)
    }

    /// Empties EVENTS, so that a long benchmark needs no large disk.
    pub(crate) async fn purge(&self) -> Result<()> {
        self.jetstream.get_stream(EVENTS).await?.purge().await?;
        Ok(())
    }

    /// Makes a stream like EVENTS, for messages like the newest one in it.
    pub(crate) async fn reference(&self) -> Result<Reference<'_>> {
        let events = self.jetstream.get_stream(EVENTS).await?;
        let info = events.get_info().await?;
        let newest = events.get_raw_message(info.state.last_sequence).await?;
        let subject = newest.subject.strip_prefix("d365.");
        let subject = subject.context("an event outside of d365.>")?;
        let stream = stream::Config {
            name: REFERENCE.to_owned(),
            subjects: vec!["reference.>".to_owned()],
            sources: None,
            ..info.config
        };
        Ok(Reference {
            store: self,
            stream: self.jetstream.create_stream(stream).await?,
            headers: newest.headers,
            subject: format!("reference.{subject}"),
        })
    }
}

impl Reference<'_> {
    /// Publishes for `time` and gives messages a second, all of them acknowledged.
    pub(crate) async fn measure(
        &self,
        template: &Template,
        time: Duration,
        numbers: &mut u64,
    ) -> Result<f64> {
        let (first, start) = (*numbers, Instant::now());
        let mut under_way: VecDeque<PublishAckFuture> = VecDeque::with_capacity(OUTSTANDING);
        while start.elapsed() < time {
            if under_way.len() == OUTSTANDING
                && let Some(oldest) = under_way.pop_front()
            {
                oldest.await?;
            }
            let sent = self.message(template, *numbers);
            let (headers, body) = (sent.0, sent.1);
            let jetstream = &self.store.jetstream;
            let subject = self.subject.clone();
            under_way.push_back(
                jetstream
                    .publish_with_headers(subject, headers, body)
                    .await?,
            );
            *numbers += 1;
        }
        for ack in under_way {
            ack.await?;
        }
        let took = start.elapsed();
        let count = *numbers - first;
        let stored = self.stream.get_info().await?.state.messages;
        ensure!(
            stored == count,
            "the reference published {count} and stored {stored}"
        );
        self.stream.purge().await?;
        Ok(count as f64 / took.as_secs_f64())
    }

    fn message(&self, template: &Template, number: u64) -> (HeaderMap, Bytes) {
        let mut body = template.bytes().to_vec();
        template.vary(&mut body, number);
        let mut headers = self.headers.clone();
        let id = format!("{number:032x}");
        headers.insert(MESSAGE_ID, format!("/dataverse/x#{id}"));
        headers.insert(EVENT_ID, id);
        (headers, body.into())
    }
}
