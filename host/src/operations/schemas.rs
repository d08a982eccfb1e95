//! Takes shapes that were learnt or imported, and ways between versions, gives them to the registry, written down in the audit.

use async_nats::jetstream::Context;
use serde_json::{Value, json};
use sluicegate_schema::{REQUIRED_AFTER, Shape, Upcast, UpcastError};

use super::{Who, audit};
use crate::broker::ReadError;
use crate::clock;
use crate::manifest::TypePattern;
use crate::schemas::drifts;
use crate::schemas::known::{Known, OfType};
use crate::schemas::learning::{Scope, Told, learn, look};
use crate::schemas::registry::{self, Kept};
use crate::schemas::upcasts::{self, Record};

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
    /// What should be an upcast is none.
    #[error(transparent)]
    Steps(#[from] UpcastError),
    /// There is nothing before the first version.
    #[error("there is no way to version {0}: found no version before it; expected 2 or more")]
    First(u32),
    /// An event of an earlier version is not one of this version after the steps.
    #[error(
        "{fit} older events of the store are of version {version} after these steps, and event {id} is not: {reason}; nothing was changed"
    )]
    Unfit {
        /// The version that they lead to.
        version: u32,
        /// Events that came out right before.
        fit: u64,
        /// The event.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
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

/// Makes steps the way from the version before to this one, when each older event of the store
/// that could be tried is one of this version after them. Gives how many were.
///
/// # Errors
/// When the steps are none, there is no such version, an event of the store does not come out
/// right, or it could not be written down or kept.
pub async fn put_upcast(
    context: &Context,
    who: &Who,
    (event_type, version): (&str, u32),
    steps: Value,
) -> Result<u64, Error> {
    let upcast = Upcast::read(&steps)?;
    if version < 2 {
        return Err(Error::First(version));
    }
    let known = Known::default();
    known.read(context).await?;
    let of_type = known.of_type(event_type).filter(|one| one.has(version));
    let none = || registry::Error::None(format!("{event_type} with version {version}"));
    let of_type = of_type.ok_or_else(none)?;
    let fit = tried(
        context,
        event_type,
        &of_type.with_upcast(version, upcast),
        version,
    )
    .await?;
    let detail = json!({ "version": version, "tried": fit });
    audit::record(context, who, "upcast-schema", event_type, detail).await?;
    let record = Record {
        event_type: event_type.to_owned(),
        version,
        since: clock::rfc3339(clock::unix_millis()),
        steps,
    };
    upcasts::put(context, &record).await?;
    Ok(fit)
}

/// Takes the way to a version away: older events come as they are.
///
/// # Errors
/// When it could not be written down, or the registry does not answer.
pub async fn remove_upcast(
    context: &Context,
    who: &Who,
    (event_type, version): (&str, u32),
) -> Result<(), Error> {
    let detail = json!({ "version": version, "removed": true });
    audit::record(context, who, "upcast-schema", event_type, detail).await?;
    Ok(upcasts::remove(context, event_type, version).await?)
}

/// How many older events of the store are of the version after its steps: all that there are.
async fn tried(
    context: &Context,
    event_type: &str,
    of_type: &OfType,
    version: u32,
) -> Result<u64, Error> {
    let scope = Scope {
        types: vec![TypePattern::Exact(event_type.to_owned())],
        since: None,
        newest: NEWEST,
    };
    let mut fit = 0;
    let mut unfit = None;
    look(context, &scope, |told| {
        let Told::Body(event, mut body) = told else {
            return;
        };
        let named = of_type.named(event_type, event.dataschema.as_deref());
        let standing = event
            .data
            .as_deref()
            .and_then(|data| of_type.standing(data));
        let from = standing.and_then(|standing| standing.oldest(named));
        let Some(from) = from.filter(|from| *from < version && unfit.is_none()) else {
            return;
        };
        let made = of_type.upcast(&mut body, from, version);
        let wrong = match made {
            Ok(()) => of_type.misfits(&body, version),
            Err(error) => Some(error.to_string()),
        };
        match wrong {
            None => fit += 1,
            Some(reason) => unfit = Some((event.id, reason)),
        }
    })
    .await?;
    match unfit {
        None => Ok(fit),
        Some((id, reason)) => Err(Error::Unfit {
            version,
            fit,
            id,
            reason,
        }),
    }
}
