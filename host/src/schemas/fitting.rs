//! Takes an event on its way, gives the version of its schema that it is one of, and the event as who gets it reads it.
//!
//! At the gateway and in bridges it is said in `dataschema`. Before a call the policy decides
//! about what fits no version, and what is older than the version that the plug-in reads is
//! made one of that.

use std::sync::Arc;

use super::known::{Known, OfType, Standing};
use super::learning::tells;
use super::registry::{URIS, uri};
use crate::config::{Policy, Schemas};
use crate::event::Event;
use crate::manifest::Reads;
use crate::metrics::Metrics;
use crate::plugin::call::Failure;

/// Says what an event is one of. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Fitting(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    known: Known,
    policies: Schemas,
    metrics: Metrics,
}

/// Where an event that fits no version was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// By the gateway or a bridge, on its way into the event store.
    Arriving,
    /// Before a plug-in was called with it.
    Delivered,
}

impl Seen {
    /// As it stands in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arriving => "arriving",
            Self::Delivered => "delivered",
        }
    }
}

impl Fitting {
    /// Of a host. One that is made by `default` changes nothing.
    pub fn new(known: Known, policies: Schemas, metrics: Metrics) -> Self {
        Self(Some(Arc::new(Inner {
            known,
            policies,
            metrics,
        })))
    }

    /// Says in `dataschema` what an event is one of, unless its sender has a word of its own for
    /// that; one of ours that is not right is put right, since later it is believed. An event that
    /// fits nothing is counted and goes on: the event store has what was sent. Gives the number
    /// of the body's structure, where it was looked at.
    pub fn stamp(&self, event: &mut Event) -> Option<u64> {
        let inner = self.0.as_ref()?;
        let event_type = &event.event_type;
        if inner.policies.policy(event_type) == Policy::Off {
            return None;
        }
        let of_type = inner.known.of_type(event_type)?;
        let standing = standing(&of_type, event)?;
        let version = standing.newest(named(&of_type, event));
        if version.is_none() {
            let (id, words) = (&event.id, &standing.misfits);
            tracing::debug!(event_type, id, words, "the body fits no schema");
            inner.metrics.schema_misfit(Seen::Arriving);
        }
        let said = event.dataschema.as_deref();
        if said.is_none_or(|said| said.starts_with(URIS)) {
            event.dataschema = version.map(|version| uri(event_type, version));
        }
        Some(standing.structure)
    }

    /// The event as whoever reads such versions is to have it; none where that is as it came.
    ///
    /// # Errors
    /// [`Failure::Misfit`]: it fits no version and the policy is to make a dead letter of that,
    /// or it cannot be made one of the version that is read. [`Failure::Host`]: the registry was
    /// not read yet.
    pub fn as_read(&self, event: &Event, reads: &[Reads]) -> Result<Option<Arc<Event>>, Failure> {
        let Some(inner) = &self.0 else {
            return Ok(None);
        };
        let event_type = &event.event_type;
        let reads = reads.iter().find(|one| one.event_type == *event_type);
        let wanted = reads.and_then(|reads| reads.version);
        let policy = inner.policies.policy(event_type);
        if !inner.known.is_read() && (wanted.is_some() || policy == Policy::DeadLetter) {
            let error = "the schemas of the registry were not read yet".to_owned();
            return Err(Failure::Host(error));
        }
        if policy == Policy::Off && wanted.is_none() {
            return Ok(None);
        }
        let Some(of_type) = inner.known.of_type(event_type) else {
            return Ok(None);
        };
        let named = named(&of_type, event);
        // Whoever wrote that down has looked.
        let said = named.filter(|version| policy != Policy::DeadLetter && of_type.has(*version));
        let version = match said {
            Some(version) => version,
            None => {
                let Some(standing) = standing(&of_type, event) else {
                    return Ok(None);
                };
                match standing.oldest(named) {
                    Some(version) => version,
                    None => return inner.misfit(policy, event, &standing),
                }
            }
        };
        match wanted {
            Some(wanted) if of_type.leads(version, wanted) => {
                upcast(&of_type, event, version, wanted).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }
}

impl Inner {
    /// What becomes of an event that fits no version, before a call.
    fn misfit(
        &self,
        policy: Policy,
        event: &Event,
        standing: &Standing,
    ) -> Result<Option<Arc<Event>>, Failure> {
        if policy != Policy::Off {
            self.metrics.schema_misfit(Seen::Delivered);
        }
        match policy {
            Policy::Off | Policy::Warn => Ok(None),
            Policy::DeadLetter => Err(Failure::Misfit(format!(
                "the body fits no version of the schema of {}; of {}",
                event.event_type, standing.misfits
            ))),
        }
    }
}

/// The version that the event says it is one of.
fn named(of_type: &OfType, event: &Event) -> Option<u32> {
    of_type.named(&event.event_type, event.dataschema.as_deref())
}

/// What its body is one of; none where that is cut short, stands elsewhere, or is no JSON.
fn standing(of_type: &OfType, event: &Event) -> Option<Arc<Standing>> {
    of_type.newest()?;
    of_type.standing(event.data.as_ref().filter(|_| tells(event))?)
}

fn upcast(of_type: &OfType, event: &Event, from: u32, to: u32) -> Result<Arc<Event>, Failure> {
    let event_type = &event.event_type;
    let failed = |error: String| {
        Failure::Misfit(format!(
            "the event is one of version {from} of {event_type} and cannot be made one of \
             version {to}, which the plug-in reads: {error}"
        ))
    };
    let data = event.data.as_deref().unwrap_or_default();
    let body = serde_json::from_slice(data);
    let mut body = body.map_err(|error: serde_json::Error| failed(error.to_string()))?;
    let made = of_type.upcast(&mut body, from, to);
    made.map_err(|error| failed(error.to_string()))?;
    let data = serde_json::to_vec(&body).map_err(|error| failed(error.to_string()))?;
    Ok(Arc::new(Event {
        data: Some(data.into()),
        dataschema: Some(uri(event_type, to)),
        ..event.clone()
    }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::manifest::TypePattern;

    const TYPE: &str = "d365.custom.order.placed";

    fn event(body: &Value, dataschema: Option<&str>) -> Event {
        Event {
            id: "1".to_owned(),
            source: "/orders".to_owned(),
            event_type: TYPE.to_owned(),
            datacontenttype: Some("application/json".to_owned()),
            dataschema: dataschema.map(str::to_owned),
            data: Some(Bytes::from(body.to_string())),
            ..Event::default()
        }
    }

    /// Version 1 has a credit that is a text, version 2 a creditlimit that is a number.
    fn fitting(policy: Policy) -> Fitting {
        let known = Known::of(
            TYPE,
            &[json!({ "credit": "10" }), json!({ "creditlimit": 10 })],
            &[(
                2,
                json!([
                    { "op": "rename", "path": "/credit", "to": "creditlimit" },
                    { "op": "convert", "path": "/creditlimit", "to": "number" },
                ]),
            )],
        );
        let policies = Schemas {
            policy: Policy::Off,
            types: vec![(TypePattern::Exact(TYPE.to_owned()), policy)],
        };
        Fitting::new(known, policies, Metrics::default())
    }

    fn reads(version: u32) -> Vec<Reads> {
        vec![Reads {
            event_type: TYPE.to_owned(),
            version: Some(version),
            members: Vec::new(),
        }]
    }

    #[test]
    fn an_event_says_which_version_it_is_one_of() {
        let stamped = |policy, body: Value, said: Option<&str>| {
            let mut event = event(&body, said);
            fitting(policy).stamp(&mut event);
            event.dataschema
        };
        let uri = |n: u32| Some(format!("sluice:schema:d365/custom/order/placed:{n}"));
        assert_eq!(
            stamped(Policy::Warn, json!({ "credit": "1" }), None),
            uri(1)
        );
        assert_eq!(
            stamped(Policy::Warn, json!({ "creditlimit": 1 }), None),
            uri(2)
        );
        assert_eq!(
            stamped(Policy::Off, json!({ "creditlimit": 1 }), None),
            None
        );
        assert_eq!(
            stamped(Policy::Warn, json!({ "creditlimit": "x" }), None),
            None
        );
        let own = Some("https://contoso.com/order");
        let kept = stamped(Policy::Warn, json!({ "credit": "1" }), own);
        assert_eq!(kept.as_deref(), own);
        // One of ours that is not right would be believed later.
        let (first, second) = (uri(1), uri(2));
        let old = json!({ "credit": "1" });
        assert_eq!(stamped(Policy::Warn, old, second.as_deref()), first);
        let wrong = json!({ "creditlimit": "x" });
        assert_eq!(stamped(Policy::Warn, wrong, second.as_deref()), None);
    }

    #[test]
    fn an_older_event_is_given_as_the_version_that_is_read() {
        let old = event(&json!({ "credit": "74999.950" }), None);
        let given = fitting(Policy::Off).as_read(&old, &reads(2));
        let given = given.expect("fits").expect("is changed");
        assert_eq!(
            given.data.as_deref(),
            Some(&br#"{"creditlimit":74999.950}"#[..])
        );
        assert!(
            given
                .dataschema
                .as_deref()
                .is_some_and(|uri| uri.ends_with(":2"))
        );
        assert_eq!(given.id, old.id);

        let as_it_came = |event: &Event, reads: &[Reads]| {
            let given = fitting(Policy::Off).as_read(event, reads).expect("fits");
            assert_eq!(given, None);
        };
        as_it_came(&old, &reads(1));
        as_it_came(&old, &[]);
        as_it_came(&event(&json!({ "creditlimit": 1 }), None), &reads(2));
        as_it_came(&event(&json!({ "creditlimit": 1 }), None), &reads(1));
    }

    #[test]
    fn of_versions_that_say_the_same_of_it_the_event_says_which() {
        // As it is learnt: what was known before is known still.
        let mut both = sluicegate_schema::Shape::of(&json!({ "credit": "1" }));
        both.absorb(sluicegate_schema::Shape::of(&json!({ "creditlimit": "1" })));
        both.settle(2);
        let both = both.schema(TYPE);
        let known = Known::default();
        known.of_versions(
            TYPE,
            &[
                json!({ "type": "object", "properties": { "credit": { "type": "string" } } }),
                both,
            ],
        );
        known.of_upcast(
            TYPE,
            2,
            json!([{ "op": "rename", "path": "/credit", "to": "creditlimit" }]),
        );
        let fitting = Fitting::new(known, Schemas::default(), Metrics::default());
        let body = json!({ "credit": "1" });
        let given = |dataschema: Option<&str>| {
            let given = fitting
                .as_read(&event(&body, dataschema), &reads(2))
                .expect("fits");
            given.and_then(|event| event.data.clone())
        };
        let made = Some(Bytes::from_static(br#"{"creditlimit":"1"}"#));
        assert_eq!(given(None), made);
        assert_eq!(
            given(Some("sluice:schema:d365/custom/order/placed:1")),
            made
        );
        assert_eq!(
            given(Some("sluice:schema:d365/custom/order/placed:2")),
            None
        );
        let mut arriving = event(&body, None);
        fitting.stamp(&mut arriving);
        assert!(arriving.dataschema.is_some_and(|uri| uri.ends_with(":2")));
    }

    #[test]
    fn what_cannot_be_made_one_of_the_version_is_not_given_at_all() {
        let old = event(&json!({ "credit": "a lot" }), None);
        let given = fitting(Policy::Off).as_read(&old, &reads(2));
        let error = given.expect_err("no number").to_string();
        assert!(
            error.contains("version 1") && error.contains("/creditlimit"),
            "{error}"
        );
    }

    #[test]
    fn the_policy_decides_about_what_fits_nothing() {
        let wrong = event(&json!({ "creditlimit": "x" }), None);
        for policy in [Policy::Off, Policy::Warn] {
            assert_eq!(fitting(policy).as_read(&wrong, &[]).expect("goes on"), None);
        }
        let error = fitting(Policy::DeadLetter).as_read(&wrong, &[]);
        let error = error.expect_err("a dead letter").to_string();
        assert!(
            error.contains("version 2: /creditlimit is retyped (number, found string)"),
            "{error}"
        );
        let cut_short = Event {
            data: None,
            ..wrong
        };
        let fitting = fitting(Policy::DeadLetter);
        assert_eq!(fitting.as_read(&cut_short, &[]).expect("goes on"), None);
    }

    #[test]
    fn nobody_is_called_before_the_registry_was_read() {
        let policies = Schemas {
            policy: Policy::Warn,
            types: Vec::new(),
        };
        let fitting = Fitting::new(Known::default(), policies, Metrics::default());
        let event = event(&json!({}), None);
        assert_eq!(fitting.as_read(&event, &[]).expect("goes on"), None);
        let waits = fitting.as_read(&event, &reads(2)).expect_err("waits");
        assert!(matches!(waits, Failure::Host(_)), "{waits}");
    }
}
