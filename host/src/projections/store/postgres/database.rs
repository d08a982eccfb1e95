//! Takes the address of a PostgreSQL, gives connections to it, and the answers to what is asked over
//! them, or which kind of failure it was.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

use super::tls::Tls;
use crate::config::Postgresql;
use crate::plugin::http::trust;
use crate::projections::store::Error;

/// Connections that wait to be used.
const MAX_IDLE: usize = 8;
/// A question that takes longer is ended,
const READING: Duration = Duration::from_secs(5);
/// and whatever else does.
const PATIENCE: Duration = Duration::from_secs(30);
/// A connection that cannot be had by then cannot be had.
const CONNECT: Duration = Duration::from_secs(5);
/// What is sent and not acknowledged for so long breaks the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);

/// How a connection is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// For one statement.
    Alone,
    /// For statements that see one moment, and take no longer than a question may.
    Reads,
    /// For statements that count together or not at all.
    Writes,
}

/// A PostgreSQL, for all projections of this host.
pub(in crate::projections) struct Database {
    config: Config,
    tls: Tls,
    runtime: Handle,
    idle: Mutex<Vec<Client>>,
    /// Who this host is, where one of several is to write.
    pub(super) host: String,
}

impl Database {
    /// Asks nothing yet. Only where a runtime is.
    pub(in crate::projections) fn new(
        address: &Postgresql,
        host: &str,
    ) -> Result<Arc<Self>, Error> {
        let trusted = trust("projections.ca", address.ca.as_deref())?;
        let mut config = address.config.clone();
        config.application_name("sluicegate");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNACKNOWLEDGED);
        }
        Ok(Arc::new(Self {
            config,
            tls: Tls::new(trusted),
            runtime: Handle::current(),
            idle: Mutex::default(),
            host: host.to_owned(),
        }))
    }

    /// Has something asked, on a thread that may wait. After a failure the connection is not used
    /// again, and with it goes what it had begun.
    pub(super) fn ask<T>(
        &self,
        place: &str,
        how: How,
        what: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        let asking = async {
            let client = match self.take() {
                Some(client) => client,
                None => self.connect().await?,
            };
            let begin = match how {
                How::Alone => None,
                How::Reads => Some("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
                How::Writes => Some("BEGIN"),
            };
            if let Some(begin) = begin {
                let limit = if how == How::Reads { READING } else { PATIENCE };
                let limit = limit.as_millis();
                let begin = format!("{begin}; SET LOCAL statement_timeout TO {limit}");
                client.batch_execute(&begin).await?;
            }
            let answer = what(&client).await?;
            if begin.is_some() {
                client.batch_execute("COMMIT").await?;
            }
            self.put_back(client);
            Ok(answer)
        };
        let asked = self
            .runtime
            .block_on(async { timeout(PATIENCE, Box::pin(asking)).await });
        match asked {
            Ok(answer) => answer.map_err(|error| failed(place, how, &error)),
            Err(_) => Err(Error::Away(format!("no answer within {PATIENCE:?}"))),
        }
    }

    fn take(&self) -> Option<Client> {
        let mut idle = self.idle.lock();
        loop {
            let client = idle.pop()?;
            if !client.is_closed() {
                return Some(client);
            }
        }
    }

    fn put_back(&self, client: Client) {
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(client);
        }
    }

    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        // It ends with its client; what breaks it, the client is told.
        self.runtime.spawn(async move { drop(connection.await) });
        // What is not named with its schema is the system's, whatever others have made. A host that
        // stands still in the middle of a commit holds up the others no longer than that.
        let session = "SET search_path TO pg_catalog; SET client_min_messages TO warning; \
                       SET lock_timeout TO '10s'; SET idle_in_transaction_session_timeout TO '10s'";
        client.batch_execute(session).await?;
        Ok(client)
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let config = (self.config.get_hosts(), self.config.get_dbname());
        formatter.debug_tuple("Database").field(&config).finish()
    }
}

/// Which kind of failure it is.
fn failed(place: &str, how: How, error: &tokio_postgres::Error) -> Error {
    let Some(told) = error.as_db_error() else {
        return Error::Away(chain(error));
    };
    let (code, reason) = (told.code(), told.message());
    // Connections, resources, shutdowns, and what two transactions did to each other: another time
    // it may go well. So may it when somebody has mended names and passwords.
    let is_away = ["08", "28", "3D", "40", "53", "55", "57", "58"];
    if how == How::Reads && *code == SqlState::QUERY_CANCELED {
        return Error::TooLong(READING);
    }
    let reason = format!("{reason} ({})", code.code());
    match is_away.iter().any(|class| code.code().starts_with(class)) {
        true => Error::Away(reason),
        false => Error::Postgres {
            place: place.to_owned(),
            reason,
        },
    }
}

fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
