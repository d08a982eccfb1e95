//! Takes objects that held bodies, has those erased that no other event has.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::pull;

use super::{Done, Error};
use crate::broker::{DEADLETTER, EVENTS, LEDGER, open, read};
use crate::claim_check;

/// Where references to objects stand.
const REFERENCES: [(&str, &str); 3] = [
    (EVENTS, "d365.>"),
    (DEADLETTER, "dead.>"),
    (LEDGER, "ledger.dead.>"),
];

/// An object is known by its digest, so two events with the same body have the same one.
pub(super) async fn erase(
    context: &Context,
    bodies: &BTreeSet<String>,
    done: &mut Done,
) -> Result<(), Error> {
    if bodies.is_empty() {
        return Ok(());
    }
    let shared = referred_to(context, bodies).await?;
    for body in bodies.difference(&shared) {
        done.bodies += usize::from(claim_check::erase(context, body).await?);
    }
    done.shared = shared.into_iter().collect();
    Ok(())
}

async fn referred_to(
    context: &Context,
    bodies: &BTreeSet<String>,
) -> Result<BTreeSet<String>, Error> {
    let mut found = BTreeSet::new();
    for (name, subject) in REFERENCES {
        let stream = open(context, name).await?;
        let what = pull::Config {
            filter_subject: subject.to_owned(),
            headers_only: true,
            ..pull::Config::default()
        };
        read(&stream, what, |message| {
            let object = message.headers.as_ref().and_then(claim_check::taken_out);
            if let Some(object) = object.filter(|object| bodies.contains(*object)) {
                found.insert(object.to_owned());
            }
            ControlFlow::Continue(())
        })
        .await?;
    }
    Ok(found)
}
