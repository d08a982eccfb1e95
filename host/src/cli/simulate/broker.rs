//! Takes a body, publishes it as the gateway would, and gives the broker's word.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishAckFuture, PublishError};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::tally::{Done, End, Place};
use super::traffic::Body;
use crate::cli::input;
use crate::encode;
use crate::host::chain;

/// For so long one event is sent again before it counts as refused.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// Straight to NATS.
#[derive(Debug, Clone)]
pub(super) struct Broker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    context: Context,
    environment: String,
}

/// What is published.
#[derive(Debug)]
pub(super) struct Message {
    broker: Broker,
    place: Place,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Broker {
    pub(super) fn new(context: Context, environment: String) -> Self {
        Self(Arc::new(Inner {
            context,
            environment,
        }))
    }

    pub(super) fn message(&self, body: &Body) -> anyhow::Result<Message> {
        let (event, subject) = input::raw(&self.0.environment, &body.bytes)
            .with_context(|| format!("the {} that was made cannot be mapped", body.message))?;
        let message_id = event.message_id();
        let (mut headers, payload) = encode::binary(event);
        headers.insert(NATS_MESSAGE_ID, message_id);
        Ok(Message {
            broker: self.clone(),
            place: (body.kind, body.message),
            subject,
            headers,
            payload,
        })
    }
}

impl Message {
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Puts it on the wire, behind those before it; what it gives waits for the answer.
    pub(super) async fn send(self, from: Instant) -> BoxFuture<'static, Done> {
        let mut attempt = self.publish().await;
        let give_up = Instant::now() + PATIENCE;
        async move {
            let mut retries = 0;
            let end = loop {
                let reason = match attempt {
                    Ok(ack) => match ack.await {
                        Ok(ack) => {
                            break End::Accepted {
                                is_known: ack.duplicate,
                                is_spooled: false,
                            };
                        }
                        Err(error) => chain(&error),
                    },
                    Err(error) => chain(&error),
                };
                if give_up <= Instant::now() {
                    break End::Refused(reason);
                }
                sleep(PAUSE).await;
                retries += 1;
                attempt = self.publish().await;
            };
            Done {
                place: self.place,
                end,
                retries,
                took: from.elapsed(),
            }
        }
        .boxed()
    }

    async fn publish(&self) -> Result<PublishAckFuture, PublishError> {
        let (subject, headers) = (self.subject.clone(), self.headers.clone());
        let context = &self.broker.0.context;
        context
            .publish_with_headers(subject, headers, self.payload.clone())
            .await
    }
}
