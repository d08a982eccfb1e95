//! Takes shapes that were learnt or imported, gives the versions of the registry, written down in the audit.

use async_nats::jetstream::Context;
use serde_json::json;
use sluicegate_schema::{REQUIRED_AFTER, Shape};

use super::{Who, audit};
use crate::broker::ReadError;
use crate::manifest::TypePattern;
use crate::schemas::drifts;
use crate::schemas::learning::{Scope, learn};
use crate::schemas::registry::{self, Kept};

/// Messages of the store that are looked at for what is accepted.
const NEWEST: u64 = 100_000;

/// Why a schema was not kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry cannot be read, or does not take it.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The event store cannot be read.
    #[error("the event store cannot be read: {0}")]
    Store(#[from] ReadError),
    /// Nothing of the type is there to be accepted.
    #[error(
        "no event of {0} is among the newest {NEWEST} messages of the store; `sluice schema import` takes a schema from a file"
    )]
    NoEvent(String),
    /// It could not be written down.
    #[error(transparent)]
    Audit(#[from] audit::Error),
}

/// Where a schema comes from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// What the audit calls the deed.
    pub action: &'static str,
    /// What the version says of itself.
    pub origin: &'a str,
}

/// Makes a shape the next version of its type, unless the newest one says the same.
///
/// # Errors
/// When it could not be written down, or the registry does not take it.
pub async fn keep(
    context: &Context,
    who: &Who,
    (event_type, shape, seen): (&str, &Shape, u64),
    Source { action, origin }: Source<'_>,
) -> Result<Kept, Error> {
    let newest = registry::newest(context, event_type).await?;
    if let Some(newest) = newest
        && registry::is_same(&newest, shape)
    {
        return Ok(Kept::Same(newest));
    }
    let detail = json!({ "origin": origin, "seen": seen });
    audit::record(context, who, action, event_type, detail).await?;
    Ok(registry::keep(context, event_type, (shape, seen), origin).await?)
}

/// Makes what is in the event store the next version of a type, beside what the newest one says,
/// and takes away what was reported against that. Gives how many reports there were.
///
/// # Errors
/// When there is no schema or no event of the type, or it could not be written down or kept.
pub async fn accept(
    context: &Context,
    who: &Who,
    event_type: &str,
) -> Result<(Kept, usize), Error> {
    let newest = registry::one(context, event_type, None).await?;
    let scope = Scope {
        types: vec![TypePattern::Exact(event_type.to_owned())],
        since: None,
        newest: NEWEST,
    };
    let mut learnt = learn(context, &scope, |_| {}).await?;
    let Some((mut shape, seen)) = learnt.shapes.remove(event_type) else {
        return Err(Error::NoEvent(event_type.to_owned()));
    };
    let known = newest.shape()?;
    let least = known.members.of.clamp(1, REQUIRED_AFTER);
    shape.absorb(known);
    // What was required of few bodies stays so while all have it.
    shape.settle(least);
    let reported = drifts::list(context, Some(event_type)).await?;
    let detail = json!({ "version": newest.version, "drifts": reported.len(), "seen": seen });
    audit::record(context, who, "accept-schema", event_type, detail).await?;
    let kept = registry::keep(context, event_type, (&shape, seen), "accepted").await?;
    let gone = drifts::forget(context, event_type).await?;
    Ok((kept, gone))
}
