//! Takes a body, posts it to the gateway as Dynamics 365 does, and gives the gateway's word.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Request, Response, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::broker::PATIENCE;
use super::tally::{Done, End};
use super::traffic::{Body, Kind};
use crate::host::chain;

/// An answer that takes longer counts as none. Dataverse waits as long.
const ANSWER: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_ANSWER: usize = 256 << 10;

/// Where the key goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyIn {
    Query(String),
    Header(HeaderName),
}

impl FromStr for KeyIn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("found {text:?}; expected query:NAME or header:NAME, such as query:code");
        match text.split_once(':') {
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            Some(("header", name)) => name.parse().map(Self::Header).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

/// One gateway, and connections to it that are kept.
#[derive(Debug, Clone)]
pub(super) struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Requests at once; those that wait for the next attempt do not count.
    requests: Semaphore,
    dataverse: Uri,
    fno: Uri,
    /// In every request.
    headers: HeaderMap,
    organization: HeaderValue,
}

/// How the gateway is reached.
#[derive(Debug)]
pub(super) struct Access<'a> {
    pub(super) url: &'a str,
    pub(super) environment: &'a str,
    pub(super) key: Option<&'a str>,
    pub(super) key_in: &'a KeyIn,
    /// Certificates to trust instead of the system's.
    pub(super) ca: Option<&'a Path>,
    pub(super) at_once: usize,
}

impl Gateway {
    /// Errors when the address is none or nothing listens there.
    pub(super) async fn new(access: &Access<'_>) -> anyhow::Result<Self> {
        let query = match (access.key, access.key_in) {
            (Some(key), KeyIn::Query(name)) => {
                format!("?{name}={}", utf8_percent_encode(key, NON_ALPHANUMERIC))
            }
            _ => String::new(),
        };
        let environment = utf8_percent_encode(access.environment, NON_ALPHANUMERIC);
        let base = access.url.trim_end_matches('/');
        let uri = |kind: &str| -> anyhow::Result<Uri> {
            let uri: Uri = format!("{base}/{kind}/{environment}{query}").parse()?;
            if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
                bail!("it does not begin with http:// or https:// and a host");
            }
            Ok(uri)
        };
        let wrong = || {
            format!(
                "--gateway: {:?} is no address such as http://127.0.0.1:8365",
                access.url
            )
        };
        let dataverse = uri("dataverse").with_context(wrong)?;
        let fno = uri("fno").with_context(wrong)?;

        let is_tls = dataverse.scheme_str() == Some("https");
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls(access.ca, is_tls)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        reach(&dataverse, is_tls).await?;

        let json = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        if let (Some(key), KeyIn::Header(name)) = (access.key, access.key_in) {
            let mut key = HeaderValue::from_str(key).context("--key holds what no header may")?;
            key.set_sensitive(true);
            headers.insert(name.clone(), key);
        }
        let organization = format!("{}.crm4.dynamics.com", access.environment);
        Ok(Self(Arc::new(Inner {
            client: Client::builder(TokioExecutor::new()).build(connector),
            requests: Semaphore::new(access.at_once),
            dataverse,
            fno,
            headers,
            organization: HeaderValue::from_str(&organization)
                .with_context(|| format!("--environment: {:?} is no name", access.environment))?,
        })))
    }

    /// Posts until it is accepted or refused, or patience has an end.
    pub(super) fn send(&self, body: Body, from: Instant) -> BoxFuture<'static, Done> {
        let inner = Arc::clone(&self.0);
        let give_up = Instant::now() + PATIENCE;
        async move {
            let mut retries = 0;
            let end = loop {
                let (reason, wait) = match inner.post(&body).await {
                    Answer::Final(end) => break end,
                    Answer::Later { reason, wait } => (reason, wait),
                };
                if give_up <= Instant::now() + wait {
                    break End::Refused(reason);
                }
                sleep(wait).await;
                retries += 1;
            };
            Done {
                place: (body.kind, body.message),
                end,
                retries,
                took: from.elapsed(),
            }
        }
        .boxed()
    }
}

enum Answer {
    Final(End),
    Later { reason: String, wait: Duration },
}

impl Answer {
    fn later(reason: String) -> Self {
        Self::Later {
            reason,
            wait: PAUSE,
        }
    }
}

impl Inner {
    async fn post(&self, body: &Body) -> Answer {
        let _permit = self.requests.acquire().await;
        let request = self.client.request(self.request(body));
        let answer = async {
            let response = request.await.map_err(|error| chain(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok::<_, String>(Response::from_parts(head, body))
        };
        match timeout(ANSWER, answer).await {
            Ok(Ok(response)) => understand(&response),
            // The event may be stored all the same; sent again, it is known there.
            Ok(Err(reason)) => Answer::later(reason),
            Err(_) => Answer::later(format!("no answer within {} s", ANSWER.as_secs())),
        }
    }

    fn request(&self, body: &Body) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.bytes.clone()));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = match body.kind {
            Kind::Dataverse => self.dataverse.clone(),
            Kind::Business | Kind::Data => self.fno.clone(),
        };
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        if body.kind == Kind::Business {
            return request;
        }
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        put("x-ms-dynamics-entity-name", body.table);
        put("x-ms-dynamics-request-name", body.message);
        put("x-ms-correlation-request-id", &body.correlation);
        if body.is_truncated {
            put("x-ms-dynamics-msg-size-exceeded", "true");
        }
        headers.insert(
            HeaderName::from_static("x-ms-dynamics-organization"),
            self.organization.clone(),
        );
        request
    }
}

/// What an accepting gateway says; what is not needed is left out.
#[derive(Deserialize)]
struct Accepted {
    #[serde(default)]
    accepted: Vec<Known>,
    #[serde(default)]
    dead_letters: Vec<DeadLetter>,
    #[serde(default)]
    spooled: bool,
}

#[derive(Deserialize)]
struct Known {
    #[serde(default)]
    duplicate: bool,
}

#[derive(Deserialize)]
struct DeadLetter {
    error: String,
}

/// `application/problem+json`, RFC 9457.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

fn understand(response: &Response<Bytes>) -> Answer {
    let status = response.status();
    if status.is_success() {
        // Another receiver than the gateway says what it likes.
        let said: Option<Accepted> = serde_json::from_slice(response.body()).ok();
        let dead = said.as_ref().and_then(|said| said.dead_letters.first());
        return Answer::Final(match dead {
            Some(dead) => End::Refused(format!("stored as a dead letter: {}", dead.error)),
            None => End::Accepted {
                is_known: said
                    .as_ref()
                    .is_some_and(|said| said.accepted.iter().any(|one| one.duplicate)),
                is_spooled: said.is_some_and(|said| said.spooled),
            },
        });
    }
    let problem: Option<Problem> = serde_json::from_slice(response.body()).ok();
    let detail = problem
        .map(|problem| format!(": {}", problem.detail))
        .unwrap_or_default();
    let reason = format!("{status}{detail}");
    match status {
        StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS => {
            let seconds = response.headers().get(RETRY_AFTER);
            let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
            Answer::Later {
                reason,
                wait: seconds.map_or(PAUSE, Duration::from_secs),
            }
        }
        _ => Answer::Final(End::Refused(reason)),
    }
}

/// A wrong address is told at once, and not after a minute of attempts.
async fn reach(uri: &Uri, is_tls: bool) -> anyhow::Result<()> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let connected = tokio::net::TcpStream::connect((host, port)).await;
    connected
        .map(drop)
        .with_context(|| format!("--gateway: nothing answers at {host}:{port}; is `sluice run` up, with a [[gateway.source]]?"))
}

fn tls(ca: Option<&Path>, is_tls: bool) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = match ca {
        Some(file) => config.with_root_certificates(trusted(file)?),
        None if is_tls => config
            .with_native_roots()
            .context("the system's certificates cannot be read; name a file with --gateway-ca")?,
        None => config.with_root_certificates(RootCertStore::empty()),
    };
    Ok(config.with_no_client_auth())
}

fn trusted(file: &Path) -> anyhow::Result<RootCertStore> {
    let shown = file.display();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)
        .with_context(|| format!("--gateway-ca: {shown} cannot be read"))?
    {
        let certificate =
            certificate.with_context(|| format!("--gateway-ca: {shown} is no PEM"))?;
        roots
            .add(certificate)
            .with_context(|| format!("--gateway-ca: {shown}"))?;
    }
    if roots.is_empty() {
        bail!("--gateway-ca: {shown} holds no certificate");
    }
    Ok(roots)
}
