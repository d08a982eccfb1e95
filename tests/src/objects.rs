//! Takes requests of an S3 client, gives an object store in the memory of the test, which outlives who uses it.
//!
//! So much of S3 as the Kafka broker's client asks for: objects with conditions, ranges and lists.
//!
//! That broker writes down which records of a producer it has, and then the records: killed
//! between the two it takes a repetition for what it has, and a record is lost that no Kafka
//! loses. So it is killed while the store is [`quiet`](Objects::quiet): what is begun is ended,
//! and nothing new is begun.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED, RANGE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// No write follows another one that it belongs to after so long.
const QUIET: Duration = Duration::from_millis(100);
/// The object with which a write of the broker's begins.
const FIRST: &str = "/meta.json";
const TIME: &str = "2026-11-30T00:00:00.000Z";
const HTTP_TIME: &str = "Mon, 30 Nov 2026 00:00:00 GMT";

/// A running store; dropped, it is gone.
#[derive(Debug)]
pub struct Objects {
    port: u16,
    store: Shared,
    gate: watch::Sender<Gate>,
    _serving: JoinSet<()>,
}

/// Whether a write may begin, and how often its client was killed.
#[derive(Debug, Clone, Copy, Default)]
struct Gate {
    is_closed: bool,
    kills: u64,
}

/// By bucket and key, `bucket/key`.
#[derive(Debug, Default)]
struct Store {
    objects: BTreeMap<String, (u64, Bytes)>,
    versions: u64,
    written: Option<Instant>,
}

type Shared = Arc<Mutex<Store>>;
type Answer = Response<Full<Bytes>>;

impl Objects {
    /// Starts an empty one.
    ///
    /// # Errors
    /// When there is no port for it.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (store, gate) = (Shared::default(), watch::Sender::new(Gate::default()));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&store), gate.subscribe()));
        Ok(Self {
            port,
            store,
            gate,
            _serving: serving,
        })
    }

    /// Lets no write begin any more, and waits for the end of those that have.
    pub async fn quiet(&self) {
        self.gate.send_modify(|gate| gate.is_closed = true);
        let is_busy = || {
            let written = self.store.lock().ok().and_then(|store| store.written);
            written.is_some_and(|written| written.elapsed() < QUIET)
        };
        while is_busy() {
            sleep(QUIET / 10).await;
        }
    }

    /// Its client is dead: what that asked for last is not done, and writes may begin again.
    pub fn client_is_dead(&self) {
        self.gate.send_modify(|gate| {
            *gate = Gate {
                is_closed: false,
                kills: gate.kills + 1,
            };
        });
    }

    /// What an S3 client finds in its environment.
    pub fn environment(&self) -> [(&'static str, String); 6] {
        [
            (
                "AWS_ENDPOINT_URL",
                format!("http://127.0.0.1:{}", self.port),
            ),
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }
}

async fn serve(listener: TcpListener, store: Shared, gate: watch::Receiver<Gate>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (store, gate) = (Arc::clone(&store), gate.clone());
        // It is slower without, and that is all.
        let _ = stream.set_nodelay(true);
        connections.spawn(async move {
            let answering =
                service_fn(move |request| answer(Arc::clone(&store), gate.clone(), request));
            // A client that is killed is what the test wants.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answering)
                .await;
        });
    }
}

async fn answer(
    store: Shared,
    mut gate: watch::Receiver<Gate>,
    request: Request<Incoming>,
) -> Result<Answer> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = decoded(head.uri.path().trim_start_matches('/'));
    if head.method == Method::PUT && path.ends_with(FIRST) {
        let kills = gate.borrow().kills;
        let now = *gate.wait_for(|gate| !gate.is_closed).await?;
        if now.kills != kills {
            return plain(StatusCode::SERVICE_UNAVAILABLE);
        }
    }
    let query = head.uri.query().unwrap_or_default();
    let query: BTreeMap<String, String> = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect();
    let mut store = store.lock().ok().context("the store is broken")?;
    match head.method {
        Method::PUT => store.put(path, body, &head.headers),
        Method::GET if query.contains_key("list-type") => store.list(&path, &query),
        Method::GET => store.get(&path, &head.headers, true),
        Method::HEAD => store.get(&path, &head.headers, false),
        Method::DELETE => {
            store.objects.remove(&path);
            plain(StatusCode::NO_CONTENT)
        }
        Method::POST if query.contains_key("delete") => store.delete(&path, &body),
        _ => plain(StatusCode::NOT_IMPLEMENTED),
    }
}

impl Store {
    fn put(&mut self, path: String, body: Bytes, headers: &HeaderMap) -> Result<Answer> {
        let found = self.objects.get(&path).map(|(version, _)| tag(*version));
        let wanted = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let is_refused = match (wanted(IF_MATCH), wanted(IF_NONE_MATCH)) {
            (Some(tag), _) => found.as_deref() != Some(tag),
            (None, Some(_)) => found.is_some(),
            (None, None) => false,
        };
        if is_refused {
            return failed(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
        self.written = Some(Instant::now());
        self.versions += 1;
        let version = self.versions;
        self.objects.insert(path, (version, body));
        let answer = Response::builder().header(ETAG, tag(version));
        Ok(answer.body(Full::default())?)
    }

    fn get(&self, path: &str, headers: &HeaderMap, with_body: bool) -> Result<Answer> {
        let Some((version, body)) = self.objects.get(path) else {
            return failed(StatusCode::NOT_FOUND, "NoSuchKey");
        };
        let tag = tag(*version);
        let known = headers.get(IF_NONE_MATCH);
        if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
            return plain(StatusCode::NOT_MODIFIED);
        }
        let answer = Response::builder()
            .header(ETAG, tag)
            .header(LAST_MODIFIED, HTTP_TIME);
        if !with_body {
            let answer = answer.header(CONTENT_LENGTH, body.len());
            return Ok(answer.body(Full::default())?);
        }
        let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
        let Some((from, to)) = range.and_then(|range| bounds(range, body.len())) else {
            return Ok(answer.body(Full::new(body.clone()))?);
        };
        let told = format!("bytes {from}-{}/{}", to - 1, body.len());
        let answer = answer
            .status(StatusCode::PARTIAL_CONTENT)
            .header(CONTENT_RANGE, told);
        Ok(answer.body(Full::new(body.slice(from..to)))?)
    }

    fn list(&self, bucket: &str, query: &BTreeMap<String, String>) -> Result<Answer> {
        let bucket = format!("{}/", bucket.trim_end_matches('/'));
        let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let (prefix, delimiter) = (text("prefix"), text("delimiter"));
        let (mut contents, mut folders) = (String::new(), Vec::<&str>::new());
        for (path, (version, body)) in &self.objects {
            let Some(key) = path.strip_prefix(&bucket) else {
                continue;
            };
            let Some(rest) = key.strip_prefix(prefix) else {
                continue;
            };
            if key <= text("start-after") && !text("start-after").is_empty() {
                continue;
            }
            let end = (!delimiter.is_empty())
                .then(|| rest.find(delimiter))
                .flatten();
            if let Some(folder) = end.and_then(|end| key.get(..prefix.len() + end + 1)) {
                if folders.last() != Some(&folder) {
                    folders.push(folder);
                }
                continue;
            }
            write!(
                contents,
                "<Contents><Key>{key}</Key><LastModified>{TIME}</LastModified><ETag>{}</ETag>\
                 <Size>{}</Size></Contents>",
                tag(*version).replace('"', "&quot;"),
                body.len()
            )?;
        }
        let folders: String = folders
            .into_iter()
            .map(|folder| format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"))
            .collect();
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult>\
             <IsTruncated>false</IsTruncated>{contents}{folders}</ListBucketResult>"
        );
        Ok(Response::new(Full::new(body.into())))
    }

    fn delete(&mut self, bucket: &str, body: &[u8]) -> Result<Answer> {
        let body = String::from_utf8_lossy(body);
        let keys = body.split("<Key>").skip(1);
        let mut deleted = String::new();
        for key in keys.filter_map(|rest| rest.split("</Key>").next()) {
            self.objects
                .remove(&format!("{}/{key}", bucket.trim_end_matches('/')));
            write!(deleted, "<Deleted><Key>{key}</Key></Deleted>")?;
        }
        let body = format!("<?xml version=\"1.0\"?><DeleteResult>{deleted}</DeleteResult>");
        Ok(Response::new(Full::new(body.into())))
    }
}

fn tag(version: u64) -> String {
    format!("\"{version:032x}\"")
}

/// `bytes=1-2`, `bytes=1-` and `bytes=-2`, as an open range of what is there.
fn bounds(range: &str, length: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (from.parse().ok(), to.parse::<usize>().ok()) {
        (Some(from), Some(to)) => (from, length.min(to + 1)),
        (Some(from), None) => (from, length),
        (None, Some(last)) => (length.saturating_sub(last), length),
        (None, None) => return None,
    };
    (from < to).then_some((from, to))
}

fn plain(status: StatusCode) -> Result<Answer> {
    Ok(Response::builder().status(status).body(Full::default())?)
}

fn failed(status: StatusCode, code: &str) -> Result<Answer> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    let answer = Response::builder().status(status);
    Ok(answer.body(Full::new(body.into()))?)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
