//! Takes `[[gateway.source]]`, gives who may send what, and how much at once.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::{HeaderMap, Uri};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{Auth, GatewaySource, Place, SourceKind};
use crate::metrics::SourceMetrics;

/// Which source a request came from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Which wire format.
    pub kind: SourceKind,
    /// As in path and subjects.
    pub environment: &'a str,
}

/// One source that may send.
#[derive(Debug)]
pub struct Source {
    config: GatewaySource,
    /// SHA-256 of the key: digests are compared, so the time that it takes says nothing
    /// about the key.
    key: Option<[u8; 32]>,
    places: Arc<Semaphore>,
    metrics: SourceMetrics,
}

impl Source {
    /// The source of the config.
    pub fn new(config: GatewaySource, metrics: SourceMetrics) -> Self {
        let key = match &config.auth {
            Auth::None => None,
            Auth::Key { key, .. } => Some(Sha256::digest(key.expose()).into()),
        };
        let places = Arc::new(Semaphore::new(config.max_in_flight));
        Self {
            config,
            key,
            places,
            metrics,
        }
    }

    /// Kind and environment.
    pub fn origin(&self) -> Origin<'_> {
        Origin {
            kind: self.config.kind,
            environment: &self.config.environment,
        }
    }

    /// What is counted of it.
    pub fn metrics(&self) -> &SourceMetrics {
        &self.metrics
    }

    /// Whether the request carries this source's key.
    pub fn admits(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let (Auth::Key { place, .. }, Some(key)) = (&self.config.auth, &self.key) else {
            return true;
        };
        let given = match place {
            Place::Query(name) => query(uri, name).map(|given| digest(given.as_bytes())),
            Place::Header(name) => headers.get(name).map(|given| digest(given.as_bytes())),
        };
        given.is_some_and(|given| given == *key)
    }

    /// A place among the source's requests, held while one is under way. None when all are
    /// taken.
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Whether Event Grid's validation event of this subscription is answered.
    pub fn names_subscription(&self, name: Option<&str>) -> bool {
        let names = self.config.subscriptions.as_ref();
        names.is_none_or(|names| {
            name.is_some_and(|name| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
        })
    }

    /// Whether the handshake of this origin is answered.
    pub fn names_origin(&self, origin: &str) -> bool {
        let origins = self.config.origins.as_ref();
        origins.is_none_or(|origins| {
            origins
                .iter()
                .any(|known| known.eq_ignore_ascii_case(origin))
        })
    }
}

fn query<'a>(uri: &'a Uri, name: &str) -> Option<Cow<'a, str>> {
    let pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs
        .into_iter()
        .find_map(|(key, value)| (key == name).then_some(value))
}

fn digest(given: &[u8]) -> [u8; 32] {
    Sha256::digest(given).into()
}
