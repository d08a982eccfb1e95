//! Takes a config, gives what a host needs before it can work: folders, plug-ins, a broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_nats::ServerAddr;
use async_nats::jetstream::Context;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Error, Shared, WAIT_FIRST, chain, pause};
use crate::bridge::{self, running};
use crate::broker::{self, Broker};
use crate::builds::Builds;
use crate::catalog::{Catalog, Change};
use crate::clock;
use crate::config::Config;
use crate::gateway::publisher::Publisher;
use crate::leases::Lease;
use crate::metrics::Metrics;
use crate::plugin::code_cache::CodeCache;
use crate::plugin::compiler::Compiler;
use crate::plugin::engine::Engine;
use crate::plugin::http::Outgoing;
use crate::relaying;
use crate::schemas::Watcher;
use crate::telemetry::traces::Traces;

/// The engine, the folder, and what was found in it at the start.
pub(super) type Found = (Arc<Engine>, Catalog, Vec<Change>);

/// What sagas began with.
pub(super) fn builds(shared: &Shared, broker: &Broker, engine: &Arc<Engine>) -> Builds {
    Builds::new(
        broker.context.clone(),
        Arc::clone(engine),
        Arc::clone(&shared.config),
        (shared.metrics.clone(), shared.tracker.clone()),
    )
}

/// Looks at what the bodies of events have otherwise than their schemas say.
pub(super) async fn watch_schemas(shared: &Shared, broker: &Broker) {
    let (context, host) = (broker.context.clone(), shared.config.host.name.clone());
    // Plug-ins that read a version would wait for it.
    let begun = shared.schemas.known().begin(&context).await;
    let begun = begun
        .inspect_err(|error| tracing::warn!(%error, "the schemas are not known yet"))
        .ok();
    let stop = shared.abort.clone();
    let watching = shared.schemas.clone().watch((context, begun), host, stop);
    shared.tracker.spawn(watching);
}

/// What sees the events that the gateway takes.
pub(super) fn seen_by(shared: &Shared) -> (Metrics, Traces, Watcher) {
    let Shared {
        metrics,
        traces,
        schemas,
        ..
    } = shared.clone();
    (metrics, traces, schemas)
}

/// What this host says of itself at first.
pub(super) fn lease(shared: &Shared) -> Lease {
    Lease {
        id: Uuid::from_bytes(shared.owner).simple().to_string(),
        name: shared.config.host.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: clock::rfc3339(clock::unix_millis()),
        leaving: false,
        plugins: BTreeMap::new(),
        running: BTreeSet::new(),
    }
}

/// Loads the plug-ins.
pub(super) async fn look(shared: &Shared, compiler: Option<Compiler>) -> Result<Found, Error> {
    let config = Arc::clone(&shared.config);
    let mut engine = Engine::new().map_err(|error| Error::Engine(format!("{error:#}")))?;
    let outgoing = Outgoing::new(&config).map_err(Error::Trust)?;
    engine = engine
        .with_outgoing(outgoing)
        .with_fitting(shared.schemas.fitting().clone());
    let folder = config.host.data_dir.join("code");
    match CodeCache::open(folder.clone()) {
        Ok(cache) => engine = engine.with_cache(cache.with_compiler(compiler)),
        Err(error) => tracing::warn!(
            folder = %folder.display(), %error,
            "compiled plug-ins cannot be kept; each start compiles them again"
        ),
    }
    let engine = Arc::new(engine);
    let mut catalog = Catalog::new(Arc::clone(&engine), config);
    let looking = shared.tracker.spawn_blocking(move || {
        let found = catalog.look()?;
        Ok((catalog, found))
    });
    let looked = looking.await.map_err(|panicked| Error::TaskEnded {
        task: "loading the plug-ins".to_owned(),
        reason: panicked.to_string(),
    })?;
    let (catalog, found) = looked.map_err(|source| Error::PluginsDir {
        path: shared.config.host.plugins_dir.clone(),
        source: Box::new(source),
    })?;
    let is_loaded = |change: &Change| matches!(change, Change::Loaded { .. });
    if !found.iter().any(is_loaded) {
        let folder = shared.config.host.plugins_dir.display();
        tracing::warn!(%folder, "no plug-in in the folder; one that is put there, or deployed, is taken up");
    }
    let outgoing = engine.outgoing().map_err(Error::Trust)?;
    let fitting = shared.schemas.fitting();
    let bridges = bridge::outward(&shared.config, (outgoing, fitting), &shared.tracker);
    let bridges = bridges.map_err(Error::Bridge)?.into_iter();
    // First: a file whose plug-in has the name of one is told so.
    let loaded = bridges.map(|generation| Change::Loaded {
        file: bridge::PLACE.into(),
        generation,
    });
    let found = loaded.chain(found).collect();
    Ok((engine, catalog, found))
}

/// Has the host's own life told as events, where that is wanted.
pub(super) fn relaying(shared: &Shared, context: Context) {
    if shared.config.telemetry.events {
        let publisher = Publisher::new(shared.broker.subscribe(), true);
        let host = shared.config.host.name.clone();
        let (said, stop) = (shared.said.clone(), shared.abort.clone());
        let raising = said.run(context.clone(), host.clone(), stop);
        shared.tracker.spawn(raising);
        let stop = shared.drain.clone();
        let relaying = relaying::run(context, publisher, host, stop);
        shared.tracker.spawn(relaying);
    }
}

/// Has the bridges in read, until the host stops and what they have read is settled.
pub(super) fn bridges(shared: &Shared, engine: &Arc<Engine>) -> JoinHandle<()> {
    let publisher = Publisher::new(shared.broker.subscribe(), true);
    let around = running::Surroundings {
        metrics: shared.metrics.clone(),
        health: shared.health.clone(),
        schemas: shared.schemas.clone(),
        tracker: shared.tracker.clone(),
        drain: shared.drain.clone(),
        abort: shared.abort.clone(),
    };
    let running = running::run(
        (Arc::clone(&shared.config), Arc::clone(engine)),
        publisher,
        around,
    );
    shared.tracker.spawn(running)
}

pub(super) fn check_writable(config: &Config) -> Result<(), Error> {
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

/// Connects and provisions, as often as it takes. None when the host is stopping.
pub(super) async fn connect(
    shared: &Shared,
    addresses: &[ServerAddr],
) -> Result<Option<Broker>, Error> {
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
        if pause(&shared.drain, &mut wait).await.is_none() {
            return Ok(None);
        }
    }
}
