//! A nats-server that can be killed and started again, with the streams that the spool meets.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::*;
use crate::broker::EVENTS;

const LEDGER: &str = "LEDGER";

pub(super) struct Server {
    binary: std::ffi::OsString,
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    context: Context,
    sender: watch::Sender<Option<Context>>,
}

/// A server with its streams; none where the machine has none.
pub(super) async fn server() -> Option<Server> {
    let Some(binary) = std::env::var_os("SLUICE_NATS_SERVER") else {
        eprintln!("skipped: SLUICE_NATS_SERVER is not set");
        return None;
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its number").port();
    drop(listener);
    let folder = TempDir::new().expect("a folder");
    let child = Some(start(&binary, &folder, port).await);
    let client = async_nats::ConnectOptions::new()
        .reconnect_delay_callback(|_| Duration::from_millis(50))
        .connect(format!("nats://127.0.0.1:{port}"))
        .await
        .expect("connected");
    let context = jetstream::new(client);
    let (sender, _) = watch::channel(Some(context.clone()));
    let server = Server {
        binary,
        folder,
        port,
        child,
        context,
        sender,
    };
    server.set(events()).await;
    let ledger = Config {
        name: LEDGER.to_owned(),
        subjects: vec!["ledger.>".to_owned()],
        allow_message_ttl: true,
        ..Config::default()
    };
    server.set(ledger).await;
    Some(server)
}

fn events() -> Config {
    Config {
        name: EVENTS.to_owned(),
        subjects: vec!["d365.>".to_owned()],
        discard: DiscardPolicy::New,
        duplicate_window: Duration::from_secs(120),
        ..Config::default()
    }
}

async fn start(binary: &std::ffi::OsStr, folder: &TempDir, port: u16) -> Child {
    let child = Command::new(binary)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("nats-server starts");
    let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    until("nats-server listens", listens).await;
    child
}

impl Server {
    /// As the host hands it to the gateway.
    pub(super) fn context(&self) -> watch::Receiver<Option<Context>> {
        self.sender.subscribe()
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("killed");
        }
    }

    /// It stays connected and does nothing: SIGSTOP; and SIGCONT.
    pub(super) async fn freeze(&self, is_frozen: bool) {
        let id = self.child.as_ref().and_then(Child::id).expect("it runs");
        let signal = if is_frozen { "-STOP" } else { "-CONT" };
        let sent = Command::new("kill")
            .args([signal, &id.to_string()])
            .status()
            .await;
        assert!(sent.expect("kill runs").success());
    }

    pub(super) async fn start(&mut self) {
        self.child = Some(start(&self.binary, &self.folder, self.port).await);
    }

    async fn set(&self, config: Config) {
        let set = self.context.create_or_update_stream(config).await;
        set.expect("the stream is set up");
    }

    /// The event store takes no more than so many messages; -1: as many as there are.
    pub(super) async fn bound_messages(&self, messages: i64) {
        self.set(Config {
            max_messages: messages,
            ..events()
        })
        .await;
    }

    /// Gives the window.
    pub(super) async fn short_dedup_window(&self) -> Duration {
        let duplicate_window = Duration::from_millis(400);
        self.set(Config {
            duplicate_window,
            ..events()
        })
        .await;
        duplicate_window
    }

    /// The ids of the events in the store, in its order.
    pub(super) async fn stored_ids(&self) -> Vec<String> {
        let mut ids = Vec::new();
        until("the store is read", async || match self.read_ids().await {
            Some(read) => {
                ids = read;
                true
            }
            None => false,
        })
        .await;
        ids
    }

    async fn read_ids(&self) -> Option<Vec<String>> {
        let events = self.context.get_stream(EVENTS).await.ok()?;
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            memory_storage: true,
            headers_only: true,
            ..pull::Config::default()
        };
        let consumer = events.create_consumer(config).await.ok()?;
        let count = usize::try_from(consumer.cached_info().num_pending).ok()?;
        let mut ids = Vec::new();
        let mut messages = consumer.messages().await.ok()?;
        while ids.len() < count {
            let message = messages.next().await?.ok()?;
            let id = message.headers.as_ref()?.get("ce-id")?;
            ids.push(id.as_str().to_owned());
        }
        Some(ids)
    }

    /// Whether the broker would take this event once more. Nothing is stored: the
    /// expectation fails, and the broker looks for duplicates first.
    pub(super) async fn is_forgotten(&self, id: &str) -> bool {
        let mut probe = event(id, "probe");
        probe.headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, "none");
        let Outgoing {
            subject,
            headers,
            payload,
            ..
        } = probe;
        let sent = self.context.publish_with_headers(subject, headers, payload);
        match sent.await {
            Ok(answer) => !matches!(answer.await, Ok(ack) if ack.duplicate),
            Err(_) => false,
        }
    }

    /// The newest message on this subject of the ledger.
    pub(super) async fn dead_letter(&self, subject: &str) -> (HeaderMap, Bytes) {
        let ledger = self.context.get_stream(LEDGER).await.expect("a stream");
        let message = ledger.get_last_raw_message_by_subject(subject).await;
        let message = message.expect("a message");
        (message.headers, message.payload)
    }
}
