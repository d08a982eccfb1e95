//! Takes a config, gives a running host: wires the stages together.

use std::sync::Arc;
use std::time::Duration;

use async_nats::ServerAddr;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::admin;
use crate::broker::{self, Broker};
use crate::config::{Config, LedgerMode, Server};
use crate::health::{self, Health};
use crate::ledger::claim::{Claim, Claimant, claim};
use crate::ledger::committer::{Commit, Committer};
use crate::ledger::dead_letter::DeadLetter;
use crate::ledger::subject::PartitionName;
use crate::ledger::writer::{self, Grouping, Writer};
use crate::load;
use crate::metrics::Metrics;
use crate::nats_server::{self, NatsServer};
use crate::outcome::Reason;
use crate::ownership::{Share, shares};
use crate::partition::{Partition, Parts};
use crate::plugin::engine::Engine;
use crate::plugin::generation::Generation;
use crate::route;

const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_LONGEST: Duration = Duration::from_secs(5);

/// Why a host cannot run, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin port cannot be had.
    #[error("admin.listen: {address} cannot be bound; is another host running?")]
    Listen {
        /// From the config.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The data folder cannot be used.
    #[error("host.data_dir: {} cannot be written", path.display())]
    DataDir {
        /// From the config.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The plug-in folder cannot be read.
    #[error("host.plugins_dir: {}", path.display())]
    PluginsDir {
        /// From the config.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: Box<load::Error>,
    },
    /// The config asks for what this host cannot do.
    #[error("{0} is not available in this version of the host")]
    NotYet(&'static str),
    /// No engine on this machine.
    #[error("the WebAssembly engine cannot be started: {0}")]
    Engine(String),
    /// No nats-server of its own.
    #[error(transparent)]
    NatsServer(#[from] nats_server::Error),
    /// The broker will not do, and waiting does not help.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// A part of the host ended by itself.
    #[error("{task} ended by itself: {reason}")]
    TaskEnded {
        /// Which part.
        task: String,
        /// What it said.
        reason: String,
    },
}

/// A running host.
pub struct Host {
    main: tokio::task::JoinHandle<Result<(), Error>>,
    drain: CancellationToken,
    address: std::net::SocketAddr,
}

/// What every part of a host shares.
#[derive(Clone)]
struct Shared {
    config: Arc<Config>,
    health: Health,
    metrics: Metrics,
    tracker: TaskTracker,
    drain: CancellationToken,
    /// Called when the grace time is over: what still waits for the broker is given up.
    abort: CancellationToken,
    owner: [u8; 16],
}

impl Host {
    /// Binds the ports, checks the folders and loads the plug-ins. Errors are those that
    /// waiting cannot mend; a broker that is away is waited for afterwards.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        if config.ledger.mode == LedgerMode::Off {
            return Err(Error::NotYet("ledger.mode = \"off\""));
        }
        let listen = config.admin.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|source| Error::Listen {
                address: listen,
                source,
            })?;
        let address = listener.local_addr().unwrap_or(listen);
        check_writable(&config)?;
        let (nats_server, addresses) = match &config.nats.server {
            Server::Embedded => {
                let server = NatsServer::start(&config.host.data_dir).await?;
                let address = server.address()?;
                (Some(server), vec![address])
            }
            Server::Addresses(addresses) => (None, addresses.clone()),
        };
        let shared = Shared {
            config: Arc::new(config),
            health: Health::default(),
            metrics: Metrics::default(),
            tracker: TaskTracker::new(),
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            owner: Uuid::new_v4().into_bytes(),
        };
        let generations = load(&shared).await?;
        let (drain, tracker) = (shared.drain.clone(), shared.tracker.clone());
        let name = shared.config.host.name.clone();
        let main = tracker.spawn(run(shared, generations, listener, (nats_server, addresses)));
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

async fn run(
    shared: Shared,
    generations: Vec<Arc<Generation>>,
    listener: TcpListener,
    (mut nats_server, addresses): (Option<NatsServer>, Vec<ServerAddr>),
) -> Result<(), Error> {
    let parts = (shared.health.clone(), shared.metrics.clone());
    let token = shared.config.admin.token.clone();
    let serving = admin::serve(listener, parts, token, shared.abort.clone());
    let serving = shared.tracker.spawn(serving);
    let own_server_ended = async {
        match &mut nats_server {
            Some(server) => server.ended().await,
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = work(&shared, generations, &addresses) => result,
        error = own_server_ended => Err(error.into()),
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
    generations: Vec<Arc<Generation>>,
    addresses: &[ServerAddr],
) -> Result<(), Error> {
    let Some(broker) = connect(shared, addresses).await? else {
        return Ok(());
    };
    let (commits, incoming) = mpsc::channel(256);
    let (context, ledger) = (broker.context.clone(), broker.ledger.clone());
    let committer = Committer::new(context, ledger, shared.metrics.clone());
    let committer = shared
        .tracker
        .spawn(committer.run(incoming, shared.abort.clone()));
    let mut partitions = JoinSet::new();
    for generation in generations {
        for share in shares(generation.manifest()) {
            let name = PartitionName {
                plugin: generation.manifest().name.clone(),
                partition: share.partition,
            };
            let label = name.to_string();
            shared.health.partition(label, health::Partition::Starting);
            let (generation, commits) = (Arc::clone(&generation), commits.clone());
            partitions.spawn(own(
                shared.clone(),
                broker.clone(),
                commits,
                generation,
                share,
                name,
            ));
        }
    }
    drop(commits);
    shared.health.started();
    while let Some(ended) = partitions.join_next().await {
        ended.map_err(|panicked| Error::TaskEnded {
            task: "a partition".to_owned(),
            reason: panicked.to_string(),
        })?;
    }
    committer.await.map_err(|panicked| Error::TaskEnded {
        task: "the committer".to_owned(),
        reason: panicked.to_string(),
    })?;
    // Without a plug-in there is nothing to drain, but the operator may still look at it.
    shared.drain.cancelled().await;
    Ok(())
}

/// Takes one partition over and runs it.
async fn own(
    shared: Shared,
    broker: Broker,
    commits: mpsc::Sender<Commit>,
    generation: Arc<Generation>,
    share: Share,
    name: PartitionName,
) {
    let label = name.to_string();
    let Some(claim) = take_over(&shared, &broker, &generation, &name).await else {
        return;
    };
    let grouping = Grouping {
        events: shared.config.ledger.commit_events,
        delay: shared.config.ledger.commit_delay,
    };
    let writer = Writer::new(
        Arc::clone(&claim.ledger),
        commits,
        shared.owner,
        claim.log,
        claim.position.clone(),
        grouping,
    );
    let metrics = shared.metrics.plugin(&name.plugin);
    let parts = Parts {
        subjects: route::subjects(generation.manifest(), &share.slots),
        generation,
        events: broker.events.clone(),
        ledger_stream: broker.ledger.clone(),
        max_payload: broker.max_payload(),
        metrics,
        tracker: shared.tracker.clone(),
    };
    tracing::info!(
        partition = label,
        floor = claim.position.floor(),
        waiting = claim.waiting.len(),
        "partition taken over"
    );
    let partition = Partition::new(parts, claim, writer);
    let running = health::Partition::Running;
    shared.health.partition(label.clone(), running);
    match partition.run(shared.drain.clone()).await {
        Ok(()) => tracing::info!(partition = label, "partition drained"),
        Err(writer::Error::Stopped) => {}
        Err(writer::Error::Fenced(fenced)) => {
            tracing::error!(partition = label, "{fenced}; this host leaves it");
            let taken = health::Partition::TakenOver;
            shared.health.partition(label, taken);
        }
    }
}

/// Claims a partition, as often as it takes. None when the host is stopping.
async fn take_over(
    shared: &Shared,
    broker: &Broker,
    generation: &Generation,
    name: &PartitionName,
) -> Option<Claim> {
    let claimant = Claimant {
        context: &broker.context,
        ledger: &broker.ledger,
        owner: shared.owner,
        dedup_window: shared.config.ledger.dedup_window,
    };
    let mut wait = WAIT_FIRST;
    loop {
        let attempt = async {
            let first = broker
                .events
                .get_info()
                .await
                .map(|info| info.state.first_sequence);
            let first = first.map_err(|error| error.to_string())?;
            let start = first.saturating_sub(1);
            let claimed = claim(&claimant, name.clone(), start).await;
            claimed
                .map(|claim| (claim, first))
                .map_err(|error| chain(&error))
        };
        let error = tokio::select! {
            claimed = attempt => match claimed {
                Ok((mut claim, first)) => {
                    report_lost(broker, generation, &mut claim, first);
                    return Some(claim);
                }
                Err(error) => error,
            },
            () = shared.drain.cancelled() => return None,
        };
        tracing::warn!(partition = %name, %error, retry_in = ?wait, "not taken over yet");
        pause(shared, &mut wait).await?;
    }
}

/// Events that left the store while no host ran the plug-in are not passed in silence.
fn report_lost(broker: &Broker, generation: &Generation, claim: &mut Claim, first: u64) {
    let Some((from, to)) = claim.position.lose_below(first) else {
        return;
    };
    let error = format!(
        "the events {from} to {to} left the store before this plug-in had read them; those of \
         its subjects among them are lost to it (events.max_age is shorter than it was away)"
    );
    let plugin = &generation.manifest().name;
    tracing::error!(plugin, from, to, "{error}");
    let letter = DeadLetter {
        plugin,
        version: &generation.manifest().version,
        digest: generation.digest(),
        reason: Reason::AgedOut,
        error: &error,
        attempts: 0,
        first: crate::clock::unix_millis(),
        sequence: from,
        subject: "",
        key: "",
        trace_id: String::new(),
        headers: None,
        payload: bytes::Bytes::new(),
        max_payload: broker.max_payload(),
    };
    claim.ledger.bury(letter, None, false);
}

/// Connects and provisions, as often as it takes. None when the host is stopping.
async fn connect(shared: &Shared, addresses: &[ServerAddr]) -> Result<Option<Broker>, Error> {
    let mut wait = WAIT_FIRST;
    let mut told = String::new();
    loop {
        let attempt = async {
            let name = format!("sluice {}", shared.config.host.name);
            let context = broker::connect(&shared.config.nats, addresses, &name).await?;
            shared.health.connected(context.client());
            broker::provision(context, &shared.config).await
        };
        let error = tokio::select! {
            broker = attempt => match broker {
                Ok(broker) => return Ok(Some(broker)),
                Err(error @ (broker::Error::TooOld { .. } | broker::Error::Credentials { .. })) => {
                    return Err(error.into());
                }
                Err(error @ (broker::Error::Connect { .. } | broker::Error::Stream { .. })) => error,
            },
            () = shared.drain.cancelled() => return Ok(None),
        };
        let text = chain(&error);
        if text != told {
            tracing::warn!(error = text, "waiting for the broker");
            told.clone_from(&text);
        }
        shared.health.broker_failed(text);
        if pause(shared, &mut wait).await.is_none() {
            return Ok(None);
        }
    }
}

/// Waits a little longer each time. None when the host is stopping.
async fn pause(shared: &Shared, wait: &mut Duration) -> Option<()> {
    tokio::select! {
        () = tokio::time::sleep(*wait) => {
            *wait = (*wait * 2).min(WAIT_LONGEST);
            Some(())
        }
        () = shared.drain.cancelled() => None,
    }
}

async fn grace_over(shared: &Shared) {
    shared.drain.cancelled().await;
    shared.health.draining();
    tokio::time::sleep(shared.config.host.shutdown_grace).await;
}

/// Loads the plug-ins; those that cannot be run are named and left out.
async fn load(shared: &Shared) -> Result<Vec<Arc<Generation>>, Error> {
    let config = Arc::clone(&shared.config);
    let engine = Engine::new().map_err(|error| Error::Engine(format!("{error:#}")))?;
    let loading = shared
        .tracker
        .spawn_blocking(move || load::folder(&Arc::new(engine), &config));
    let loaded = loading.await.map_err(|panicked| Error::TaskEnded {
        task: "loading the plug-ins".to_owned(),
        reason: panicked.to_string(),
    })?;
    let loaded = loaded.map_err(|source| Error::PluginsDir {
        path: shared.config.host.plugins_dir.clone(),
        source: Box::new(source),
    })?;
    let mut generations = Vec::new();
    for load::Loaded { file, result } in loaded {
        match result {
            Ok(generation) => {
                tracing::info!(
                    plugin = %generation.manifest().name, version = %generation.manifest().version,
                    digest = generation.digest(), file = %file.display(), "plug-in loaded"
                );
                generations.push(generation);
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(file = %file.display(), error, "plug-in refused; the others run");
                shared.health.refused(file.display().to_string(), error);
            }
        }
    }
    if generations.is_empty() {
        let folder = shared.config.host.plugins_dir.display();
        tracing::warn!(%folder, "no plug-in to run; put a .wasm file there and start again");
    }
    Ok(generations)
}

fn check_writable(config: &Config) -> Result<(), Error> {
    let path = &config.host.data_dir;
    let probe = path.join(".writable");
    std::fs::create_dir_all(path)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|source| Error::DataDir {
            path: path.clone(),
            source,
        })
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
