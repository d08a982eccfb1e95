//! Takes `[plugin.<name>]` and a manifest, gives the manifest that counts.

use std::collections::BTreeMap;

use super::Error;
use super::raw::RawOverride;
use crate::manifest::raw::{
    self, CapabilitiesWords, DeliveryWords, LimitsWords, RawCapabilities, RawDelivery, RawLimits,
    RawRetry, RetryWords,
};
use crate::manifest::section::Section;
use crate::manifest::subject::is_subset;
use crate::manifest::{About, Capabilities, Conflict, Error as FileError, Manifest, Origin};

const DIGEST: &str = "a digest such as sluice build prints it: \"sha256:\" and 64 hex digits";

/// What the operator says about one plug-in.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    file: String,
    line: usize,
    delivery: DeliveryWords,
    retry: RetryWords,
    limits: LimitsWords,
    capabilities: CapabilitiesWords,
    /// Line of each capability that is narrowed.
    lines: BTreeMap<&'static str, usize>,
    config: BTreeMap<String, String>,
    /// The only build that is run.
    pub digest: Option<String>,
}

/// Whether an origin is within another one.
fn within(narrow: &str, wide: &str) -> bool {
    let both = (Origin::parse(narrow), Origin::parse(wide));
    matches!(both, (Some(narrow), Some(wide)) if wide.covers(&narrow))
}

impl Override {
    pub(super) fn read(
        section: Section<'_>,
        line: usize,
        raw: &RawOverride,
    ) -> Result<Self, FileError> {
        let raw = raw.clone();
        let delivery = RawDelivery {
            ordering: raw.ordering,
            max_in_flight: raw.max_in_flight,
            partitions: raw.partitions,
            timeout: raw.timeout,
            ttl: raw.ttl,
        };
        let retry = RawRetry {
            max_attempts: raw.max_attempts,
            initial: raw.initial,
            factor: raw.factor,
            max: raw.max,
            jitter: raw.jitter,
            on_exhausted: raw.on_exhausted,
        };
        let limits = RawLimits {
            memory: raw.memory,
            isolation: raw.isolation,
            state_history: raw.state_history,
        };
        let capabilities = RawCapabilities {
            http: raw.http,
            emit: raw.emit,
            state: raw.state,
            secrets: raw.secrets,
        };
        let lines = [
            (
                "http",
                capabilities.http.as_ref().map(|at| section.line(at)),
            ),
            (
                "emit",
                capabilities.emit.as_ref().map(|at| section.line(at)),
            ),
            (
                "state",
                capabilities.state.as_ref().map(|at| section.line(at)),
            ),
            (
                "secrets",
                capabilities.secrets.as_ref().map(|at| section.line(at)),
            ),
        ];
        Ok(Self {
            file: section.document.file.clone(),
            line,
            delivery: DeliveryWords::read(section, &delivery)?,
            retry: RetryWords::read(section, &retry)?,
            limits: LimitsWords::read(section, &limits)?,
            capabilities: CapabilitiesWords::read(section, &capabilities)?,
            lines: lines
                .into_iter()
                .filter_map(|(key, line)| Some((key, line?)))
                .collect(),
            config: raw::config(section, &raw.config)?,
            digest: section.parsed("digest", &raw.digest, DIGEST, |text| {
                let hex = text.strip_prefix("sha256:")?;
                let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
                is_digest.then(|| text.to_ascii_lowercase())
            })?,
        })
    }

    pub(super) fn apply(&self, manifest: Manifest) -> Result<Manifest, Error> {
        self.only_narrows(&manifest)?;
        let mut config = manifest.config;
        config.extend(self.config.clone());
        let manifest = Manifest {
            delivery: self.delivery.over(manifest.delivery),
            retry: self.retry.over(manifest.retry),
            limits: self.limits.over(manifest.limits),
            capabilities: self.capabilities.over(manifest.capabilities),
            config,
            ..manifest
        };
        match manifest.conflict() {
            None => Ok(manifest),
            Some(Conflict { about, reason }) => Err(Error::Override {
                file: self.file.clone(),
                line: self.line,
                plugin: manifest.name,
                key: match about {
                    About::Subjects => "subjects",
                    About::Retry => "max",
                    About::Blocking => "on_exhausted",
                    About::Saga(key) => key,
                    About::Projection(key) => key,
                },
                reason,
            }),
        }
    }

    fn only_narrows(&self, manifest: &Manifest) -> Result<(), Error> {
        let Capabilities {
            http,
            emit,
            state,
            secrets,
        } = &manifest.capabilities;
        let narrowed = &self.capabilities;
        let equal = |one: &str, other: &str| one == other;
        let asked_state = if *state {
            vec!["true".to_owned()]
        } else {
            Vec::new()
        };
        let state = narrowed
            .state
            .filter(|state| *state)
            .map(|_| vec!["true".to_owned()]);
        self.within(manifest, "http", narrowed.http.as_deref(), http, within)?;
        self.within(manifest, "emit", narrowed.emit.as_deref(), emit, is_subset)?;
        self.within(manifest, "state", state.as_deref(), &asked_state, equal)?;
        self.within(
            manifest,
            "secrets",
            narrowed.secrets.as_deref(),
            secrets,
            equal,
        )
    }

    fn within(
        &self,
        manifest: &Manifest,
        key: &'static str,
        granted: Option<&[String]>,
        asked: &[String],
        covers: fn(&str, &str) -> bool,
    ) -> Result<(), Error> {
        let beyond = granted
            .unwrap_or_default()
            .iter()
            .find(|grant| !asked.iter().any(|asked| covers(grant, asked)));
        let Some(found) = beyond else { return Ok(()) };
        Err(Error::Widened {
            file: self.file.clone(),
            line: self.lines.get(key).copied().unwrap_or(self.line),
            plugin: manifest.name.clone(),
            key,
            found: found.clone(),
            asked: format!("{asked:?}"),
        })
    }
}
