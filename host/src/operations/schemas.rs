//! Takes shapes that were learnt or imported, gives the versions of the registry, written down in the audit.

use async_nats::jetstream::Context;
use serde_json::json;
use sluicegate_schema::Shape;

use super::{Who, audit};
use crate::schemas::registry::{self, Kept};

/// Why a schema was not kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry cannot be read, or does not take it.
    #[error(transparent)]
    Registry(#[from] registry::Error),
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
