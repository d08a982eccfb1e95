//! Takes a broker's port, gives a sender and a receiver of AMQP 1.0 that outlive its restarts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::types::messaging::{
    ApplicationProperties, Body, Data, Header, Message, MessageId, Properties,
};
use fe2o3_amqp::types::primitives::{SimpleValue, Value};
use fe2o3_amqp::{Connection, Receiver, Sender, Session};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::rabbitmq::{PASSWORD, USER};

/// Transfers whose outcome is awaited at once.
const UNDER_WAY: usize = 200;
/// One step of the protocol; a broker that takes longer is dead.
const STEP: Duration = Duration::from_secs(10);

/// A connection with a session.
#[derive(Debug)]
pub struct Peer {
    session: SessionHandle<()>,
    _connection: ConnectionHandle<()>,
}

impl Peer {
    /// Opens one as [`USER`].
    ///
    /// # Errors
    /// When nobody answers, or in another protocol.
    pub async fn connect(port: u16) -> Result<Self> {
        timeout(STEP, Box::pin(Self::open(port))).await?
    }

    async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let plain = SaslProfile::Plain {
            username: USER.to_owned(),
            password: PASSWORD.to_owned(),
        };
        let mut connection = Connection::builder()
            .container_id("the test")
            .scheme("amqp")
            .hostname("localhost")
            .sasl_profile(plain)
            .open_with_stream(stream)
            .await?;
        let session = Session::begin(&mut connection).await?;
        Ok(Self {
            session,
            _connection: connection,
        })
    }
}

/// A durable message with text properties and a body of bytes.
pub fn message(id: &str, properties: &[(&str, &str)], body: &[u8]) -> Message<Data> {
    let mut named = ApplicationProperties::default();
    for (name, value) in properties {
        let value = SimpleValue::String((*value).to_owned());
        named.as_inner_mut().insert((*name).to_owned(), value);
    }
    Message::builder()
        .header(Header {
            durable: true,
            ..Header::default()
        })
        .properties(
            Properties::builder()
                .message_id(id.to_owned())
                .content_type("application/json")
                .build(),
        )
        .application_properties(named)
        .data(body.to_vec())
        .build()
}

/// Sends all, in their order, until the broker has accepted each; after a broken connection
/// from the first that it had not accepted on. Gives how many were sent again.
///
/// # Errors
/// When the broker stays away, or refuses one.
pub async fn send_surely(port: u16, queue: &str, messages: &[Message<Data>]) -> Result<usize> {
    let (mut accepted, mut again) = (0, 0);
    let end = Instant::now() + Duration::from_secs(900);
    while accepted < messages.len() {
        let left = messages.get(accepted..).unwrap_or_default();
        let (mut sent, mut settled) = (0, 0);
        let result = Box::pin(send(port, queue, left, &mut sent, &mut settled)).await;
        accepted += settled;
        let Err(error) = result else { continue };
        ensure!(Instant::now() < end, "not all were accepted: {error:#}");
        again += sent - settled;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(again)
}

async fn send(
    port: u16,
    queue: &str,
    messages: &[Message<Data>],
    sent: &mut usize,
    settled: &mut usize,
) -> Result<()> {
    let mut peer = Peer::connect(port).await?;
    let address = format!("/amq/queue/{queue}");
    let attached = Sender::attach(&mut peer.session, "in", address);
    let mut sender = timeout(STEP, attached).await??;
    let mut under_way = VecDeque::new();
    for message in messages {
        let transfer = sender.send_batchable(message.clone());
        under_way.push_back(timeout(STEP, transfer).await??);
        *sent += 1;
        if UNDER_WAY <= under_way.len()
            && let Some(oldest) = under_way.pop_front()
        {
            ensure!(timeout(STEP, oldest).await??.is_accepted(), "refused");
            *settled += 1;
        }
    }
    for oldest in under_way {
        ensure!(timeout(STEP, oldest).await??.is_accepted(), "refused");
        *settled += 1;
    }
    Ok(())
}

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// `message-id`.
    pub id: String,
    /// `group-id`: the session of Service Bus.
    pub group: Option<String>,
    /// `content-type`.
    pub content_type: Option<String>,
    /// The application properties that are text.
    pub properties: BTreeMap<String, String>,
    /// The data section.
    pub body: Vec<u8>,
}

impl Received {
    /// One application property.
    ///
    /// # Errors
    /// When it has none of this name.
    pub fn property(&self, name: &str) -> Result<&str> {
        let found = self.properties.get(name);
        found
            .map(String::as_str)
            .with_context(|| format!("no {name} in {:?}", self.properties))
    }
}

/// Takes what comes from a queue until `is_all` says that it was enough, whatever happens to
/// the broker meanwhile.
///
/// # Errors
/// When that is not so after `seconds`; or a message is none of ours.
pub async fn receive_until(
    port: u16,
    queue: &str,
    seconds: u64,
    mut is_all: impl FnMut(&[Received]) -> bool,
) -> Result<Vec<Received>> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut all = Vec::new();
    while !is_all(&all) {
        let taken = Box::pin(receive(port, queue, end, &mut all, &mut is_all)).await;
        if end <= Instant::now() && !is_all(&all) {
            bail!("{} received from {queue} in {seconds} s", all.len());
        }
        if taken.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(all)
}

async fn receive(
    port: u16,
    queue: &str,
    end: Instant,
    all: &mut Vec<Received>,
    is_all: &mut impl FnMut(&[Received]) -> bool,
) -> Result<()> {
    let mut peer = Peer::connect(port).await?;
    let attached = Receiver::builder()
        .name("out")
        .source(format!("/amq/queue/{queue}"))
        .credit_mode(CreditMode::Auto(200))
        .attach(&mut peer.session);
    let mut receiver = timeout(STEP, Box::pin(attached)).await??;
    while !is_all(all) {
        let next = receiver.recv::<Body<Value>>();
        let delivery = tokio::time::timeout_at(end, Box::pin(next)).await??;
        receiver.accept(&delivery).await?;
        all.push(received(delivery.into_message())?);
    }
    let _ = timeout(STEP, receiver.close()).await;
    Ok(())
}

fn received(message: Message<Body<Value>>) -> Result<Received> {
    let properties = message.properties.context("no properties")?;
    let id = match properties.message_id {
        Some(MessageId::String(id)) => id,
        other => bail!("a message-id {other:?}"),
    };
    let named = message.application_properties.unwrap_or_default();
    let texts = named.as_inner().iter().filter_map(|(name, value)| {
        let SimpleValue::String(text) = value else {
            return None;
        };
        Some((name.clone(), text.clone()))
    });
    let body = message.body.try_into_data().ok().context("no data")?;
    Ok(Received {
        id,
        group: properties.group_id,
        content_type: properties.content_type.map(|found| found.0),
        properties: texts.collect(),
        body: body.flat_map(|part| part.into_vec()).collect(),
    })
}
