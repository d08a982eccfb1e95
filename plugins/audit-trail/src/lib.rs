//! Takes every event of Dataverse and of Finance and Operations, gives a trail of changes in
//! state: one value a record, one line a field.
//!
//! The value under `<table>/<record id>` is JSON lines, the oldest first.

mod lines;
mod trail;

use sluicegate_guest::d365::{BusinessEvent, Json, RemoteExecutionContext};
use sluicegate_guest::*;

/// Writes the event's lines behind those that its record has.
#[consumer]
fn handle(event: Event) -> Outcome {
    let keep = config::parse("keep")?;
    let entry = entry(&event)?;
    let before = state::get(&entry.key).unwrap_or_default();
    state::put(&entry.key, trail::append(&before, &entry.lines, keep));
    Ok(())
}

/// What one event adds to the trail.
struct Entry {
    key: String,
    lines: Vec<String>,
}

fn entry(event: &Event) -> Result<Entry, Failure> {
    let body: Json = event.json()?;
    let mut entry = if body.get("BusinessEventId").is_some() {
        let business = BusinessEvent::from_json(body)?;
        Entry {
            key: trail::business_key(&business),
            lines: lines::of_business(event, &business)?,
        }
    } else {
        let context = RemoteExecutionContext::from_json(body)?;
        if context.is_truncated() {
            warn!("the body was over the platform's limit and came without its fields");
        }
        Entry {
            key: trail::record_key(&context),
            lines: lines::of_record(event, &context)?,
        }
    };
    entry.key = trail::short(entry.key);
    Ok(entry)
}
