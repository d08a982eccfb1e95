//! Takes a config, gives a running host: wires the stages together.

use std::sync::Arc;
use std::time::Duration;

use async_nats::ServerAddr;
use async_nats::jetstream::Context;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::deployed::Deployed;
pub use self::error::Error;
use self::own::Owning;
use self::plugins::{News, Plugins};
use self::start::{
    Found, bridges, builds, check_writable, connect, lease, look, relaying, watch_schemas,
};
use crate::admin::{self, Admin};
use crate::config::{Config, LedgerMode, Server};
use crate::cursor::Tail;
use crate::gateway::Gateway;
use crate::health::Health;
use crate::journal::Journal;
use crate::leases::Leases;
use crate::ledger::committer::Committer;
use crate::metrics::Metrics;
use crate::nats_server::NatsServer;
use crate::operations::{replays, retention};
use crate::plugin::compiler::Compiler;
use crate::projections::Projections;
use crate::roster::Roster;
use crate::schemas::Watcher;
use crate::system_events::SystemEvents;
use crate::telemetry::traces::Traces;

mod deployed;
mod error;
mod gauges;
mod own;
mod plugins;
mod start;
pub(crate) mod watching;

const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_LONGEST: Duration = Duration::from_secs(5);

/// A running host.
pub struct Host {
    main: JoinHandle<Result<(), Error>>,
    drain: CancellationToken,
    address: std::net::SocketAddr,
}

/// What every part of a host shares.
#[derive(Clone)]
struct Shared {
    config: Arc<Config>,
    health: Health,
    metrics: Metrics,
    traces: Traces,
    roster: Roster,
    journal: Journal,
    projections: Projections,
    schemas: Watcher,
    said: SystemEvents,
    tracker: TaskTracker,
    drain: CancellationToken,
    /// Called when the grace time is over: what still waits for the broker is given up.
    abort: CancellationToken,
    owner: [u8; 16],
    /// Set when the streams are there.
    broker: watch::Sender<Option<Context>>,
}

impl Host {
    /// Binds the ports, checks the folders and loads the plug-ins. Errors are those that
    /// waiting cannot mend; a broker that is away is waited for afterwards. Plug-ins are compiled
    /// by this process where there is no `compiler`.
    pub async fn bind(config: Config, compiler: Option<Compiler>) -> Result<Self, Error> {
        let listen = config.admin.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|source| Error::Listen {
                address: listen,
                source,
            })?;
        let address = listener.local_addr().unwrap_or(listen);
        let admin_tls = admin::acceptor(&config.admin).map_err(Error::AdminTls)?;
        check_writable(&config)?;
        let (nats_server, addresses) = match &config.nats.server {
            Server::Embedded => {
                let server = NatsServer::start(&config.host.data_dir).await?;
                let address = server.address()?;
                (Some(server), vec![address])
            }
            Server::Addresses(addresses) => (None, addresses.clone()),
        };
        let projections = Projections::new(&config)?;
        let (metrics, tracker, owner) = (Metrics::default(), TaskTracker::new(), Uuid::new_v4());
        let instance = owner.simple().to_string();
        let journal = Journal::new(&config, metrics.clone());
        let shared = Shared {
            traces: Traces::new(&config, instance, &metrics, &tracker)?,
            schemas: Watcher::new(&config.schemas, metrics.clone()),
            said: SystemEvents::new(config.telemetry.events),
            config: Arc::new(config),
            health: Health::default(),
            metrics,
            journal,
            roster: Roster::new(projections.clone()),
            projections,
            tracker,
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            owner: owner.into_bytes(),
            broker: watch::Sender::default(),
        };
        let gateway = Gateway::bind(
            &shared.config,
            start::seen_by(&shared),
            &shared.tracker,
            shared.broker.subscribe(),
        );
        // It serves before the plug-ins are compiled and the broker is there: senders are told
        // at once to come again, or are spooled.
        let accepting = gateway.await?.map(|gateway| {
            let serving = gateway.serve(shared.tracker.clone(), shared.drain.clone());
            shared.tracker.spawn(serving)
        });
        let found = look(&shared, compiler).await?;
        let (drain, tracker) = (shared.drain.clone(), shared.tracker.clone());
        let name = shared.config.host.name.clone();
        let ports = (listener, admin_tls, accepting);
        let main = tracker.spawn(run(shared, found, ports, (nats_server, addresses)));
        tracing::info!(host = name, admin = %address, "sluice is up");
        Ok(Self {
            main,
            drain,
            address,
        })
    }

    /// Where the admin port listens.
    pub fn admin(&self) -> std::net::SocketAddr {
        self.address
    }

    /// Waits until the host ends: by [`Host::shutdown`], or by a part that ended by itself.
    pub async fn join(&mut self) -> Result<(), Error> {
        (&mut self.main).await.unwrap_or_else(|panicked| {
            Err(Error::TaskEnded {
                task: "the host's main task".to_owned(),
                reason: panicked.to_string(),
            })
        })
    }

    /// Takes no new events, lets running calls end and commits what they did, within
    /// `shutdown_grace`.
    pub async fn shutdown(&mut self) -> Result<(), Error> {
        self.drain.cancel();
        self.join().await
    }
}

/// The admin port, what it is secured with, and the gateway.
type Ports = (TcpListener, Option<TlsAcceptor>, Option<JoinHandle<()>>);

async fn run(
    shared: Shared,
    found: Found,
    (listener, admin_tls, accepting): Ports,
    (mut nats_server, addresses): (Option<NatsServer>, Vec<ServerAddr>),
) -> Result<(), Error> {
    let config = &shared.config;
    let admin = Admin::new(
        &config.admin,
        &config.host.name,
        (shared.health.clone(), shared.metrics.clone()),
        (shared.broker.subscribe(), shared.projections.clone()),
        shared.abort.clone(),
    );
    let tracker = shared.tracker.clone();
    let serving = admin::serve(listener, admin_tls, admin, tracker, shared.abort.clone());
    let serving = shared.tracker.spawn(serving);
    shared.tracker.spawn(gauges::run(shared.clone()));
    let own_server_is_gone = async {
        match &mut nats_server {
            Some(server) => server.keep_running(&shared.config.host.data_dir).await,
            None => std::future::pending().await,
        }
    };
    let working = async {
        let work = work(&shared, found, &addresses);
        let worked = tokio::try_join!(work, served(accepting, &shared.drain));
        shared.traces.flush().await;
        worked.map(|_| ())
    };
    let result = tokio::select! {
        result = working => result,
        error = own_server_is_gone => Err(error.into()),
        () = grace_over(&shared) => {
            tracing::warn!(
                grace = ?shared.config.host.shutdown_grace,
                "shutdown_grace is over; what is not finished runs again at the next start"
            );
            Ok(())
        }
    };
    shared.abort.cancel();
    // A client that keeps its connection open does not keep the host.
    let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
    result
}

/// Connects, takes the partitions over, and runs them until they are drained.
async fn work(
    shared: &Shared,
    (engine, catalog, found): Found,
    addresses: &[ServerAddr],
) -> Result<(), Error> {
    let Some(broker) = connect(shared, addresses).await? else {
        return Ok(());
    };
    shared.broker.send_replace(Some(broker.context.clone()));
    let (commits, incoming) = mpsc::channel(256);
    let (context, ledger) = (broker.context.clone(), broker.ledger.clone());
    let mode = shared.config.ledger.mode;
    if mode == LedgerMode::Off {
        tracing::warn!(
            "ledger.mode is off: effects happen at least once, and duplicates are not suppressed"
        );
    }
    let committer = Committer::new(context, ledger, mode, shared.metrics.clone());
    let committer = shared
        .tracker
        .spawn(committer.run(incoming, shared.abort.clone()));
    let (leases, keeper) = Leases::new(
        lease(shared),
        broker.client(),
        broker.context.clone(),
        broker.bucket.clone(),
    );
    let lease = lease(shared);
    shared.tracker.spawn(shared.roster.clone().answer_all(
        broker.client(),
        (lease.name.clone(), lease.id.clone()),
        (shared.health.clone(), shared.metrics.clone()),
        shared.abort.clone(),
    ));
    shared.tracker.spawn(shared.projections.clone().answer_all(
        broker.context.clone(),
        lease.id.clone(),
        shared.abort.clone(),
    ));
    let adopting = shared.tracker.spawn(replays::adopt(
        broker.context.clone(),
        format!("host {}, process {}", lease.name, short_id(&lease.id)),
        shared.drain.clone(),
    ));
    shared.tracker.spawn(retention::run(
        broker.context.clone(),
        shared.config.events.keep.clone(),
        shared.drain.clone(),
    ));
    relaying(shared, broker.context.clone());
    let writing = CancellationToken::new();
    let written = shared
        .journal
        .clone()
        .publish(broker.context.clone(), writing.clone());
    let written = shared.tracker.spawn(written);
    let goodbye = shared.abort.child_token();
    let mut keeping = shared.tracker.spawn(keeper.run(goodbye.clone()));
    watch_schemas(shared, &broker).await;
    // Those in say which version an event is one of.
    let bridges = bridges(shared, &engine);
    let builds = builds(shared, &broker, &engine);
    let mut deployed = Deployed::new(shared.clone(), broker.clone(), Arc::clone(&engine));
    let tail = Tail::default();
    shared.tracker.spawn(tail.clone().run(
        (broker.context.clone(), broker.events.clone()),
        (shared.metrics.messages_read(true), shared.schemas.clone()),
        shared.abort.clone(),
    ));
    let owning = Owning {
        tail,
        engine,
        shared: shared.clone(),
        broker,
        commits,
        leases: leases.clone(),
        builds,
        ending: shared.drain.clone(),
    };
    let mut plugins = Plugins::new(owning);
    // First what goes before the folder: nothing is started that is not to run.
    for order in deployed.first().await.unwrap_or_default() {
        plugins.take(News::Ordered(order));
    }
    for change in found {
        plugins.take(News::Found(change));
    }
    shared.health.started();
    let (tell, news) = mpsc::channel(16);
    shared.tracker.spawn(deployed.run(tell.clone()));
    shared
        .tracker
        .spawn(watching::run(shared.clone(), catalog, tell));
    let working = async {
        // The committer ends with the last of them.
        plugins.run(news).await?;
        let committed = committer.await;
        committed.map_err(|panicked| ended_by_itself("the committer", &panicked))
    };
    // Without a plug-in there is nothing to drain, but the operator may still look at it.
    let leaving = async {
        shared.drain.cancelled().await;
        leases.leave();
        Ok::<(), Error>(())
    };
    tokio::select! {
        worked = async { tokio::try_join!(working, leaving) } => drop(worked?),
        ended = &mut keeping => {
            let reason = ended.err().map_or("no reason".to_owned(), |panicked| panicked.to_string());
            let task = "the keeper of this host's lease".to_owned();
            return Err(Error::TaskEnded { task, reason });
        }
    }
    let _ = adopting.await;
    let _ = bridges.await;
    goodbye.cancel();
    let _ = keeping.await;
    writing.cancel();
    let _ = written.await;
    Ok(())
}

fn short_id(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn ended_by_itself(task: &str, panicked: &JoinError) -> Error {
    Error::TaskEnded {
        task: task.to_owned(),
        reason: panicked.to_string(),
    }
}

/// Waits for the gateway, which ends only when it is told to.
async fn served(gateway: Option<JoinHandle<()>>, drain: &CancellationToken) -> Result<(), Error> {
    let Some(gateway) = gateway else {
        return Ok(());
    };
    let reason = match gateway.await {
        Ok(()) if drain.is_cancelled() => return Ok(()),
        Ok(()) => "it does not accept connections any more".to_owned(),
        Err(panicked) => panicked.to_string(),
    };
    Err(Error::TaskEnded {
        task: "the gateway".to_owned(),
        reason,
    })
}

async fn grace_over(shared: &Shared) {
    shared.drain.cancelled().await;
    shared.health.draining();
    tokio::time::sleep(shared.config.host.shutdown_grace).await;
}

/// An error and everything that it comes from, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Waits a little longer each time. None when the host is stopping.
async fn pause(ending: &CancellationToken, wait: &mut Duration) -> Option<()> {
    tokio::select! {
        () = tokio::time::sleep(*wait) => {
            *wait = (*wait * 2).min(WAIT_LONGEST);
            Some(())
        }
        () = ending.cancelled() => None,
    }
}
