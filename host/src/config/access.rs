//! Takes the raw tables that open a port, gives who may use it: gateway, secrets.

use std::net::SocketAddr;

use toml::Spanned;

use super::raw::{RawAuth, RawGateway, RawGatewaySource, RawGatewayTls};
use super::resolve::{File, is_token};
use super::{Auth, Error, Gateway, GatewaySource, GatewayTls, Place, Secret, SourceKind};
use crate::manifest::document::{Leaf, List};
use crate::manifest::section::Section;

pub(super) const AUTH: &str = "{ query = \"code\", key = \"${NAME}\" }, { header = \"x-key\", key = \"${NAME}\" } or \"none-i-am-sure\"";
const LISTEN: &str = "an IP address with a port, such as \"127.0.0.1:9365\"";

impl File<'_> {
    pub(super) fn gateway(&self, raw: &RawGateway) -> Result<Gateway, Error> {
        let section = self.section("[gateway]");
        let default = Gateway::default();
        let mut sources: Vec<GatewaySource> = Vec::with_capacity(raw.source.len());
        for at in &raw.source {
            let source = self.gateway_source(at)?;
            let is_repeated = |other: &GatewaySource| {
                other.kind == source.kind && other.environment == source.environment
            };
            if sources.iter().any(is_repeated) {
                let reason = "found a second source of this kind and environment, expected one";
                let section = self.section("[[gateway.source]]");
                return Err(section.rule("environment", Some(at), reason).into());
            }
            sources.push(source);
        }
        Ok(Gateway {
            listen: listen(section, &raw.listen)?.unwrap_or(default.listen),
            spool: section
                .switch("spool", &raw.spool)?
                .unwrap_or(default.spool),
            spool_max_bytes: section
                .size(
                    "spool_max_bytes",
                    &raw.spool_max_bytes,
                    "1GiB",
                    1 << 20..=1 << 50,
                )?
                .unwrap_or(default.spool_max_bytes),
            tls: raw
                .tls
                .as_ref()
                .map(|tls| self.gateway_tls(tls))
                .transpose()?,
            sources,
        })
    }

    fn gateway_tls(&self, at: &Spanned<RawGatewayTls>) -> Result<GatewayTls, Error> {
        let section = self.section("[gateway.tls]");
        let raw = at.get_ref();
        let cert = self.path(section, "cert", &raw.cert)?;
        let key = self.path(section, "key", &raw.key)?;
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(GatewayTls { cert, key }),
            _ => {
                let reason = "expected both cert and key, paths of PEM files";
                Err(section.rule("cert", Some(at), reason).into())
            }
        }
    }

    fn gateway_source(&self, at: &Spanned<RawGatewaySource>) -> Result<GatewaySource, Error> {
        let raw = at.get_ref();
        const ENVIRONMENT: &str = "1 to 63 lower-case letters, digits, - and _";
        let section = self.section("[[gateway.source]]");
        let kinds = [
            ("dataverse", SourceKind::Dataverse),
            ("fno", SourceKind::Fno),
            ("eventgrid", SourceKind::EventGrid),
            ("cloudevents", SourceKind::CloudEvents),
        ];
        let environment = section.parsed("environment", &raw.environment, ENVIRONMENT, |text| {
            is_token(text, |byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit()
            })
        })?;
        let kind = section.choice("kind", &raw.kind, &kinds)?;
        let auth = raw
            .auth
            .as_ref()
            .ok_or_else(|| section.missing_in(at, "auth", AUTH))?;
        let kind = kind.ok_or_else(|| {
            section.missing_in(
                at,
                "kind",
                "\"dataverse\" or \"fno\" or \"eventgrid\" or \"cloudevents\"",
            )
        })?;
        let of_event_grid = |key, list: &List, expected| match list {
            Some(at) if kind != SourceKind::EventGrid => {
                let reason =
                    "found in a source of another kind, expected only with kind = \"eventgrid\"";
                Err(Error::from(section.rule(key, Some(at), reason)))
            }
            _ => Ok(section.list(key, list, expected, |text| {
                (!text.trim().is_empty()).then(|| text.to_owned())
            })?),
        };
        Ok(GatewaySource {
            environment: environment
                .ok_or_else(|| section.missing_in(at, "environment", ENVIRONMENT))?,
            kind,
            auth: self.auth(section, auth)?,
            max_in_flight: section
                .whole("max_in_flight", &raw.max_in_flight, 1..=10_000_usize)?
                .unwrap_or(512),
            subscriptions: of_event_grid(
                "subscriptions",
                &raw.subscriptions,
                "the name of an Event Grid subscription",
            )?,
            origins: of_event_grid(
                "origins",
                &raw.origins,
                "a host name such as \"eventgrid.azure.net\"",
            )?,
        })
    }

    fn auth(&self, section: Section<'_>, at: &Spanned<RawAuth>) -> Result<Auth, Error> {
        let raw = match at.get_ref() {
            RawAuth::Word(word) if word == "none-i-am-sure" => return Ok(Auth::None),
            RawAuth::Word(_) => return Err(section.value("auth", at, AUTH).into()),
            RawAuth::Key(raw) => raw,
        };
        let is_name = |text: &str| is_token(text, u8::is_ascii_alphanumeric);
        const NAME: &str = "a name of 1 to 63 letters, digits, - and _";
        let query = section.parsed("auth.query", &raw.query, NAME, is_name)?;
        let header = section.parsed("auth.header", &raw.header, NAME, is_name)?;
        let place = match (query, header) {
            (Some(query), None) => Place::Query(query),
            (None, Some(header)) => Place::Header(header),
            _ => {
                let reason = format!("found both or none of query and header, expected {AUTH}");
                return Err(section.rule("auth", Some(at), &reason).into());
            }
        };
        let key = self
            .secret(
                section,
                ("auth.key", &raw.key),
                ("auth.key_file", &raw.key_file),
            )?
            .ok_or_else(|| section.missing("auth.key", "\"${NAME}\", or key_file = \"path\""))?;
        Ok(Auth::Key { place, key })
    }

    /// A secret from a variable, or the first line of a file. Not from the text itself:
    /// that is copied, shown and committed.
    pub(super) fn secret(
        &self,
        section: Section<'_>,
        (key, leaf): (&'static str, &Leaf),
        (file_key, file_leaf): (&'static str, &Leaf),
    ) -> Result<Option<Secret>, Error> {
        if let (Some(_), Some(at)) = (leaf, file_leaf) {
            let reason = format!("found together with {key}, expected one of them");
            return Err(section.rule(file_key, Some(at), &reason).into());
        }
        if let Some(at) = leaf {
            if self.document.is_written_out(at) {
                let reason = format!(
                    "found a secret written out in the file; write \"${{NAME}}\" and set the variable, or use {file_key}"
                );
                return Err(section.rule(key, Some(at), &reason).into());
            }
            return match at.get_ref().as_str() {
                Some(text) if !text.is_empty() => Ok(Some(Secret::new(text.to_owned()))),
                _ => Err(section
                    .rule(key, Some(at), "the variable is empty, expected a secret")
                    .into()),
            };
        }
        let (Some(path), Some(at)) = (self.path(section, file_key, file_leaf)?, file_leaf) else {
            return Ok(None);
        };
        let problem = |reason: String| Error::SecretFile {
            file: self.document.file.clone(),
            line: section.line(at),
            key: format!("{} {file_key}", section.name),
            path: path.clone(),
            reason,
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|error| problem(format!("cannot be read: {error}")))?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Some(Secret::new(line.to_owned()))),
            _ => Err(problem(
                "has an empty first line, expected the secret there".to_owned(),
            )),
        }
    }
}

pub(super) fn listen(section: Section<'_>, leaf: &Leaf) -> Result<Option<SocketAddr>, Error> {
    Ok(section.parsed("listen", leaf, LISTEN, |text| text.parse().ok())?)
}
