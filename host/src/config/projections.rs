//! Takes `[projections]`, gives where the rows of projections are kept.

use std::path::PathBuf;

use tokio_postgres::config::Host;

use super::Error;
use super::raw::RawProjections;
use super::resolve::File;

const URL: &str = "an address such as \"postgresql://user:password@host/database\"";

/// `[projections]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Projections {
    /// Each host has files of its own, under its `data_dir`.
    #[default]
    Sqlite,
    /// The hosts share a database.
    Postgresql(Box<Postgresql>),
}

/// Where a PostgreSQL is, and whom it is trusted to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgresql {
    /// The address, with user and password; `Debug` shows no password.
    pub config: tokio_postgres::Config,
    /// PEM of authorities that are trusted beside the system's.
    pub ca: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Sqlite,
    Postgresql,
}

impl File<'_> {
    pub(super) fn projections(&self, raw: &RawProjections) -> Result<Projections, Error> {
        let section = self.section("[projections]");
        let kinds = [("sqlite", Kind::Sqlite), ("postgresql", Kind::Postgresql)];
        let kind = section.choice("store", &raw.store, &kinds)?;
        let config = section.parsed("url", &raw.url, URL, address)?;
        let ca = self.path(section, "ca", &raw.ca)?;
        if kind.unwrap_or(Kind::Sqlite) == Kind::Sqlite {
            let only = "found without store = \"postgresql\"; expected both or none";
            return match (&raw.url, &raw.ca) {
                (Some(at), _) => Err(section.rule("url", Some(at), only).into()),
                (None, Some(at)) => Err(section.rule("ca", Some(at), only).into()),
                (None, None) => Ok(Projections::Sqlite),
            };
        }
        let config = config.ok_or_else(|| section.missing("url", URL))?;
        if let Some(at) = &raw.url
            && config.get_password().is_some()
            && self.document.is_written_out(at)
        {
            let reason = "found a password in the file; write the address as \"${NAME}\" and set the variable";
            return Err(section.rule("url", Some(at), reason).into());
        }
        Ok(Projections::Postgresql(Box::new(Postgresql { config, ca })))
    }
}

/// An address of one database on hosts that are named.
fn address(text: &str) -> Option<tokio_postgres::Config> {
    let is_url = text.starts_with("postgresql://") || text.starts_with("postgres://");
    let config: tokio_postgres::Config = text.parse().ok().filter(|_| is_url)?;
    let has_host = |host: &Host| match host {
        Host::Tcp(name) => !name.is_empty(),
        #[cfg(unix)]
        Host::Unix(_) => true,
    };
    let hosts = config.get_hosts();
    let is_whole = !hosts.is_empty() && hosts.iter().all(has_host) && config.get_dbname().is_some();
    is_whole.then_some(config)
}
