//! Takes nothing, gives a stand-in for Dataverse on this machine: HTTPS, a token endpoint, and what goes wrong there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::sync::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::tls::Identity;

/// What the token endpoint wants to hear.
pub const CLIENT_ID: &str = "00000000-1111-2222-3333-444444444444";
/// And the secret that belongs to it.
pub const CLIENT_SECRET: &str = "a~secret with/odd&chars=";
/// Bytes of `/api/huge`.
const HUGE: usize = 64 << 20;

type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `POST /api/accounts`.
    pub line: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as text.
    pub body: String,
}

/// The server; gone when dropped.
#[derive(Debug)]
pub struct Dataverse {
    /// Where it listens.
    pub port: u16,
    inner: Arc<Inner>,
    /// Aborted when dropped.
    #[expect(dead_code, reason = "kept for as long as the server is to serve")]
    serving: JoinSet<()>,
}

#[derive(Debug)]
struct Inner {
    seen: Mutex<Vec<Seen>>,
    tokens: AtomicUsize,
    elsewhere: String,
}

impl Dataverse {
    /// Listens on a free port of `127.0.0.1` with this certificate; redirects go to `elsewhere`.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn start(identity: &Identity, elsewhere: &str) -> Result<Self> {
        let acceptor = identity.acceptor()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let inner = Arc::new(Inner {
            seen: Mutex::default(),
            tokens: AtomicUsize::new(0),
            elsewhere: elsewhere.to_owned(),
        });
        let shared = Arc::clone(&inner);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, inner) = (acceptor.clone(), Arc::clone(&shared));
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let answering = service_fn(move |request| answer(Arc::clone(&inner), request));
                    // A client that goes away is none of the test's business.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answering)
                        .await;
                });
            }
        });
        Ok(Self {
            port,
            inner,
            serving,
        })
    }

    /// Where it is, by name.
    pub fn origin(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = self.inner.seen.lock();
        seen.map(|seen| seen.clone()).unwrap_or_default()
    }

    /// How many tokens were given out.
    pub fn tokens(&self) -> usize {
        self.inner.tokens.load(Ordering::Relaxed)
    }
}

async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Result<Response<Body>> {
    let line = format!("{} {}", request.method(), request.uri().path());
    let headers = request.headers().clone();
    let authorization = headers.get(AUTHORIZATION);
    let authorization = authorization.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let authorization = authorization
        .map(|value| value.into_owned())
        .unwrap_or_default();
    let path = request.uri().path().to_owned();
    let body = if path == "/api/deaf" {
        std::future::pending().await
    } else {
        request.into_body().collect().await?.to_bytes()
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    if let Ok(mut seen) = inner.seen.lock() {
        seen.push(Seen {
            line,
            headers,
            body: body.clone(),
        });
    }
    let text = |status: StatusCode, text: String| {
        let body = Full::from(text).boxed_unsync();
        Response::builder().status(status).body(body)
    };
    Ok(match path.as_str() {
        "/token" => token(&inner, &body)?,
        "/api/limited" => Response::builder()
            .status(StatusCode::TOO_MANY_REQUESTS)
            .header(RETRY_AFTER, "2")
            .body(Full::default().boxed_unsync())?,
        "/api/redirect" => Response::builder()
            .status(StatusCode::FOUND)
            .header(LOCATION, &inner.elsewhere)
            .body(Full::default().boxed_unsync())?,
        // The first token is no good any more.
        "/api/expired" if authorization == "Bearer token-1" => {
            text(StatusCode::UNAUTHORIZED, String::new())?
        }
        "/api/hang" => std::future::pending().await,
        "/api/drip" => {
            let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"one")))]);
            let body = StreamBody::new(first.chain(stream::pending()));
            Response::new(body.boxed_unsync())
        }
        "/api/huge" => {
            let part = Bytes::from(vec![b'x'; 1 << 20]);
            let parts = stream::repeat(part)
                .take(HUGE >> 20)
                .map(|part| Ok(Frame::data(part)));
            Response::new(StreamBody::new(parts).boxed_unsync())
        }
        _ => text(
            StatusCode::OK,
            format!("{path} as {authorization:?}: {body}"),
        )?,
    })
}

fn token(inner: &Inner, body: &str) -> Result<Response<Body>> {
    let encoded = CLIENT_SECRET.replace('/', "%2F").replace(' ', "+");
    let encoded = encoded
        .replace('&', "%26")
        .replace('=', "%3D")
        .replace('~', "%7E");
    let wanted = [
        "grant_type=client_credentials".to_owned(),
        format!("client_id={CLIENT_ID}"),
        format!("client_secret={encoded}"),
    ];
    let is_right = wanted
        .iter()
        .all(|part| body.split('&').any(|found| found == part));
    let (status, answer) = if is_right {
        let number = inner.tokens.fetch_add(1, Ordering::Relaxed) + 1;
        let token = format!("token-{number}");
        (
            StatusCode::OK,
            json!({ "access_token": token, "expires_in": 3600, "token_type": "Bearer" }),
        )
    } else {
        (
            StatusCode::UNAUTHORIZED,
            json!({ "error": "invalid_client" }),
        )
    };
    let body = Full::from(answer.to_string()).boxed_unsync();
    Ok(Response::builder().status(status).body(body)?)
}
