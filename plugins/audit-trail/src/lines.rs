//! Takes an event, gives its lines: who did what to which field, and when.

use std::borrow::Cow;

use serde::Serialize;
use sluicegate_guest::Event;
use sluicegate_guest::d365::{BusinessEvent, Entity, Json, RemoteExecutionContext, Value};

/// A text column may hold a megabyte; what is over this many bytes is cut, and says so.
const LONGEST_TEXT: usize = 32 << 10;

/// The image that the platform adds by itself holds the record's name only.
const PLATFORM_IMAGE: &str = "AsynchronousStepPrimaryName";

/// What stands in the other columns of a line about a business event.
const ENVELOPE: [&str; 4] = [
    "BusinessEventId",
    "EventTime",
    "EventTimeIso8601",
    "InitiatingUserAADObjectId",
];

#[derive(Serialize)]
struct Line<'a> {
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<&'a str>,
    /// Id of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<&'a str>,
    message: &'a str,
    /// Absent when the message is about no field.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// Absent when not known; null when there was nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<Json>,
    /// Absent when the record is gone; null when the field was cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<Json>,
}

/// One field with what it was and what it is.
type Change<'a> = (&'a str, Option<Json>, Option<Json>);

/// One line a field of a record, one a parameter of any other message.
pub(crate) fn of_record(
    event: &Event,
    context: &RemoteExecutionContext,
) -> Result<Vec<String>, serde_json::Error> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    for (field, value) in context.changes() {
        changes.push((field, before(context, field).map(plain), Some(plain(value))));
    }
    let kind = context.message().to_ascii_lowercase();
    match kind.as_str() {
        "create" | "update" => {}
        "delete" => changes.extend(lost(context)),
        _ => changes.extend(parameters(context, &kind)),
    }
    let when = context.when("modifiedon").map(|date| date.rfc3339());
    let who = event.text("d365user").map(Cow::into_owned);
    let who = who.or_else(|| context.initiating_user_id.clone());
    write(
        event.time().or(when.as_deref()),
        who.as_deref(),
        context.message(),
        changes,
    )
}

/// One line a member of a business event.
pub(crate) fn of_business(
    event: &Event,
    business: &BusinessEvent,
) -> Result<Vec<String>, serde_json::Error> {
    let body = business.to_json();
    let members = body.as_object().into_iter().flatten();
    let changes = members
        .filter(|(name, _)| !ENVELOPE.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), None, Some(cut(value.clone()))))
        .collect();
    let when = business.time().map(|date| date.rfc3339());
    write(
        event.time().or(when.as_deref()),
        business.user().as_deref(),
        &business.business_event_id,
        changes,
    )
}

fn write(
    when: Option<&str>,
    who: Option<&str>,
    message: &str,
    changes: Vec<Change<'_>>,
) -> Result<Vec<String>, serde_json::Error> {
    let line = |field, old, new| {
        serde_json::to_string(&Line {
            when,
            who,
            message,
            field,
            old,
            new,
        })
    };
    if changes.is_empty() {
        return Ok(vec![line(None, None, None)?]);
    }
    let lines = changes.into_iter();
    lines
        .map(|(field, old, new)| line(Some(field), old, new))
        .collect()
}

/// What a deleted record held, as far as its images tell.
fn lost(context: &RemoteExecutionContext) -> Vec<Change<'_>> {
    let mut lost: Vec<Change<'_>> = Vec::new();
    for image in images(context) {
        for (field, value) in image.attributes.iter() {
            if !lost.iter().any(|(known, _, _)| *known == field) {
                lost.push((field, Some(plain(value)), None));
            }
        }
    }
    lost
}

/// The parameters of a message that is not about columns. `Target` names the record, and the
/// columns that it may hold are written down already.
fn parameters<'a>(context: &'a RemoteExecutionContext, kind: &str) -> Vec<Change<'a>> {
    let parameters = context.input_parameters.iter();
    let parameters = parameters.filter(|(name, _)| *name != "Target");
    let change = |(name, value): (&'a str, &'a Value)| match (kind, name) {
        ("assign", "Assignee") => {
            let owner = before(context, "ownerid").map(plain);
            ("ownerid", owner, Some(plain(value)))
        }
        _ => (name, None, Some(plain(value))),
    };
    parameters.map(change).collect()
}

fn before<'a>(context: &'a RemoteExecutionContext, field: &str) -> Option<&'a Value> {
    images(context).find_map(|image| image.attribute(field))
}

/// The images from before, those of the plug-in step first.
fn images(context: &RemoteExecutionContext) -> impl Iterator<Item = &Entity> {
    let of = |platform| {
        let images = context.pre_entity_images.iter();
        let images = images.filter(move |image| (image.name == PLATFORM_IMAGE) == platform);
        images.map(|image| &image.entity)
    };
    of(false).chain(of(true))
}

/// The value without the wire's wrapping, every digit as it came.
fn plain(value: &Value) -> Json {
    cut(match value {
        Value::Money(money) => Json::Number(money.number().clone()),
        Value::Choice(choice) => choice.value.into(),
        Value::Choices(choices) => choices.iter().map(|choice| choice.value).collect(),
        Value::Date(date) => date.rfc3339().into(),
        Value::List(items) => items.iter().map(plain).collect(),
        Value::Boxed { value, .. } => plain(value),
        Value::Reference(reference) => {
            let parts = [
                ("table", &reference.logical_name),
                ("id", &reference.id),
                ("name", &reference.name),
            ];
            let mut object = object_of(parts);
            if !reference.key_attributes.is_empty() {
                let keys = reference.key_attributes.iter();
                let keys = keys.map(|(key, value)| (key.to_owned(), plain(value)));
                object.insert("key".to_owned(), Json::Object(keys.collect()));
            }
            Json::Object(object)
        }
        // Records in a parameter, relationships, queries: as they came.
        other => other.to_json(),
    })
}

fn object_of(parts: [(&str, &Option<String>); 3]) -> serde_json::Map<String, Json> {
    let known = parts.into_iter();
    let known = known.filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into())));
    known.collect()
}

fn cut(value: Json) -> Json {
    match value {
        Json::String(text) if LONGEST_TEXT < text.len() => {
            let kept = text.floor_char_boundary(LONGEST_TEXT);
            let kept = text.get(..kept).unwrap_or_default();
            format!("{kept}… ({} bytes in all)", text.len()).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
