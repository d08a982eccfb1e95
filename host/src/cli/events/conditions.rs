//! Takes the flags that say what events are like, gives the query.

use crate::clock;
use crate::operations::history::Query;

/// What is asked of events, wherever and whenever they were stored.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Attributes {
    /// On these subjects; `*` and `>` as NATS has them.
    #[arg(long)]
    subject: Option<String>,
    /// Of this type; `*` at the end stands for any end.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// With this partition key.
    #[arg(long)]
    key: Option<String>,
    /// With this id.
    #[arg(long)]
    id: Option<String>,
    /// With this correlation id, or with it as its own id.
    #[arg(long)]
    correlation: Option<String>,
}

/// What `find`, `export`, `compact` and `redact` ask of events.
#[derive(Debug, clap::Args)]
pub(super) struct Conditions {
    #[command(flatten)]
    attributes: Attributes,
    /// Stored at this time or later: RFC 3339, or how long ago, such as 2h.
    #[arg(long, value_parser = moment)]
    since: Option<u64>,
    /// Stored at this time or before.
    #[arg(long, value_parser = moment)]
    until: Option<u64>,
}

impl Attributes {
    pub(in crate::cli) fn query(&self) -> Query {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Query {
            subject: text(&self.subject),
            event_type: text(&self.event_type),
            key: text(&self.key),
            id: text(&self.id),
            correlation: text(&self.correlation),
            since: None,
            until: None,
        }
    }
}

impl Conditions {
    pub(super) fn query(self) -> Query {
        Query {
            since: self.since,
            until: self.until,
            ..self.attributes.query()
        }
    }
}

/// A time, or how long ago; Unix milliseconds.
pub(in crate::cli) fn moment(text: &str) -> Result<u64, String> {
    if let Some(moment) = clock::parse_rfc3339(text) {
        return Ok(moment);
    }
    let ago = humantime::parse_duration(text).map_err(|_| {
        "expected a time such as 2026-11-29T08:00:00Z, or how long ago, such as 2h".to_owned()
    })?;
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Ok(clock::unix_millis().saturating_sub(ago))
}
