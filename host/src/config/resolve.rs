//! Takes the raw tables, gives the Config: types, ranges, defaults, paths.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fluent_uri::Uri;
use toml::Spanned;

use super::raw::{
    RawConfig, RawEvents, RawHost, RawKeep, RawLedger, RawNats, RawOverride, RawStreamSource,
    RawTelemetry,
};
use super::{
    Config, DAY, Error, Events, Host, JournalMode, Ledger, LedgerMode, LogFormat, Nats, Override,
    Server, StreamSource, Telemetry, Tls,
};
use crate::manifest::document::{Document, Leaf, Lookup};
use crate::manifest::section::Section;
use crate::manifest::subject::is_pattern;

const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

pub(super) fn config(
    text: &str,
    origin: &str,
    folder: &Path,
    lookup: Lookup<'_>,
) -> Result<Config, Error> {
    let (document, raw) = Document::read_with::<RawConfig>(origin, text, lookup)?;
    let file = File {
        document: &document,
        folder,
    };
    let secrets = file.secrets(&raw.secret)?;
    Ok(Config {
        nats: file.nats(&raw.nats)?,
        host: file.host(&raw.host)?,
        events: file.events(&raw.events)?,
        ledger: file.ledger(&raw.ledger)?,
        gateway: file.gateway(&raw.gateway)?,
        admin: file.admin(&raw.admin)?,
        telemetry: file.telemetry(&raw.telemetry)?,
        http: file.http(&raw.http)?,
        projections: file.projections(&raw.projections)?,
        schemas: file.schemas(&raw.schemas)?,
        trust: file.trust(&raw.plugins)?,
        bridges: file.bridges(&raw.bridge, &secrets)?,
        secrets,
        plugins: file.plugins(&raw.plugin)?,
    })
}

/// What every table is resolved against.
pub(super) struct File<'a> {
    pub(super) document: &'a Document,
    pub(super) folder: &'a Path,
}

impl File<'_> {
    pub(super) fn section<'s>(&'s self, name: &'s str) -> Section<'s> {
        Section {
            document: self.document,
            name,
        }
    }

    pub(super) fn path(
        &self,
        section: Section<'_>,
        key: &str,
        leaf: &Leaf,
    ) -> Result<Option<PathBuf>, Error> {
        let path = section.text(key, leaf, "a path")?;
        Ok(path.map(|path| self.folder.join(path)))
    }

    fn nats(&self, raw: &RawNats) -> Result<Nats, Error> {
        let section = self.section("[nats]");
        let server = section
            .parsed(
                "url",
                &raw.url,
                "\"embedded\" or addresses such as \"nats://127.0.0.1:4222\", separated by commas",
                Server::parse,
            )?
            .unwrap_or_default();
        if let Some(at) = &raw.url
            && server.has_credentials()
            && self.document.is_written_out(at)
        {
            let reason = "found a user or a password in the file; write the address as \"${NAME}\" and set the variable, or use credentials";
            return Err(section.rule("url", Some(at), reason).into());
        }
        let tls = self.section("[nats.tls]");
        let tls = Tls {
            ca: self.path(tls, "ca", &raw.tls.ca)?,
            cert: self.path(tls, "cert", &raw.tls.cert)?,
            key: self.path(tls, "key", &raw.tls.key)?,
        };
        if tls.cert.is_some() != tls.key.is_some() {
            let at = raw.tls.cert.as_ref().or(raw.tls.key.as_ref());
            let reason = "found one of cert and key; expected both or none";
            return Err(self.section("[nats.tls]").rule("cert", at, reason).into());
        }
        let replicas = section
            .whole("replicas", &raw.replicas, 1..=5_usize)?
            .unwrap_or(1);
        if let (2 | 4, Some(at)) = (replicas, &raw.replicas) {
            return Err(section.value("replicas", at, "1, 3 or 5").into());
        }
        let credentials = self.path(section, "credentials", &raw.credentials)?;
        Ok(Nats {
            server,
            credentials,
            tls,
            replicas,
        })
    }

    fn host(&self, raw: &RawHost) -> Result<Host, Error> {
        let section = self.section("[host]");
        let default = Host::default();
        let name = section.parsed(
            "name",
            &raw.name,
            "1 to 63 letters, digits, - and _",
            |text| is_token(text, u8::is_ascii_alphanumeric),
        )?;
        let data_dir = self.path(section, "data_dir", &raw.data_dir)?;
        let plugins_dir = self.path(section, "plugins_dir", &raw.plugins_dir)?;
        Ok(Host {
            name: name.unwrap_or(default.name),
            data_dir: data_dir.unwrap_or_else(|| self.folder.join(default.data_dir)),
            plugins_dir: plugins_dir.unwrap_or_else(|| self.folder.join(default.plugins_dir)),
            shutdown_grace: section
                .duration(
                    "shutdown_grace",
                    &raw.shutdown_grace,
                    "20s",
                    Duration::ZERO..=DAY,
                )?
                .unwrap_or(default.shutdown_grace),
        })
    }

    fn events(&self, raw: &RawEvents) -> Result<Events, Error> {
        let section = self.section("[events]");
        let default = Events::default();
        let second = Duration::from_secs(1);
        let max_age = section
            .duration("max_age", &raw.max_age, "30d", second..=YEARS)?
            .unwrap_or(default.max_age);
        let dedup_window = section
            .duration("dedup_window", &raw.dedup_window, "10m", second..=30 * DAY)?
            .unwrap_or(default.dedup_window.min(max_age));
        if dedup_window > max_age {
            let reason = "found a window longer than max_age, which the broker refuses; expected at most max_age";
            return Err(section
                .rule("dedup_window", raw.dedup_window.as_ref(), reason)
                .into());
        }
        Ok(Events {
            max_bytes: section
                .size("max_bytes", &raw.max_bytes, "10GiB", 1 << 20..=1 << 50)?
                .unwrap_or(default.max_bytes),
            max_age,
            dedup_window,
            keep: self.keep(&raw.keep, max_age)?,
            sources: raw
                .sources
                .iter()
                .map(|source| self.stream_source(source))
                .collect::<Result<_, _>>()?,
        })
    }

    fn keep(&self, raw: &RawKeep, max_age: Duration) -> Result<BTreeMap<String, Duration>, Error> {
        let section = self.section("[events.keep]");
        let mut keep = BTreeMap::new();
        for (kind, leaf) in [
            ("record", &raw.record),
            ("business", &raw.business),
            ("custom", &raw.custom),
            ("system", &raw.system),
        ] {
            let age = section.duration(kind, leaf, "7d", Duration::from_secs(1)..=YEARS)?;
            let Some(age) = age else { continue };
            if max_age < age {
                let reason = "found a time longer than max_age, after which every event leaves; expected at most max_age";
                return Err(section.rule(kind, leaf.as_ref(), reason).into());
            }
            keep.insert(kind.to_owned(), age);
        }
        Ok(keep)
    }

    fn stream_source(&self, raw: &RawStreamSource) -> Result<StreamSource, Error> {
        const STREAM: &str = "the name of a stream, without blanks, ., * and >";
        const FILTER: &str = "a subject with NATS wildcards, such as \"acme.crm.>\"";
        const TO: &str = "a subject that starts with d365., such as \"d365.custom.acme.business.{{wildcard(1)}}.raised\"";
        let section = self.section("[[events.sources]]");
        let is_plain = |text: &str| !text.contains(|c: char| c.is_whitespace() || c.is_control());
        let stream = section.parsed("stream", &raw.stream, STREAM, |text| {
            let ok =
                !text.is_empty() && is_plain(text) && !text.contains(['.', '*', '>', '/', '\\']);
            ok.then(|| text.to_owned())
        })?;
        let filter = section.parsed("filter", &raw.filter, FILTER, |text| {
            is_pattern(text).then(|| text.to_owned())
        })?;
        let to = section.parsed("to", &raw.to, TO, |text| {
            let ok = text.len() > "d365.".len() && text.starts_with("d365.") && is_plain(text);
            ok.then(|| text.to_owned())
        })?;
        Ok(StreamSource {
            stream: stream.ok_or_else(|| section.missing("stream", STREAM))?,
            filter: filter.ok_or_else(|| section.missing("filter", FILTER))?,
            to: to.ok_or_else(|| section.missing("to", TO))?,
        })
    }

    fn ledger(&self, raw: &RawLedger) -> Result<Ledger, Error> {
        let section = self.section("[ledger]");
        let default = Ledger::default();
        let second = Duration::from_secs(1);
        Ok(Ledger {
            mode: section
                .choice(
                    "mode",
                    &raw.mode,
                    &[("on", LedgerMode::On), ("off", LedgerMode::Off)],
                )?
                .unwrap_or(default.mode),
            dedup_window: section
                .duration("dedup_window", &raw.dedup_window, "7d", second..=YEARS)?
                .unwrap_or(default.dedup_window),
            commit_events: section
                .whole("commit_events", &raw.commit_events, 1..=1000)?
                .unwrap_or(default.commit_events),
            commit_delay: section
                .duration(
                    "commit_delay",
                    &raw.commit_delay,
                    "2ms",
                    Duration::ZERO..=second,
                )?
                .unwrap_or(default.commit_delay),
        })
    }

    fn telemetry(&self, raw: &RawTelemetry) -> Result<Telemetry, Error> {
        let section = self.section("[telemetry]");
        let log = section.choice(
            "log",
            &raw.log,
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
        )?;
        let otlp = section.parsed(
            "otlp",
            &raw.otlp,
            "an address such as \"http://127.0.0.1:4317\"",
            |text| {
                let uri = Uri::parse(text).ok()?;
                let is_http = matches!(uri.scheme().as_str(), "http" | "https");
                let has_host = uri
                    .authority()
                    .is_some_and(|authority| !authority.host().is_empty());
                (is_http && has_host).then(|| text.to_owned())
            },
        )?;
        let default = Telemetry::default();
        let modes = [
            ("all", JournalMode::All),
            ("failures", JournalMode::Failures),
            ("off", JournalMode::Off),
        ];
        Ok(Telemetry {
            log: log.unwrap_or(default.log),
            otlp,
            events: section
                .switch("events", &raw.events)?
                .unwrap_or(default.events),
            journal: section
                .choice("journal", &raw.journal, &modes)?
                .unwrap_or(default.journal),
            journal_max_bytes: section
                .size(
                    "journal_max_bytes",
                    &raw.journal_max_bytes,
                    "256MiB",
                    1 << 20..=1 << 50,
                )?
                .unwrap_or(default.journal_max_bytes),
            sample: section
                .number("sample", &raw.sample, 0.0..=1.0)?
                .unwrap_or(default.sample),
        })
    }

    fn plugins(
        &self,
        raw: &BTreeMap<String, Spanned<RawOverride>>,
    ) -> Result<BTreeMap<String, Override>, Error> {
        raw.iter()
            .map(|(name, at)| {
                let section_name = format!("[plugin.{name}]");
                let section = self.section(&section_name);
                let words = Override::read(section, section.line(at), at.get_ref())?;
                Ok((name.clone(), words))
            })
            .collect()
    }
}

/// 1 to 63 of these bytes, `-` and `_`.
pub(super) fn is_token(text: &str, is_allowed: impl Fn(&u8) -> bool) -> Option<String> {
    let ok = |byte: &u8| is_allowed(byte) || matches!(byte, b'-' | b'_');
    ((1..=63).contains(&text.len()) && text.as_bytes().iter().all(ok)).then(|| text.to_owned())
}
