//! Takes `http` of a `[[bridge]]`, gives whoever takes CloudEvents over HTTP.

use std::time::Duration;

use toml::Spanned;

use super::Secrets;
use crate::config::Error;
use crate::config::raw::RawBridgeHttp;
use crate::config::resolve::{File, is_token};
use crate::manifest::Origin;

const URL: &str =
    "an address such as \"https://orders.westeurope-1.eventgrid.azure.net/api/events\"";
const ORIGIN: &str = "a host name such as \"sluicegate.contoso.com\"";

/// Whoever takes CloudEvents over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where events are posted.
    pub url: String,
    /// Name of the `[secret.<name>]` that a request shows.
    pub secret: Option<String>,
    /// How a request carries its events.
    pub mode: HttpMode,
    /// Most events of one request in batch mode.
    pub batch_events: usize,
    /// Most bytes of one request in batch mode, where it has more than one event.
    pub batch_bytes: usize,
    /// How long a batch waits for more events.
    pub linger: Duration,
    /// What is asked before the first event is sent.
    pub handshake: Option<Handshake>,
}

/// How a request carries its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMode {
    /// Several in a JSON array: `application/cloudevents-batch+json`.
    Batch,
    /// One in the JSON event format: `application/cloudevents+json`.
    Structured,
    /// One, its attributes in `ce-*` headers and its data as the body.
    Binary,
}

/// The abuse protection of the CloudEvents webhook specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Whom the receiver is asked to allow.
    pub origin: String,
}

/// Where an address leads, its query left out.
fn place(url: &str) -> Option<Origin> {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let is_plain = query
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    Origin::parse(place).filter(|_| is_plain)
}

impl File<'_> {
    pub(super) fn bridge_http(
        &self,
        at: &Spanned<RawBridgeHttp>,
        secrets: &Secrets,
    ) -> Result<Http, Error> {
        let raw = at.get_ref();
        let section = self.section("[[bridge]] http");
        let url = section
            .parsed("url", &raw.url, URL, |text| {
                place(text).is_some().then(|| text.to_owned())
            })?
            .ok_or_else(|| section.missing_in(at, "url", URL))?;
        let secret = section.text("secret", &raw.secret, "the name of a [secret.<name>]")?;
        if let Some(name) = &secret {
            let at = raw.secret.as_ref();
            let Some(found) = secrets.get(name) else {
                let reason = format!("the file has no [secret.{name}], expected one");
                return Err(section.rule("secret", at, &reason).into());
            };
            let goes_there = place(&url).is_some_and(|to| found.origin.covers(&to));
            if !goes_there {
                let reason = format!(
                    "the secret is for {} and the url leads elsewhere; expected one place",
                    found.origin
                );
                return Err(section.rule("secret", at, &reason).into());
            }
        }
        let modes = [
            ("batch", HttpMode::Batch),
            ("structured", HttpMode::Structured),
            ("binary", HttpMode::Binary),
        ];
        let mode = section.choice("mode", &raw.mode, &modes)?;
        let bytes = section.size(
            "batch_bytes",
            &raw.batch_bytes,
            "512KiB",
            1 << 10..=64 << 20,
        )?;
        let linger = Duration::ZERO..=Duration::from_secs(10);
        let origin = section.parsed("origin", &raw.origin, ORIGIN, |text| {
            is_token(text, |byte| byte.is_ascii_alphanumeric() || *byte == b'.')
        })?;
        Ok(Http {
            url,
            secret,
            mode: mode.unwrap_or(HttpMode::Batch),
            batch_events: section
                .whole("batch_events", &raw.batch_events, 1..=5_000_usize)?
                .unwrap_or(100),
            batch_bytes: bytes.map_or(512 << 10, |bytes| {
                usize::try_from(bytes).unwrap_or(512 << 10)
            }),
            linger: section
                .duration("linger", &raw.linger, "5ms", linger)?
                .unwrap_or(Duration::from_millis(5)),
            handshake: origin.map(|origin| Handshake { origin }),
        })
    }
}
