//! Takes the shape of a type's bodies, gives Rust source that a plug-in reads such a body with.
//!
//! Of a Dataverse execution context these are the columns of the Target, as `Record<T>` of the SDK
//! reads them, and those of each image; of a message without a record its parameters and results.
//! Of a business event of Finance and Operations they are its own members, for
//! `BusinessEvent<T>`, and of any other body all members, for `Data<T>`. Names come from outside:
//! none of them stands in the source but as an identifier, in a literal or in a comment.

mod columns;
mod json;
mod names;
mod print;
#[cfg(test)]
mod tests;
mod types;

use crate::path::join;
use crate::shape::{Content, Members, Shape};
use names::comment;
use types::{Format, Place, Types, What};

/// What the SDK takes out of a business event before a plug-in's own type sees the others.
const ENVELOPE: [&str; 11] = [
    "BusinessEventId",
    "BusinessEventLegalEntity",
    "ContextRecordSubject",
    "ControlNumber",
    "EventId",
    "EventTime",
    "EventTimeIso8601",
    "InitiatingUserAADObjectId",
    "MajorVersion",
    "MinorVersion",
    "ParentContextRecordSubjects",
];

/// The image that the platform adds by itself, with nothing but the id and the primary name.
const PLATFORM_IMAGE: &str = "AsynchronousStepPrimaryName";

/// The source of a module for a plug-in, as rustfmt would have it: structs for what bodies of this
/// type have, by this version of its schema. The same shape always gives the same source.
pub fn rust(shape: &Shape, event_type: &str, version: u32) -> String {
    let mut types = Types::default();
    let name = names::of_event(event_type);
    let has = |name: &str| shape.members.named.contains_key(name);
    if has("MessageName") && has("InputParameters") {
        context(&mut types, shape, &name);
    } else if has("BusinessEventId") {
        business_event(&mut types, shape, &name);
    } else {
        data(&mut types, shape, &name);
    }
    print::source(&types.items, event_type, version)
}

fn context(types: &mut Types, shape: &Shape, name: &str) {
    let inputs = pairs(shape, "InputParameters");
    let target = inputs.and_then(|inputs| columns::of_record(&inputs.named.get("Target")?.shape));
    if let Some(columns) = target {
        let place = types.claim("/InputParameters/Target/Attributes", name);
        row(types, &place, columns);
    } else {
        parameters(types, shape, name);
    }
    for (member, kind, method) in [
        ("PreEntityImages", "PreImage", "before"),
        ("PostEntityImages", "PostImage", "after"),
    ] {
        let images = pairs(shape, member).into_iter();
        for (image, found) in images.flat_map(|images| &images.named) {
            let columns = columns::of_record(&found.shape);
            let (Some(columns), false) = (columns, image == PLATFORM_IMAGE) else {
                continue;
            };
            let path = join(&join(&join("", member), image), "Attributes");
            let name = format!("{name}{kind}{}", names::pascal(image));
            let place = types.claim(&path, &name);
            let called = comment(image);
            let doc = vec![format!(
                "Columns of the image: `record.{method}::<{}>(\"{called}\")?`.",
                place.name
            )];
            types.item(&place, doc, |types| {
                types.members(columns, &place, Format::Row)
            });
        }
    }
    if types.items.is_empty() {
        let place = types.claim("/InputParameters/Target/Attributes", name);
        row(types, &place, &Members::default());
    }
}

fn row(types: &mut Types, place: &Place, columns: &Members) {
    let doc = vec![
        format!("Columns of the record: `Record<{}>`.", place.name),
        String::new(),
        "`None` is a column that was cleared, or that the message does not carry; `changed` tells"
            .to_owned(),
        "which.".to_owned(),
    ];
    types.item(place, doc, |types| {
        types.members(columns, place, Format::Row)
    });
}

/// Of a message that is not about the columns of one record.
fn parameters(types: &mut Types, shape: &Shape, name: &str) {
    for (member, kind, field) in [
        ("InputParameters", "Parameters", "input_parameters"),
        ("OutputParameters", "Results", "output_parameters"),
    ] {
        let Some(pairs) = pairs(shape, member) else {
            continue;
        };
        let place = types.claim(&join("", member), &format!("{name}{kind}"));
        let doc = vec![format!(
            "{kind} of the message: `event.record()?.{field}.row::<{}>()?`.",
            place.name
        )];
        types.item(&place, doc, |types| {
            types.members(pairs, &place, Format::Row)
        });
    }
}

fn business_event(types: &mut Types, shape: &Shape, name: &str) {
    let mut members = shape.members.clone();
    let is_own = |name: &String| !ENVELOPE.iter().any(|of| of.eq_ignore_ascii_case(name));
    members.named.retain(|name, _| is_own(name));
    let place = types.claim("", name);
    let doc = vec![format!(
        "Its own members: `BusinessEvent<{}>`, which derefs to what all business events have.",
        place.name
    )];
    types.item(&place, doc, |types| {
        types.members(&members, &place, Format::Json)
    });
}

fn data(types: &mut Types, shape: &Shape, name: &str) {
    let place = types.claim("", name);
    let doc = vec![format!("The body: `Data<{}>`.", place.name)];
    types.item(&place, doc, |types| match json::is_object(shape) {
        true => types.members(&shape.members, &place, Format::Json),
        false => What::Alias(types.value(shape, &place, Format::Json)),
    });
}

/// The pairs of a list that is a member.
fn pairs<'a>(shape: &'a Shape, name: &str) -> Option<&'a Members> {
    match &shape.members.named.get(name)?.shape.content {
        Content::Pairs(pairs) => Some(pairs),
        Content::Nothing | Content::Items(_) | Content::Any => None,
    }
}
