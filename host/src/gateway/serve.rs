//! Takes a listener, gives each connection's requests to the gateway: TLS, timeouts, bounds.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Parts, handle};

/// The headers of a request have to be there in this time, the pause before it included:
/// a connection may be idle for so long.
const HEADERS: Duration = Duration::from_secs(30);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections at once; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 10_000;
/// Bytes of a connection's read buffer, and so of a request's headers. More is answered 431.
const BUFFER: usize = 64 << 10;
/// After the system refused a connection: out of files, mostly.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How long a stop waits for requests under way; each is answered within about a second.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `stop`, then until the requests under way are answered.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    parts: Arc<Parts>,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                if !is_about_one_connection(&error) {
                    tracing::warn!(%error, "the gateway cannot accept connections at the moment");
                    sleep(ACCEPT_AGAIN).await;
                }
                continue;
            }
        };
        let (tls, parts, watcher) = (tls.clone(), Arc::clone(&parts), graceful.watcher());
        tracker.spawn(async move {
            let _place = place;
            if let Err(error) = connection(stream, tls, parts, watcher).await {
                tracing::debug!(error = %error, "a connection to the gateway ended");
            }
        });
    }
    drop(listener);
    let _ = timeout(GRACE, graceful.shutdown()).await;
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    parts: Arc<Parts>,
    watcher: Watcher,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => requests(stream, parts, watcher).await,
        Some(tls) => {
            let stream = timeout(HANDSHAKE, tls.accept(stream)).await??;
            requests(stream, parts, watcher).await
        }
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    parts: Arc<Parts>,
    watcher: Watcher,
) -> io::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let parts = Arc::clone(&parts);
        async move {
            let answer = handle(&parts, request).await;
            Ok::<Response<Body>, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        // An answer is short: one copy costs less than a list of its parts.
        .writev(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let ended = watcher.watch(connection).await;
    ended.map_err(io::Error::other)
}

/// The peer went away before it was accepted.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
