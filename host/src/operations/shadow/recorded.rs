//! Takes what a plug-in has emitted, from the event store, puts it onto disk by what caused it.

use sha2::{Digest, Sha256};

use super::compare::{fingerprint, output};
use super::store::{Recorded, Store};
use super::{Error, Progress};
use crate::delivery::Delivery;
use crate::digest::first;
use crate::event::Event;
use crate::manifest::reduce;
use crate::manifest::subject::{concrete, first_clash};
use crate::operations::history::Export;
use crate::ownership::SLOTS;

/// Outputs that are put onto disk at once.
const GROUP: usize = 5_000;
/// Hex digits of an idempotency key.
const KEY_DIGITS: usize = 32;

/// The subjects that have all that may be emitted to these.
pub(super) fn subjects(granted: &[String]) -> Vec<String> {
    let slots: Vec<u8> = (0..SLOTS).collect();
    let subjects = granted.iter().flat_map(|grant| concrete(grant, &slots));
    let subjects = reduce(subjects.collect());
    match first_clash(&subjects) {
        // The broker has no consumer for those.
        Some(_) => vec!["d365.>".to_owned()],
        None => subjects,
    }
}

/// What an output is found by: the idempotency key in its id; else, where the plug-in gave it an
/// id of its own, the id of the event that caused it.
fn cause(plugin: &str, event: &Event) -> Option<u128> {
    if let Some((key, index)) = event.id.split_once('-')
        && key.len() == KEY_DIGITS
        && index.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(key) = u128::from_str_radix(key, 16)
    {
        return Some(key);
    }
    let source = event.source.strip_prefix("/sluicegate/")?;
    let causation = event.text("causationid")?;
    (source == plugin).then(|| by_id(&causation))
}

/// What the outputs of this event are found by, with ids of the plug-in's own.
pub(super) fn by_id(event_id: &str) -> u128 {
    let mut hash = Sha256::new();
    hash.update("cause");
    hash.update([0]);
    hash.update(event_id);
    u128::from_be_bytes(first(&hash.finalize()))
}

/// What they are found by with the host's.
pub(super) fn by_key(idempotency_key: &str) -> u128 {
    u128::from_str_radix(idempotency_key, 16).unwrap_or_default()
}

/// Reads on from where `progress` is, to the end. False when `goes_on` said so before that.
pub(super) async fn record(
    mut outputs: Export,
    store: &Store,
    plugin: &str,
    ignored: &[String],
    progress: &mut Progress,
    mut goes_on: impl FnMut(u64) -> bool,
) -> Result<bool, Error> {
    let mut found: Vec<Recorded> = Vec::new();
    let mut count = 0;
    while let Some(delivery) = outputs.next().await? {
        count += 1;
        progress.recorded = delivery.sequence;
        found.extend(of(&delivery, plugin, ignored));
        if GROUP <= found.len() {
            store.record(&found, progress)?;
            found.clear();
        }
        if !goes_on(count) {
            store.record(&found, progress)?;
            return Ok(false);
        }
    }
    progress.all_recorded = true;
    store.record(&found, progress)?;
    Ok(true)
}

fn of(delivery: &Delivery, plugin: &str, ignored: &[String]) -> Option<Recorded> {
    let event = &delivery.event().ok()?.event;
    let cause = cause(plugin, event)?;
    let fingerprint = match delivery.is_envelope {
        true => 0,
        false => fingerprint(&output(&delivery.subject, event, ignored)),
    };
    Some(((cause, delivery.sequence), fingerprint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::AttributeValue;
    use crate::plugin::emit::idempotency_key;

    #[test]
    fn an_output_is_found_by_its_key_or_by_what_caused_it() {
        let input = Event {
            id: "in".to_owned(),
            source: "/a".to_owned(),
            ..Event::default()
        };
        let key = idempotency_key("watch", &input.inbox_id());
        let mut output = Event {
            id: format!("{key}-0"),
            source: "/contoso/own".to_owned(),
            ..Event::default()
        };
        assert_eq!(cause("watch", &output), Some(by_key(&key)));
        output.id = "hold-7".to_owned();
        assert_eq!(cause("watch", &output), None);
        output.source = "/sluicegate/watch".to_owned();
        let caused = (
            "causationid".to_owned(),
            AttributeValue::Text("in".to_owned()),
        );
        output.extensions.push(caused);
        assert_eq!(cause("watch", &output), Some(by_id("in")));
        assert_eq!(cause("other", &output), None);
    }

    #[test]
    fn grants_that_share_subjects_are_read_as_one() {
        let granted = |grants: &[&str]| {
            let grants: Vec<String> = grants.iter().map(|grant| (*grant).to_owned()).collect();
            subjects(&grants)
        };
        assert_eq!(
            granted(&["d365.custom.>", "d365.custom.x.business.y.z"]),
            ["d365.custom.>"]
        );
        assert_eq!(
            granted(&["d365.custom.x.business.y.z"]),
            ["d365.custom.x.business.y.z.*"]
        );
        let clash = ["d365.custom.*.business.y.z", "d365.custom.x.*.y.z"];
        assert_eq!(granted(&clash), ["d365.>"]);
        assert!(granted(&[]).is_empty());
    }
}
