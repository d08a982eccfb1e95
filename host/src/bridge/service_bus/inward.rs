//! Takes a queue or a subscription, gives its messages to an intake, and settles each when that has it.
//!
//! A message is accepted (completed) after the event store's word, and released (abandoned) when
//! the host stops before. What is not understood becomes a dead letter of ours, with its bytes,
//! and is accepted then: only what is no AMQP message at all goes to the queue's own dead letters.

use std::future::pending;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use fe2o3_amqp::Receiver;
use fe2o3_amqp::link::RecvError;
use fe2o3_amqp::link::delivery::{Delivery, DeliveryInfo};
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::types::definitions::{AmqpError, Error as Reason};
use fe2o3_amqp::types::messaging::{Body, Source as Terminus};
use fe2o3_amqp::types::primitives::{Symbol, Value};
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::format;
use super::link::{Error, Link, failed, step};
use super::locks::{Held, keep};
use super::read::{self, Inward};
use crate::bridge::intake::{Intake, Receipt, Stopped};
use crate::bridge::{Erased, erased};
use crate::config::SourceKind;
use crate::config::bridge::ServiceBus;
use crate::gateway::understand::Item;

/// A session on which nothing comes for so long is left for another.
const QUIET: Duration = Duration::from_secs(5);
/// For what was sent before the credit was taken back.
const REST: Duration = Duration::from_millis(200);
/// The service waits a minute for a session that has something, and then says so.
const NEXT_SESSION: Duration = Duration::from_secs(90);
const SESSION: &str = "com.microsoft:session-filter";
const NO_SESSION: &str = "com.microsoft:timeout";

/// A queue or a subscription.
pub struct Receives {
    config: ServiceBus,
}

type Settled = (DeliveryInfo, Result<(), Stopped>);

/// What is between a delivery and its settlement.
struct Work<'a> {
    intake: &'a Intake,
    held: &'a Held,
    /// Waits for its place in the intake; nothing is read meanwhile.
    taking: Option<Erased<'a, (DeliveryInfo, Receipt)>>,
    /// Wait for the event store.
    storing: FuturesUnordered<Erased<'a, Settled>>,
}

impl Receives {
    /// Opens no connection yet.
    pub fn new(config: &ServiceBus) -> Self {
        Self {
            config: config.clone(),
        }
    }

    /// Reads until `stop`.
    ///
    /// # Errors
    /// Why the connection is of no use any more.
    pub async fn run(&self, intake: &Intake, stop: &CancellationToken) -> Result<(), String> {
        let read = match self.config.sessions {
            0 => erased(self.read(intake, stop, false)).await,
            sessions => {
                let readers = (0..sessions).map(|_| erased(self.sessions(intake, stop)));
                try_join_all(readers).await.map(drop)
            }
        };
        read.map_err(|error| error.to_string())
    }

    /// Reads one session after another.
    async fn sessions(&self, intake: &Intake, stop: &CancellationToken) -> Result<(), Error> {
        while !stop.is_cancelled() {
            erased(self.read(intake, stop, true)).await?;
        }
        Ok(())
    }

    /// Reads on one connection, until `stop`, or until a session has no more.
    async fn read(
        &self,
        intake: &Intake,
        stop: &CancellationToken,
        of_session: bool,
    ) -> Result<(), Error> {
        let mut link = Link::open(&self.config).await?;
        let attaching = async {
            match of_session {
                true => self.attach_to_session(&mut link).await,
                false => self.attach(&mut link).await.map(Some),
            }
        };
        let receiver = tokio::select! {
            attached = erased(attaching) => attached?,
            () = stop.cancelled() => return Ok(()),
        };
        intake.works();
        let Some(mut receiver) = receiver else {
            link.close().await;
            return Ok(());
        };
        let session = of_session.then(|| session_of(&receiver)).flatten();
        let held = Held::default();
        let work = Work {
            intake,
            held: &held,
            taking: None,
            storing: FuturesUnordered::new(),
        };
        let quiet = of_session.then_some(QUIET);
        tokio::select! {
            done = erased(work.run(&mut receiver, stop, quiet)) => done?,
            kept = erased(keep(&mut link, &self.config, &held, session.as_deref())) => kept?,
        }
        let _ = timeout(REST, receiver.close()).await;
        link.close().await;
        Ok(())
    }

    async fn attach(&self, link: &mut Link) -> Result<Receiver, Error> {
        let attached = Receiver::builder()
            .name("sluicegate")
            .source(self.config.entity.as_str())
            .credit_mode(CreditMode::Auto(self.config.prefetch))
            .attach(&mut link.session);
        let attached = step("attaching to the source", erased(attached)).await?;
        attached.map_err(|error| failed("attaching to the source", &error))
    }

    /// None while no session has anything.
    async fn attach_to_session(&self, link: &mut Link) -> Result<Option<Receiver>, Error> {
        let source = Terminus::builder()
            .address(self.config.entity.as_str())
            .add_to_filter_using_legacy_format(SESSION, Value::Null)
            .build();
        let attached = Receiver::builder()
            .name("sluicegate")
            .source(source)
            .verify_incoming_source(false)
            .credit_mode(CreditMode::Auto(self.config.prefetch))
            .attach(&mut link.session);
        match timeout(NEXT_SESSION, erased(attached)).await {
            Err(_) => Ok(None),
            Ok(Ok(receiver)) => Ok(Some(receiver)),
            Ok(Err(error)) if format!("{error:?}").contains(NO_SESSION) => Ok(None),
            Ok(Err(error)) => Err(failed("attaching to a session", &error)),
        }
    }
}

/// Which session the service has given.
fn session_of(receiver: &Receiver) -> Option<String> {
    let filter = receiver.source().as_ref()?.filter.as_ref()?;
    match filter.get(&Symbol::from(SESSION))? {
        Value::String(session) => Some(session.clone()),
        _ => None,
    }
}

impl<'a> Work<'a> {
    async fn run(
        mut self,
        receiver: &mut Receiver,
        stop: &CancellationToken,
        quiet: Option<Duration>,
    ) -> Result<(), Error> {
        let mut last = Instant::now();
        while !stop.is_cancelled() {
            let is_taking = self.taking.is_some();
            let is_idle = !is_taking && self.storing.is_empty();
            tokio::select! {
                settled = next(&mut self.storing) => self.settle(receiver, settled).await?,
                (info, receipt) = taken(&mut self.taking), if is_taking => {
                    self.taking = None;
                    self.store(info, receipt);
                }
                received = receiver.recv::<Body<Value>>(), if !is_taking => {
                    last = Instant::now();
                    self.received(receiver, received).await?;
                }
                () = until_quiet(quiet, last), if is_idle => return Ok(()),
                () = stop.cancelled() => {}
            }
        }
        self.finish(receiver).await
    }

    /// Waits for what was handed over and gives the rest back.
    async fn finish(mut self, receiver: &mut Receiver) -> Result<(), Error> {
        receiver.set_credit_mode(CreditMode::Manual);
        let taken_back = receiver.set_credit(0).await;
        taken_back.map_err(|error| failed("taking credit back", &error))?;
        if let Some(taking) = self.taking.take() {
            let (info, receipt) = taking.await;
            self.store(info, receipt);
        }
        while let Ok(received) = timeout(REST, receiver.recv::<Body<Value>>()).await {
            match received {
                Ok(delivery) => {
                    let released = receiver.release(&delivery).await;
                    released.map_err(|error| failed("releasing a message", &error))?;
                }
                Err(RecvError::MessageDecode(_)) => {}
                Err(error) => return Err(failed("receiving", &error)),
            }
        }
        while let Some(settled) = self.storing.next().await {
            self.settle(receiver, settled).await?;
        }
        Ok(())
    }

    async fn received(
        &mut self,
        receiver: &Receiver,
        received: Result<Delivery<Body<Value>>, RecvError>,
    ) -> Result<(), Error> {
        let delivery = match received {
            Ok(delivery) => delivery,
            Err(RecvError::MessageDecode(undecodable)) => {
                let reason = format!("no AMQP message: {}", undecodable.source);
                tracing::warn!(
                    bridge = self.intake.name(),
                    reason,
                    "a message is left to the queue's own dead letters"
                );
                let reason = Reason::new(AmqpError::DecodeError, Some(reason), None);
                let rejected = receiver.reject(undecodable.info, reason).await;
                return rejected.map_err(|error| failed("rejecting a message", &error));
            }
            Err(error) => return Err(failed("receiving", &error)),
        };
        let (info, message) = delivery.into_parts();
        self.held.take(info.delivery_id(), info.delivery_tag());
        let inward = read::read(message);
        let intake = self.intake;
        self.taking = Some(erased(async move {
            let receipt = take(intake, inward).await;
            (info, receipt)
        }));
        Ok(())
    }

    fn store(&mut self, info: DeliveryInfo, receipt: Receipt) {
        let stored = async move { (info, receipt.durable().await) };
        self.storing.push(erased(stored));
    }

    async fn settle(&mut self, receiver: &Receiver, (info, stored): Settled) -> Result<(), Error> {
        self.held.give(info.delivery_id());
        let settled = match stored {
            Ok(()) => receiver.accept(info).await,
            Err(Stopped) => receiver.release(info).await,
        };
        settled.map_err(|error| failed("settling a message", &error))
    }
}

/// Hands one message over, as what it is.
async fn take(intake: &Intake, inward: Inward) -> Receipt {
    let Inward {
        mut headers,
        body,
        unread,
    } = inward;
    let read = match (unread, intake.format()) {
        (Some(error), _) => Err(error),
        (None, SourceKind::Dataverse | SourceKind::Fno) => format::json(&mut headers, &body),
        (None, SourceKind::EventGrid | SourceKind::CloudEvents) => Ok(body.clone()),
    };
    match read {
        Ok(body) => intake.take(&headers, body).await,
        Err(error) => refuse(intake, &headers, body, error).await,
    }
}

async fn refuse(intake: &Intake, headers: &HeaderMap, bytes: Bytes, error: String) -> Receipt {
    let item = Item::Undecodable { bytes, error };
    intake.take_items(headers, vec![item]).await
}

/// The next that the event store has, however long that takes.
async fn next<'a>(storing: &mut FuturesUnordered<Erased<'a, Settled>>) -> Settled {
    match storing.next().await {
        Some(settled) => settled,
        None => pending().await,
    }
}

async fn taken<'a>(
    taking: &mut Option<Erased<'a, (DeliveryInfo, Receipt)>>,
) -> (DeliveryInfo, Receipt) {
    match taking {
        Some(taking) => taking.await,
        None => pending().await,
    }
}

async fn until_quiet(quiet: Option<Duration>, last: Instant) {
    match quiet {
        Some(quiet) => sleep_until(last + quiet).await,
        None => pending().await,
    }
}
