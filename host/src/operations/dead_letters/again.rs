//! Takes a dead letter of the gateway, gives its events to the event store, once they can be understood.

use async_nats::HeaderMap;
use axum::http;
use bytes::Bytes;

use super::{Error, Outgoing as Message};
use crate::config::SourceKind;
use crate::gateway::Origin;
use crate::gateway::outgoing::{Outgoing, SOURCE_ENVIRONMENT, SOURCE_KIND};
use crate::gateway::understand::{Item, form, understand};

/// Reads the body once more, and gives the messages of what is in it: a host of a later
/// version, or another body, may be understood where the earlier one was not.
pub(super) fn through_the_gateway(
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Vec<Message>, Error> {
    let refused = |reason: String| Error::NotUnderstood(reason);
    let fact = |name: &str| headers.get(name).map_or("", |value| value.as_str());
    let kind = match fact(SOURCE_KIND) {
        "dataverse" => SourceKind::Dataverse,
        "fno" => SourceKind::Fno,
        "eventgrid" => SourceKind::EventGrid,
        "cloudevents" => SourceKind::CloudEvents,
        other => {
            let reason =
                format!("its header {SOURCE_KIND} is {other:?}, which is no kind of source");
            return Err(refused(reason));
        }
    };
    let origin = Origin {
        kind,
        environment: fact(SOURCE_ENVIRONMENT),
    };
    let request = request(headers);
    let form = form(kind, &request).map_err(|problem| refused(problem.to_string()))?;
    let items = understand(&origin, form, &request, body);
    let items = items.map_err(|problem| refused(problem.to_string()))?;
    let mut messages = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Item::Event(event, subject) => {
                let Outgoing {
                    subject,
                    headers,
                    payload,
                    ..
                } = Outgoing::event(*event, subject);
                messages.push((subject, headers, payload));
            }
            Item::Undecodable { error, .. } => {
                return Err(refused(format!(
                    "it is still not understood: {error}; have it sent again in a form that is, \
                     or edit it, or discard it"
                )));
            }
        }
    }
    Ok(messages)
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
