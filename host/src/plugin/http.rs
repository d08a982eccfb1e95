//! Takes an outgoing request of a guest, gives the answer of the origin, if that was granted.
//!
//! What leaves is bounded in number, time and size; what comes back as a redirect is the
//! guest's to follow, by a request that is looked at like any other.

mod address;
mod bounded;
mod client;
mod credential;
mod kept;
pub mod posting;
pub mod tokens;
mod traced;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, Uri};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls;
use tokio_rustls::rustls::ClientConfig;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use self::bounded::Bounded;
pub use self::bounded::MAX_ANSWER;
pub use self::client::Error as TrustError;
pub(crate) use self::client::trust;
use self::client::{Client, Prohibited, Reach, client, literal};
use self::credential::Credential;
use self::kept::{Kept, hear};
use super::store::Labels;
use crate::config::Config;
use crate::host::chain;
use crate::manifest::{Manifest, Origin};
use crate::telemetry::traces::Span;

/// Requests that one call may send.
pub const MAX_REQUESTS: usize = 100;
/// So long before the call is over a request is: the guest can still say what it waited for.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What the operator says of all requests: whom to trust, and the secrets.
pub struct Outgoing {
    trust: Arc<ClientConfig>,
    private: Vec<String>,
    credentials: BTreeMap<String, Arc<Credential>>,
}

impl Outgoing {
    /// From `[http]` and `[secret.<name>]`.
    ///
    /// # Errors
    /// When the authorities of `[http]` cannot be read.
    pub fn new(config: &Config) -> Result<Self, TrustError> {
        let trust = trust("http.ca", config.http.ca.as_deref())?;
        // Its endpoints are named by the operator.
        let tokens: Client<Full<Bytes>> = client(&trust, Reach::Anywhere);
        let credential = |(name, secret): (&String, _)| {
            let credential = Credential::new(name, secret, tokens.clone());
            (name.clone(), Arc::new(credential))
        };
        Ok(Self {
            private: config.http.private.clone(),
            credentials: config.secrets.iter().map(credential).collect(),
            trust,
        })
    }
}

/// The requests of one plug-in.
pub struct Http {
    grants: Vec<Origin>,
    reach: Reach,
    credentials: Vec<Arc<Credential>>,
    client: Client<WasiBody>,
    labels: Arc<Labels>,
}

impl Http {
    /// Those that its manifest is granted.
    pub fn new(outgoing: &Outgoing, manifest: &Manifest, labels: &Arc<Labels>) -> Self {
        let capabilities = &manifest.capabilities;
        let grants = capabilities.http.iter();
        let grants: Vec<Origin> = grants.filter_map(|text| Origin::parse(text)).collect();
        let reach = Reach::of(&grants, &outgoing.private);
        let secrets = capabilities.secrets.iter();
        let credentials = secrets.filter_map(|name| outgoing.credentials.get(name));
        Self {
            credentials: credentials.cloned().collect(),
            client: client(&outgoing.trust, reach.clone()),
            reach,
            grants,
            labels: Arc::clone(labels),
        }
    }

    /// The origin of a request, when it is granted.
    fn granted(&self, uri: &Uri) -> Result<Origin, Error> {
        let denied = |error: Error, why: &str| {
            let Labels { plugin, version } = &*self.labels;
            let allowed: Vec<String> = self.grants.iter().map(Origin::to_string).collect();
            let address = shown(uri);
            tracing::warn!(%plugin, %version, address, ?allowed, "request refused: {why}");
            error
        };
        let authority = uri.authority().map(|authority| authority.as_str());
        if authority.is_none_or(|authority| authority.contains('@')) {
            return Err(denied(Error::HttpRequestUriInvalid, "no plain host"));
        }
        let place = Origin::parse(&shown(uri));
        let place = place.ok_or_else(|| denied(Error::HttpRequestUriInvalid, "no origin"))?;
        let within = |grant: &&Origin| grant.is_same_place(&place) && grant.has_path(uri.path());
        if self.grants.iter().find(within).is_none() {
            let why = "capabilities.http does not allow it";
            return Err(denied(Error::HttpRequestDenied, why));
        }
        // A name is looked up, and looked at, when the connection is made.
        if let Some(address) = literal(&place.host)
            && !self.reach.allows(&place.host, address)
        {
            let why = "it is no address of the internet";
            return Err(denied(Error::DestinationIpProhibited, why));
        }
        Ok(place)
    }

    async fn send(
        &self,
        mut request: Request<WasiBody>,
        place: Origin,
        end: Instant,
    ) -> Result<Response<WasiBody>, Error> {
        let mut credentials = self.credentials.iter();
        let credential = credentials.find(|credential| credential.origin.is_same_place(&place));
        let credential = credential.filter(|found| found.origin.has_path(request.uri().path()));
        let mut sent = None;
        if let Some(credential) = credential {
            let header = credential.header().await.map_err(|error| {
                let (plugin, reason) = (&self.labels.plugin, chain(&error));
                tracing::warn!(plugin, reason, "request without its credential not sent");
                Error::InternalError(Some(reason))
            })?;
            let headers = request.headers_mut();
            headers.insert(credential.header_name(), header.clone());
            sent = Some((credential, header));
        }
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| self.failed(&error, &place))?;
        if let Some((credential, header)) = sent
            && answer.status() == StatusCode::UNAUTHORIZED
        {
            credential.was_refused(&header).await;
        }
        Ok(answer.map(|body| Bounded::new(body, end).boxed_unsync()))
    }

    /// What the guest is told, and the operator in more words.
    fn failed(&self, error: &hyper_util::client::legacy::Error, place: &Origin) -> Error {
        let (plugin, reason, origin) = (&self.labels.plugin, chain(error), place.to_string());
        tracing::warn!(plugin, origin, reason, "request failed");
        if find::<Prohibited>(error).is_some() {
            return Error::DestinationIpProhibited;
        }
        match find::<rustls::Error>(error) {
            Some(rustls::Error::InvalidCertificate(_)) => return Error::TlsCertificateError,
            Some(_) => return Error::TlsProtocolError,
            None => {}
        }
        if let Some(error) = find::<std::io::Error>(error) {
            match error.kind() {
                std::io::ErrorKind::ConnectionRefused => return Error::ConnectionRefused,
                std::io::ErrorKind::TimedOut => return Error::ConnectionTimeout,
                _ => {}
            }
        }
        if error.is_connect() {
            return Error::DestinationUnavailable;
        }
        Error::ConnectionTerminated
    }
}

/// A part of what an error comes from, inside of I/O errors too.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>();
        if let Some(inner) = inner.and_then(std::io::Error::get_ref)
            && let Some(found) = find(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Scheme, host and port: what a log may show.
fn shown(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{}://{host}", uri.scheme_str().unwrap_or("https"))
}

/// What one instance may send, and has sent in the call under way.
pub(super) struct Requests {
    /// None when nothing is granted.
    http: Option<Arc<Http>>,
    /// When each of them is over.
    end: Instant,
    sent: usize,
    /// None leaves: the call is one of history.
    may_leave: bool,
    /// Of the attempt that sends them.
    span: Span,
}

impl Requests {
    pub(super) fn new(http: Option<Arc<Http>>, deadline: Instant) -> Self {
        Self {
            http,
            end: before(deadline),
            sent: 0,
            may_leave: true,
            span: Span::default(),
        }
    }

    /// A call begins.
    pub(super) fn begin(&mut self, deadline: Instant, span: Span, may_leave: bool) {
        self.end = before(deadline);
        self.sent = 0;
        self.may_leave = may_leave;
        self.span = span;
    }

    /// Whether anything of the call leaves.
    pub(super) fn may_leave(&self) -> bool {
        self.may_leave
    }

    /// It has ended: its span is not kept from ending.
    pub(super) fn end(&mut self) {
        self.span = Span::default();
    }
}

/// A little before the call is over.
fn before(deadline: Instant) -> Instant {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    now + left.saturating_sub(LAST_WORDS.min(left / 4))
}

impl fmt::Debug for Requests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Requests");
        shown.field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// An answer, or why there is none, in the shape that the library wants: the second future is
/// for connections that somebody has to drive, and the client drives its own.
type Sending = Box<
    dyn Future<
            Output = Result<
                (
                    Response<WasiBody>,
                    Box<dyn Future<Output = Result<(), Error>> + Send>,
                ),
                Error,
            >,
        > + Send,
>;

/// The error, once the guest has said all that it wanted to send.
fn refused(request: Request<WasiBody>, error: Error, end: Instant) -> Sending {
    Box::new(async move {
        hear(request.into_body(), end).await;
        Err(error)
    })
}

impl WasiHttpHooks for Requests {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sending {
        let end = self.end;
        let Some(http) = self.http.clone() else {
            return refused(request, Error::HttpRequestDenied, end);
        };
        if !self.may_leave {
            let (plugin, address) = (&http.labels.plugin, shown(request.uri()));
            tracing::debug!(
                plugin,
                address,
                "request refused: a replay is without effects"
            );
            return refused(request, Error::HttpRequestDenied, end);
        }
        if MAX_REQUESTS <= self.sent {
            let plugin = &http.labels.plugin;
            tracing::warn!(plugin, "request refused: a call may send {MAX_REQUESTS}");
            return refused(request, Error::ConnectionLimitReached, end);
        }
        self.sent += 1;
        let place = match http.granted(request.uri()) {
            Ok(place) => place,
            Err(error) => return refused(request, error, end),
        };
        let wished = options.and_then(|options| options.first_byte_timeout);
        let wished = wished.map(|wished: Duration| Instant::now() + wished);
        let end = wished.map_or(end, |wished| wished.min(end));
        let span = traced::begin(&self.span, &mut request, &place);
        Box::new(async move {
            let (head, body) = request.into_parts();
            let (body, rest) = Kept::of(body);
            let sending = http.send(Request::from_parts(head, body), place, end);
            let answer = timeout_at(end, sending).await;
            let answer = answer.unwrap_or(Err(Error::HttpResponseTimeout));
            traced::end(&span, &answer);
            drop(span);
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    rest.hear(end).await;
                    return Err(error);
                }
            };
            let driven: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async { Ok(()) });
            let driven: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(driven);
            Ok((answer, driven))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(grants: &[&str]) -> Http {
        let text = format!(
            "[plugin]\nname = \"p\"\nversion = \"1\"\n[subscribe]\nsubjects = [\"d365.>\"]\n\
             [capabilities]\nhttp = {grants:?}\n"
        );
        let manifest = crate::manifest::parse(&text, "plugin.toml").expect("a manifest");
        let labels = Arc::new(Labels {
            plugin: "p".to_owned(),
            version: "1".to_owned(),
        });
        let outgoing = Outgoing::new(&Config::default()).expect("trust");
        Http::new(&outgoing, &manifest, &labels)
    }

    /// As a name of the internet whose answer leads inside.
    #[tokio::test]
    async fn a_name_that_stands_for_a_private_address_is_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let http = http(&["http://contoso.com"]);
        let place = Origin::parse(&format!("http://localhost:{port}")).expect("an origin");
        let body = Full::new(Bytes::new()).map_err(|never| match never {});
        let request = Request::get(place.to_string()).body(body.boxed_unsync());
        let end = Instant::now() + Duration::from_secs(10);
        let sent = http.send(request.expect("a request"), place, end).await;
        let error = sent.expect_err("refused");
        assert!(matches!(error, Error::DestinationIpProhibited), "{error:?}");
        let connected = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(connected.is_err(), "it was connected to");
    }

    #[test]
    fn only_what_is_granted_is_sent() {
        let http = http(&["https://contoso.com/api", "http://127.0.0.1:8080"]);
        let granted = |text: &str| http.granted(&text.parse().expect(text)).is_ok();
        for allowed in [
            "https://contoso.com/api/data",
            "https://CONTOSO.com:443/api?x=1",
            "http://127.0.0.1:8080/",
        ] {
            assert!(granted(allowed), "{allowed}");
        }
        for denied in [
            "https://contoso.com/",
            "https://contoso.com/api/../x",
            "http://contoso.com/api",
            "https://contoso.com:8443/api",
            "https://contoso.com.evil.example/api",
            "https://contoso.com@evil.example/api",
            "https://evil.example#@contoso.com/api",
            "http://127.0.0.1:8081/",
            "http://localhost:8080/",
            "http://[::1]:8080/",
            "http://2130706433:8080/",
            "http://0x7f000001:8080/",
            "http://127.1:8080/",
        ] {
            let Ok(uri) = denied.parse::<Uri>() else {
                continue;
            };
            assert!(http.granted(&uri).is_err(), "{denied}");
        }
    }
}
