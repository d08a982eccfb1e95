//! Takes an OpenTelemetry collector's program, gives it running, and the spans that it took.
//!
//! The collector is a program of others: what the host exports to it by gRPC it decodes, batches
//! and hands on over HTTP, here to the test.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use opentelemetry_proto::tonic::trace::v1::{Span as Wire, TracesData};
use prost::Message as _;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::broker::free_port;
use crate::environment;
use crate::process::{Process, command};
use crate::wait::until;

/// One span, as the collector handed it on.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its trace, in hex.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// Its parent's; empty when it has none.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// What kind it is.
    pub kind: SpanKind,
    /// Nanoseconds of its begin and end.
    pub time: (u64, u64),
    /// All of them, as text.
    pub attributes: BTreeMap<String, String>,
    /// What happened meanwhile: names and attributes.
    pub events: Vec<(String, BTreeMap<String, String>)>,
    /// What went wrong, if anything did.
    pub error: Option<String>,
    /// The trace and span of each link.
    pub links: Vec<(String, String)>,
    /// Of the process that it comes from.
    pub resource: BTreeMap<String, String>,
}

impl Span {
    /// An attribute; empty when it is not there.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// The lines that a guest logged.
    pub fn lines(&self) -> Vec<&str> {
        let logs = self.events.iter().filter(|(name, _)| name == "log");
        logs.filter_map(|(_, facts)| facts.get("log.message").map(String::as_str))
            .collect()
    }

    /// As `traceparent` names it.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }
}

/// A running collector; gone when dropped.
#[derive(Debug)]
pub struct Collector {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    taken: Arc<Mutex<Vec<Span>>>,
    taking: u16,
    process: Option<Process>,
    /// Aborted when dropped.
    #[expect(dead_code, reason = "kept for as long as it is to take spans")]
    serving: JoinSet<()>,
}

impl Collector {
    /// Starts one. None where there is no program: then that is told, and the caller skips.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start() -> Result<Option<Self>> {
        let Some(program) = environment::collector()? else {
            return Ok(None);
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let taking = listener.local_addr()?.port();
        let taken = Arc::default();
        let mut serving = JoinSet::new();
        serving.spawn(take_all(listener, Arc::clone(&taken)));
        let mut collector = Self {
            program,
            folder: TempDir::with_prefix("sluice-collector-")?,
            port: free_port()?,
            taken,
            taking,
            process: None,
            serving,
        };
        collector.restart().await?;
        Ok(Some(collector))
    }

    /// Starts it, on the same port as before.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill9();
        let folder = self.folder.path();
        let mut rotel = command(&self.program);
        rotel.arg("start");
        for (option, value) in [
            ("--pid-file", folder.join("pid").display().to_string()),
            ("--log-file", folder.join("log").display().to_string()),
            ("--otlp-grpc-endpoint", format!("127.0.0.1:{}", self.port)),
            (
                "--otlp-http-endpoint",
                format!("127.0.0.1:{}", free_port()?),
            ),
            ("--exporter", "otlp".to_owned()),
            ("--otlp-exporter-protocol", "http".to_owned()),
            (
                "--otlp-exporter-endpoint",
                format!("http://127.0.0.1:{}", self.taking),
            ),
        ] {
            rotel.arg(option).arg(value);
        }
        let log = folder.join("collector.log");
        self.process = Some(Process::start("the collector", rotel, &log)?);
        until("the collector to listen", 30, async || {
            TcpStream::connect(("127.0.0.1", self.port)).await?;
            Ok(())
        })
        .await
        .with_context(|| std::fs::read_to_string(log).unwrap_or_default())
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// The line of `[telemetry]` that has the host export to it.
    pub fn config(&self) -> String {
        format!("otlp = \"http://127.0.0.1:{}\"", self.port)
    }

    /// The spans so far, in no order.
    pub fn spans(&self) -> Vec<Span> {
        let taken = self.taken.lock();
        taken.map(|taken| taken.clone()).unwrap_or_default()
    }

    /// Waits until it has taken so many spans of this kind, and gives them.
    ///
    /// # Errors
    /// When it has not after `seconds`.
    pub async fn wait(&self, kind: SpanKind, count: usize, seconds: u64) -> Result<Vec<Span>> {
        until(&format!("{count} spans {kind:?}"), seconds, async || {
            let mut spans = self.spans();
            spans.retain(|span| span.kind == kind);
            ensure!(count <= spans.len(), "{} are there", spans.len());
            Ok(spans)
        })
        .await
    }
}

async fn take_all(listener: TcpListener, taken: Arc<Mutex<Vec<Span>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let taken = Arc::clone(&taken);
        connections.spawn(async move {
            let answering = service_fn(move |request| take(Arc::clone(&taken), request));
            // A collector that is killed is what the test wants.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answering)
                .await;
        });
    }
}

async fn take(
    taken: Arc<Mutex<Vec<Span>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    // It compresses whatever it is told.
    let mut plain = Vec::new();
    GzDecoder::new(body.as_ref()).read_to_end(&mut plain)?;
    let batch = ExportTraceServiceRequest::decode(plain.as_slice())?;
    let spans = read(TracesData {
        resource_spans: batch.resource_spans,
    });
    if let Ok(mut taken) = taken.lock() {
        taken.extend(spans);
    }
    let answer = Response::builder().status(StatusCode::OK);
    Ok(answer
        .header("content-type", "application/x-protobuf")
        .body(Full::default())?)
}

fn read(data: TracesData) -> Vec<Span> {
    let mut read = Vec::new();
    for of_process in data.resource_spans {
        let resource = of_process.resource.unwrap_or_default().attributes;
        let resource = texts(resource);
        let spans = of_process.scope_spans.into_iter();
        let spans = spans.flat_map(|of_scope| of_scope.spans);
        read.extend(spans.map(|span| one(span, resource.clone())));
    }
    read
}

fn one(span: Wire, resource: BTreeMap<String, String>) -> Span {
    let kind = span.kind();
    let status = span.status.unwrap_or_default();
    let error = (status.code() == SpanStatus::Error).then_some(status.message);
    let events = span.events.into_iter();
    let links = span.links.iter();
    Span {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        kind,
        time: (span.start_time_unix_nano, span.end_time_unix_nano),
        attributes: texts(span.attributes),
        events: events
            .map(|event| (event.name, texts(event.attributes)))
            .collect(),
        error,
        links: links
            .map(|link| (hex(&link.trace_id), hex(&link.span_id)))
            .collect(),
        resource,
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = attributes.into_iter();
    pairs.map(|pair| (pair.key, text(pair.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
