//! Takes HTTP requests of operators and their tools, gives health, metrics, and the console.

use std::sync::Arc;

use async_nats::jetstream::Context;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::access::{Access, Person};
use crate::config;
use crate::console::{self, Console};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::projections::Projections;
use crate::tls;

mod access;
pub(crate) mod guard;
mod serve;

/// What the admin port shows, and to whom.
#[derive(Debug, Clone)]
pub struct Admin {
    health: Health,
    metrics: Metrics,
    access: Arc<Access>,
    console: Console,
}

impl Admin {
    /// Of the host of this name.
    pub fn new(
        config: &config::Admin,
        host: &str,
        (health, metrics): (Health, Metrics),
        (broker, projections): (watch::Receiver<Option<Context>>, Projections),
        stop: CancellationToken,
    ) -> Self {
        let access = Arc::new(Access::new(config));
        Self {
            health,
            metrics,
            access: Arc::clone(&access),
            console: Console::new(
                host,
                access,
                (broker, projections),
                config.mask.clone(),
                stop,
            ),
        }
    }
}

/// What the port is secured with, if it is.
///
/// # Errors
/// The file that is wrong.
pub fn acceptor(config: &config::Admin) -> Result<Option<TlsAcceptor>, tls::Error> {
    let tls = config.tls.as_ref();
    tls.map(|tls| tls::acceptor(&tls.cert, &tls.key, tls.client_ca.as_deref()))
        .transpose()
}

/// Serves until the host has stopped.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    admin: Admin,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    tracker.spawn(admin.console.clone().keep());
    let router = router(admin);
    serve::serve(listener, tls, router, tracker, stop).await;
}

fn router(admin: Admin) -> Router {
    let guarded = Router::new()
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(admin.clone())
        .merge(console::guarded(admin.console.clone()))
        .layer(from_fn_with_state(
            Arc::clone(&admin.access),
            guard::authorised,
        ));
    let hardened = Router::new()
        .merge(console::open(admin.console))
        .merge(guarded)
        .layer(from_fn_with_state(admin.access, guard::hardened));
    // Whether the process lives is no secret, and who asks has no token and no name to give.
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(hardened)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let readiness = admin.health.readiness();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}

async fn metrics_text(State(admin): State<Admin>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], admin.metrics.text()).into_response()
}
