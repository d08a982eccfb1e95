//! Takes nothing, gives a receiver of CloudEvents over HTTPS on this machine, and what goes wrong there.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::tls::Identity;

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrived {
    /// `id`.
    pub id: String,
    /// `partitionkey`.
    pub key: String,
    /// Its attributes, by name; `datacontenttype` is there in each mode.
    pub attributes: Map<String, Value>,
    /// Its data as text.
    pub data: String,
    /// How many events the request had.
    pub together: usize,
}

/// What the receiver does with what comes.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// It answers this and takes nothing.
    pub answers: Option<u16>,
    /// It takes no request with one of these in it, and says 400.
    pub refuses: BTreeSet<String>,
    /// It takes only what shows `x-key` with this.
    pub key: Option<String>,
    /// What `OPTIONS` is answered with: the origin and the rate that are allowed.
    pub allows: Option<(String, String)>,
}

#[derive(Debug, Default)]
struct Inner {
    arrived: Mutex<Vec<Arrived>>,
    requests: Mutex<usize>,
    asked: Mutex<Vec<String>>,
    manners: Mutex<Manners>,
}

/// The receiver; what it took stays when it is stopped.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    pub port: u16,
    identity: Identity,
    inner: Arc<Inner>,
    /// Aborted when dropped.
    serving: JoinSet<()>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Receiver {
    /// Listens on a free port of `127.0.0.1`, under the name `localhost`.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut receiver = Self {
            port: listener.local_addr()?.port(),
            identity: Identity::of(&["localhost"])?,
            inner: Arc::default(),
            serving: JoinSet::new(),
        };
        receiver.serve(listener)?;
        Ok(receiver)
    }

    /// Where events are posted.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/api/events", self.port)
    }

    /// The certificate that it is known by.
    pub fn certificate(&self) -> &str {
        &self.identity.cert
    }

    /// Ends at once, whatever is on its way; what was taken may never be answered.
    pub async fn kill(&mut self) {
        self.serving.shutdown().await;
    }

    /// Listens again, where it did.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await;
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await?;
        self.serve(listener)
    }

    /// What came so far and was taken.
    pub fn arrived(&self) -> Vec<Arrived> {
        locked(&self.inner.arrived).clone()
    }

    /// How much that is.
    pub fn count(&self) -> usize {
        locked(&self.inner.arrived).len()
    }

    /// How many requests came, taken or not.
    pub fn requests(&self) -> usize {
        *locked(&self.inner.requests)
    }

    /// The origins that asked whether they may send.
    pub fn asked(&self) -> Vec<String> {
        locked(&self.inner.asked).clone()
    }

    /// From now on it behaves so.
    pub fn behave(&self, manners: Manners) {
        *locked(&self.inner.manners) = manners;
    }

    fn serve(&mut self, listener: TcpListener) -> Result<()> {
        let acceptor = self.identity.acceptor()?;
        let inner = Arc::clone(&self.inner);
        self.serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, inner) = (acceptor.clone(), Arc::clone(&inner));
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
        Ok(())
    }
}

async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let manners = locked(&inner.manners).clone();
    let headers = request.headers().clone();
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let empty = |status: u16| -> Result<Response<Full<Bytes>>> {
        let status = StatusCode::from_u16(status)?;
        let body = Full::new(Bytes::from_static(b"said the receiver"));
        Ok(Response::builder().status(status).body(body)?)
    };
    if request.method() == Method::OPTIONS {
        locked(&inner.asked).push(text("webhook-request-origin"));
        let Some((origin, rate)) = manners.allows else {
            return empty(200);
        };
        return Ok(Response::builder()
            .header("webhook-allowed-origin", origin)
            .header("webhook-allowed-rate", rate)
            .body(Full::default())?);
    }
    let body = request.into_body().collect().await?.to_bytes();
    *locked(&inner.requests) += 1;
    if let Some(status) = manners.answers {
        return empty(status);
    }
    if manners.key.is_some_and(|key| key != text("x-key")) {
        return empty(401);
    }
    let events = read(&headers, &body)?;
    if events
        .iter()
        .any(|event| manners.refuses.contains(&event.id))
    {
        return empty(400);
    }
    locked(&inner.arrived).extend(events);
    empty(202)
}

/// The events of a request, whichever way it carries them.
fn read(headers: &HeaderMap, body: &Bytes) -> Result<Vec<Arrived>> {
    let media = headers.get(CONTENT_TYPE).context("no content-type")?;
    let media = media.to_str()?;
    if media.starts_with("application/cloudevents-batch+json") {
        let members: Vec<Map<String, Value>> = serde_json::from_slice(body)?;
        let together = members.len();
        let events = members.into_iter();
        return events.map(|event| structured(event, together)).collect();
    }
    if media.starts_with("application/cloudevents+json") {
        return Ok(vec![structured(serde_json::from_slice(body)?, 1)?]);
    }
    let mut attributes = Map::new();
    attributes.insert("datacontenttype".to_owned(), media.into());
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix("ce-") {
            attributes.insert(name.to_owned(), value.to_str()?.into());
        }
    }
    let data = String::from_utf8(body.to_vec())?;
    Ok(vec![arrived(attributes, data, 1)?])
}

fn structured(mut event: Map<String, Value>, together: usize) -> Result<Arrived> {
    let data = event.remove("data").context("an event without data")?;
    arrived(event, data.to_string(), together)
}

fn arrived(attributes: Map<String, Value>, data: String, together: usize) -> Result<Arrived> {
    ensure!(
        attributes.get("specversion") == Some(&"1.0".into()),
        "no CloudEvent: {attributes:?}"
    );
    let text = |name: &str| {
        let value = attributes.get(name).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    Ok(Arrived {
        id: text("id"),
        key: text("partitionkey"),
        data,
        together,
        attributes,
    })
}
