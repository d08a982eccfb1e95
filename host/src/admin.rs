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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::config::Config;

    async fn status(address: std::net::SocketAddr, path: &str, header: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("reads");
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn with_a_token_only_its_bearer_sees_more_than_that_the_process_lives() {
        let text = "[admin]\ntoken = \"${TOKEN}\"\n";
        let lookup = |_: &str| Some("s3cret".to_owned());
        let folder = std::path::Path::new("");
        let config = Config::parse(text, "sluice.toml", folder, &lookup).expect("a config");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let parts = (Health::default(), Metrics::default());
        let serving = serve(listener, parts, config.admin.token, stop.clone());
        let tests = async {
            let none = "";
            let wrong = "authorization: Bearer s3cre\r\n";
            let right = "authorization: Bearer s3cret\r\n";
            assert_eq!(status(address, "/healthz", none).await, "HTTP/1.1 200 OK");
            for header in [none, wrong] {
                let metrics = status(address, "/metrics", header).await;
                assert_eq!(metrics, "HTTP/1.1 401 Unauthorized");
            }
            assert_eq!(status(address, "/metrics", right).await, "HTTP/1.1 200 OK");
            let ready = status(address, "/readyz", right).await;
            assert_eq!(ready, "HTTP/1.1 503 Service Unavailable");
            stop.cancel();
        };
        let (served, ()) = tokio::join!(serving, tests);
        served.expect("serves");
    }
}
