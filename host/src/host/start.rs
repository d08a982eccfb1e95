//! Takes a config, gives what a host needs before it can work: folders, plug-ins, a broker.

use std::sync::Arc;

use async_nats::ServerAddr;

use super::{Error, Shared, WAIT_FIRST, chain, pause};
use crate::broker::{self, Broker};
use crate::config::Config;
use crate::load;
use crate::plugin::engine::Engine;
use crate::plugin::generation::Generation;

/// Loads the plug-ins; those that cannot be run are named and left out.
pub(super) async fn load(shared: &Shared) -> Result<Vec<Arc<Generation>>, Error> {
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
        if pause(shared, &mut wait).await.is_none() {
            return Ok(None);
        }
    }
}
