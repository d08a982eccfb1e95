//! Takes HTTP requests of the operator's tools, gives health and metrics.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Secret;
use crate::health::Health;
use crate::metrics::Metrics;

#[derive(Clone)]
struct Admin {
    health: Health,
    metrics: Metrics,
    token: Option<Secret>,
}

/// Serves until the host has stopped.
pub async fn serve(
    listener: TcpListener,
    (health, metrics): (Health, Metrics),
    token: Option<Secret>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let admin = Admin {
        health,
        metrics,
        token,
    };
    // Whether the process lives is no secret, and who asks has no token to give.
    let router = Router::new()
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .route_layer(from_fn_with_state(admin.clone(), authorised))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(admin);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// With `admin.token`, a request needs `authorization: Bearer <token>`.
async fn authorised(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let Some(token) = &admin.token else {
        return next.run(request).await;
    };
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    // Digests are compared, so the time that it takes says nothing about the token.
    let expected = Sha256::digest(token.expose());
    if given.is_some_and(|given| Sha256::digest(given) == expected) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    let text = "the request needs `authorization: Bearer <admin.token>`\n";
    (StatusCode::UNAUTHORIZED, challenge, text).into_response()
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
