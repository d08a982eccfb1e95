//! Takes an event that a guest emitted and the event it was handling, gives the complete one and its subject.

use sha2::{Digest, Sha256};
use sluicegate_d365::slot;

use super::store::{Abort, CallContext, Emitted, Labels, MAX_VALUE};
use crate::encode::core_attributes;
use crate::event::{AttributeValue, Event};
use crate::hex::hex;
use crate::ledger::inbox::InboxId;
use crate::manifest::subject_matches;

/// An event that has passed this many plug-ins goes round in circles.
pub const MAX_HOPS: i32 = 8;

/// Bytes of a subject: the broker closes the connection that sends a longer line than it reads.
const MAX_SUBJECT: usize = 255;
/// Extensions of an event,
const MAX_EXTENSIONS: usize = 100;
/// and bytes of all its attributes: encoded, and with the largest body, it is still one message.
const MAX_ATTRIBUTES: usize = 32 << 10;
/// Bytes of an idempotency key, which is their hex digits.
const IDEMPOTENCY_BYTES: usize = 16;
/// What a message costs beside its event.
const OVERHEAD: usize = 1024;

/// Checks the grant, fills what was left empty, and checks the result.
///
/// `index` counts the events of this call: the id comes from it and from the idempotency
/// key, so that a call that is repeated emits the same event again.
pub fn complete(
    subject: &str,
    mut event: Event,
    call: &CallContext,
    index: usize,
    labels: &Labels,
    granted: &[String],
) -> Result<Emitted, Abort> {
    check_subject(subject, granted)?;
    let size = event.data.as_ref().map_or(0, bytes::Bytes::len);
    if MAX_VALUE < size {
        return Err(Abort::Limit(format!(
            "the event emitted to {subject} has a body of {size} bytes; {MAX_VALUE} are allowed"
        )));
    }
    let cause = &call.event;
    if event.id.is_empty() {
        event.id = format!("{}-{index}", call.idempotency_key);
    }
    if event.source.is_empty() {
        event.source = format!("/sluicegate/{}", labels.plugin);
    }
    if event.time.is_none() {
        event.time = Some(chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
    }
    let inherited = [
        ("partitionkey", Some(call.key.clone())),
        (
            "correlationid",
            Some(
                cause
                    .text("correlationid")
                    .unwrap_or((&cause.id).into())
                    .into_owned(),
            ),
        ),
        ("causationid", Some(cause.id.clone())),
        (
            "traceparent",
            // Without traces, what the cause carried is carried on.
            call.span
                .traceparent()
                .or_else(|| cause.text("traceparent").map(Into::into)),
        ),
        ("tracestate", cause.text("tracestate").map(Into::into)),
    ];
    for (name, value) in inherited {
        if let Some(value) = value
            && event.extension(name).is_none()
        {
            event
                .extensions
                .push((name.to_owned(), AttributeValue::Text(value)));
        }
    }
    event.extensions.retain(|(name, _)| name != "sluicehops");
    event.extensions.push((
        "sluicehops".to_owned(),
        AttributeValue::Integer(call.hops.unwrap_or_else(|| hops(cause)) + 1),
    ));
    crate::event::validate(&event).map_err(|error| {
        Abort::Forbidden(format!(
            "the event emitted to {subject} is not a valid CloudEvent: {error}"
        ))
    })?;
    let (count, size) = (event.extensions.len(), attributes(&event));
    if MAX_EXTENSIONS < count || MAX_ATTRIBUTES < size {
        return Err(Abort::Limit(format!(
            "the event emitted to {subject} has {count} extensions and {size} bytes of attributes; \
             {MAX_EXTENSIONS} and {MAX_ATTRIBUTES} are allowed"
        )));
    }
    let subject = format!("{subject}.{}", slot(event.partition_key()));
    Ok(Emitted { subject, event })
}

/// Bytes of an event, as they count against what a call may stage.
pub fn size(event: &Event) -> usize {
    let body = event.data.as_ref().map_or(0, bytes::Bytes::len);
    body + attributes(event) + OVERHEAD
}

fn attributes(event: &Event) -> usize {
    let own = core_attributes(event).map(|(_, value)| value.len());
    let extensions = event.extensions.iter();
    let extensions = extensions.map(|(name, value)| {
        let value = match value {
            AttributeValue::Text(text) => text.len(),
            AttributeValue::Integer(_) | AttributeValue::Boolean(_) => "-2147483648".len(),
        };
        name.len() + value
    });
    own.chain(extensions).sum()
}

/// How many plug-ins have emitted an event in the chain that led to this one.
pub fn hops(event: &Event) -> i32 {
    match event.extension("sluicehops") {
        Some(AttributeValue::Integer(hops)) => *hops,
        Some(AttributeValue::Text(hops)) => hops.parse().unwrap_or(0),
        Some(AttributeValue::Boolean(_)) | None => 0,
    }
}

/// The same for every attempt, host and replay of an event by a plug-in.
pub fn idempotency_key(plugin: &str, event: &InboxId) -> String {
    let mut hash = Sha256::new();
    hash.update(plugin);
    hash.update([0]);
    hash.update(event);
    let digest = hash.finalize();
    hex(digest.get(..IDEMPOTENCY_BYTES).unwrap_or(&digest))
}

fn check_subject(subject: &str, granted: &[String]) -> Result<(), Abort> {
    if MAX_SUBJECT < subject.len() {
        let length = subject.len();
        return Err(Abort::Limit(format!(
            "a subject to emit to has {length} bytes; {MAX_SUBJECT} are allowed"
        )));
    }
    let tokens: Vec<&str> = subject.split('.').collect();
    let plain = tokens.iter().all(|token| {
        !token.is_empty()
            && token.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte)
            })
    });
    let ours =
        matches!(tokens.as_slice(), ["d365", origin, ..] if !["replay", "saga"].contains(origin));
    if tokens.len() != 6 || !plain || !ours {
        return Err(Abort::Forbidden(format!(
            "{subject:?} is not a subject to emit to: it has to be \
             d365.<origin>.<environment>.<kind>.<name>.<action> in [a-z0-9_-], without the slot"
        )));
    }
    // A grant may be written with or without the slot's place.
    let with_slot = format!("{subject}.0");
    if granted
        .iter()
        .any(|grant| subject_matches(grant, subject) || subject_matches(grant, &with_slot))
    {
        return Ok(());
    }
    Err(Abort::Forbidden(format!(
        "emitting to {subject} is not granted; capabilities.emit allows {granted:?}"
    )))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ledger::state::StateCache;
    use crate::telemetry::traces::Span;

    #[test]
    fn only_granted_plain_subjects_pass() {
        let granted = ["d365.custom.>", "d365.replay.>", "d365.saga.>"].map(str::to_owned);
        assert!(check_subject("d365.custom.x.business.order.raised", &granted).is_ok());
        for subject in [
            "d365.dataverse.x.record.account.update",
            "d365.custom.x.business.order",
            "d365.custom.x.business.order.raised.3",
            "d365.custom.X.business.order.raised",
            "d365.custom.*.business.order.raised",
            "d365.custom..business.order.raised",
            "d365.replay.credit-hold.business.order.raised",
            "d365.saga.order-to-cash.3",
            "d365.saga.order-to-cash.business.order.raised",
            "ledger.p.0.log.a.b",
            "d365.custom.x.business.order.rai\r\nsed",
            "d365.custom.x.business.order.rai sed",
            "",
        ] {
            let error = check_subject(subject, &granted).expect_err(subject);
            assert!(matches!(error, Abort::Forbidden(_)), "{subject}");
        }
    }

    #[test]
    fn what_would_not_fit_a_message_is_refused() {
        let granted = ["d365.custom.>".to_owned()];
        let long = format!("d365.custom.x.business.{}.raised", "o".repeat(300));
        let error = check_subject(&long, &granted).expect_err("long");
        assert!(matches!(error, Abort::Limit(_)), "{error}");
        let text = |length| AttributeValue::Text("x".repeat(length));
        let with = |extensions| Event {
            event_type: "t".to_owned(),
            extensions,
            ..Event::default()
        };
        let long = with(vec![("a".to_owned(), text(MAX_ATTRIBUTES))]);
        let many = (0..=MAX_EXTENSIONS).map(|n| (format!("a{n}"), text(1)));
        for event in [long, with(many.collect())] {
            let error = complete_one(event).expect_err("too much");
            assert!(matches!(error, Abort::Limit(_)), "{error}");
        }
        let some = with(vec![("a".to_owned(), text(MAX_ATTRIBUTES / 2))]);
        let fits = complete_one(some).expect("fits");
        assert!(MAX_ATTRIBUTES / 2 < size(&fits.event));
    }

    fn complete_one(emitted: Event) -> Result<Emitted, Abort> {
        let cause = Event {
            id: "cause".to_owned(),
            source: "/dataverse/contoso".to_owned(),
            event_type: "d365.dataverse.account.update".to_owned(),
            extensions: vec![
                (
                    "correlationid".to_owned(),
                    AttributeValue::Text("c".to_owned()),
                ),
                (
                    "sluicehops".to_owned(),
                    AttributeValue::Text("2".to_owned()),
                ),
            ],
            ..Event::default()
        };
        let call = CallContext {
            idempotency_key: idempotency_key("watch", &cause.inbox_id()),
            event: Arc::new(cause),
            key: "account/1".to_owned(),
            state: Arc::new(StateCache::in_memory()),
            hops: None,
            span: Span::default(),
        };
        let labels = Labels {
            plugin: "watch".to_owned(),
            version: "1.0.0".to_owned(),
        };
        let granted = ["d365.custom.>".to_owned()];
        let subject = "d365.custom.contoso.business.seen.raised";
        complete(subject, emitted, &call, 3, &labels, &granted)
    }

    #[test]
    fn what_the_guest_left_empty_is_filled_the_same_way_each_time() {
        let emitted = || Event {
            event_type: "d365.custom.seen.raised".to_owned(),
            extensions: vec![("sluicehops".to_owned(), AttributeValue::Integer(0))],
            ..Event::default()
        };
        let one = complete_one(emitted()).expect("complete");
        let again = complete_one(emitted()).expect("complete");
        assert_eq!(one.event.id, again.event.id);
        assert!(one.event.id.ends_with("-3"));
        let text = |name: &str| one.event.text(name).map(std::borrow::Cow::into_owned);
        assert_eq!(text("source").as_deref(), Some("/sluicegate/watch"));
        assert_eq!(text("partitionkey").as_deref(), Some("account/1"));
        assert_eq!(text("correlationid").as_deref(), Some("c"));
        assert_eq!(text("causationid").as_deref(), Some("cause"));
        // The guest cannot set the count back.
        assert_eq!(text("sluicehops").as_deref(), Some("3"));
        let slot = slot("account/1");
        assert_eq!(
            one.subject,
            format!("d365.custom.contoso.business.seen.raised.{slot}")
        );
    }

    #[test]
    fn an_event_without_a_type_is_refused_with_its_subject() {
        let error = complete_one(Event::default()).expect_err("no type");
        assert!(
            error
                .to_string()
                .contains("d365.custom.contoso.business.seen.raised")
        );
    }
}
