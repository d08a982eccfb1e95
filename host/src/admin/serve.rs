//! Takes a listener, gives each connection's requests to the router: TLS, whose certificate it is, an end.

use std::io;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::access::Certificate;

const HEADERS: Duration = Duration::from_secs(30);
const HANDSHAKE: Duration = Duration::from_secs(10);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_millis(500);

/// Serves until `stop`, then until the requests under way are answered, or for a moment.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let Ok((stream, _peer)) = accepted else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
        let stop = stop.clone();
        tracker.spawn(async move {
            let serving = connection(stream, tls, router, watcher);
            let ended = async {
                stop.cancelled().await;
                sleep(GRACE).await;
            };
            tokio::select! {
                served = serving => if let Err(error) = served {
                    tracing::debug!(%error, "a connection to the admin port ended");
                },
                () = ended => {}
            }
        });
    }
    drop(listener);
    let _ = timeout(GRACE, graceful.shutdown()).await;
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    watcher: Watcher,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        return requests(stream, router, watcher).await;
    };
    let stream = timeout(HANDSHAKE, tls.accept(stream)).await??;
    let shown = stream.get_ref().1.peer_certificates();
    match shown.and_then(|chain| chain.first()).and_then(common_name) {
        Some(name) => requests(stream, router.layer(Extension(Certificate(name))), watcher).await,
        None => requests(stream, router, watcher).await,
    }
}

/// Whose certificate it is; the handshake has found it good.
fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    Some(name.as_str().ok()?.to_owned())
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    watcher: Watcher,
) -> io::Result<()> {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    watcher.watch(connection).await.map_err(io::Error::other)
}
