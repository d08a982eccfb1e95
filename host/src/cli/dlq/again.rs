//! Takes a dead letter of the gateway, gives its events to the event store, once they can be understood.

use anyhow::bail;
use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use axum::http;
use bytes::Bytes;

use super::replay::store;
use crate::config::SourceKind;
use crate::gateway::Origin;
use crate::gateway::outgoing::{Outgoing, SOURCE_ENVIRONMENT, SOURCE_KIND};
use crate::gateway::understand::{Item, form, understand};

/// Reads the body once more and publishes what is in it: a host of a later version may
/// understand what an earlier one did not. Gives the sequence of the last event.
pub(super) async fn through_the_gateway(
    context: &Context,
    headers: &HeaderMap,
    body: &Bytes,
) -> anyhow::Result<u64> {
    let fact = |name: &str| headers.get(name).map_or("", |value| value.as_str());
    let kind = match fact(SOURCE_KIND) {
        "dataverse" => SourceKind::Dataverse,
        "fno" => SourceKind::Fno,
        "eventgrid" => SourceKind::EventGrid,
        "cloudevents" => SourceKind::CloudEvents,
        other => bail!("its header {SOURCE_KIND} is {other:?}, which is no kind of source"),
    };
    let origin = Origin {
        kind,
        environment: fact(SOURCE_ENVIRONMENT),
    };
    let request = request(headers);
    let items = understand(&origin, form(kind, &request)?, &request, body)?;
    let mut outgoing = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Item::Event(event, subject) => outgoing.push(Outgoing::event(*event, subject)),
            Item::Undecodable { error, .. } => bail!(
                "it is still not understood: {error}; have it sent again in a form that is, \
                 then discard it"
            ),
        }
    }
    let mut last = 0;
    for Outgoing {
        subject,
        headers,
        payload,
        ..
    } in outgoing
    {
        last = store(context, subject, headers, payload).await?;
    }
    Ok(last)
}

/// The headers of the request, as far as the dead letter has them.
fn request(headers: &HeaderMap) -> http::HeaderMap {
    let mut request = http::HeaderMap::new();
    for (name, values) in headers.iter() {
        let name: &str = name.as_ref();
        let Ok(name) = name.parse::<http::HeaderName>() else {
            continue;
        };
        for value in values {
            if let Ok(value) = value.as_str().parse() {
                request.append(&name, value);
            }
        }
    }
    request
}
