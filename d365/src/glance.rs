//! Takes the bytes of an execution context, gives the facts that it is mapped by, at a glance.
//!
//! A body is read in one pass, nothing is built, and only a handful of its texts are looked
//! at. Where the bytes are not just what Dataverse writes (a member twice or in another case,
//! an id that is no text, a list of another shape, …) the answer is `None`, and
//! [`RemoteExecutionContext`](crate::RemoteExecutionContext) is to be asked.

use std::borrow::Cow;

use crate::facts::Facts;
use crate::json::without_mark;
use crate::record::is_table;
use crate::scan::{Scan, Text};
use crate::{Date, guid};

/// The members of a context that it is mapped by.
const NAMES: [&str; 16] = [
    "MessageName",
    "PrimaryEntityName",
    "PrimaryEntityId",
    "OrganizationId",
    "OwningExtension",
    "OperationId",
    "OperationCreatedOn",
    "Mode",
    "Depth",
    "CorrelationId",
    "InitiatingUserId",
    "InputParameters",
    "PreEntityImages",
    "PostEntityImages",
    "ParentContext",
    // With this one it is none.
    "BusinessEventId",
];

/// The facts of a context that is in no way unusual.
pub(crate) fn glance(body: &[u8]) -> Option<Facts<'_>> {
    let text = std::str::from_utf8(without_mark(body)).ok()?;
    let mut scan = Scan::new(text);
    let mut facts = Facts::default();
    let mut found = Found::default();
    let mut once = Once::default();
    scan.object(|scan, name| {
        let is = |known: &&str| known.eq_ignore_ascii_case(name);
        let Some(number) = NAMES.iter().position(is) else {
            return skip(scan, Shape::of(name));
        };
        once.is_first(number)?;
        match name {
            "MessageName" => facts.message = scan.text_or_null()??.unescaped()?,
            "PrimaryEntityName" => found.table = plain(scan)?,
            "PrimaryEntityId" => found.record_id = plain(scan)?,
            "OrganizationId" => facts.organization_id = plain(scan)?,
            "OwningExtension" => facts.step_id = text_of(scan, "Id")?.flatten(),
            "OperationId" => facts.operation_id = plain(scan)?,
            "OperationCreatedOn" => facts.operation_created_on = plain(scan)?,
            "Mode" => facts.mode = scan.integer_or_null()?,
            "Depth" => facts.depth = scan.integer_or_null()?,
            "CorrelationId" => facts.correlation_id = plain(scan)?,
            "InitiatingUserId" => facts.initiating_user_id = plain(scan)?,
            "InputParameters" => found.inputs = inputs(scan, &mut found.target)?,
            "PreEntityImages" | "PostEntityImages" => found.images += list(scan, Shape::Images)?,
            "ParentContext" => {
                let parent = text_of(scan, "OperationId")?;
                found.parent = parent.is_some();
                facts.parent_operation_id = parent.flatten();
            }
            // A name in another case, or a business event's.
            _ => return None,
        }
        Some(())
    })?;
    scan.end()?;
    found.into_facts(facts)
}

/// What stands in a context and is only together a fact.
#[derive(Default)]
struct Found<'a> {
    table: Option<Cow<'a, str>>,
    record_id: Option<Cow<'a, str>>,
    target: Option<Target<'a>>,
    parent: bool,
    /// How many parameters there are, if they are a list.
    inputs: Option<usize>,
    images: usize,
}

/// The Target, if that is an entity or a reference.
#[derive(Default)]
struct Target<'a> {
    table: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    modified_on: Option<Date>,
}

impl<'a> Found<'a> {
    fn into_facts(self, facts: Facts<'a>) -> Option<Facts<'a>> {
        if facts.message.trim().is_empty() {
            return None;
        }
        let target = self.target.unwrap_or_default();
        let record_id = known(self.record_id).or_else(|| known(target.id));
        let named = |name: &Cow<'_, str>| is_table(name);
        let gone = self.inputs.unwrap_or(0) == 0 && self.images == 0 && !self.parent;
        Some(Facts {
            table: self
                .table
                .filter(named)
                .or_else(|| target.table.filter(named)),
            truncated: gone && (self.inputs.is_none() || record_id.is_some()),
            record_id,
            step_id: known(facts.step_id),
            modified_on: target.modified_on,
            ..facts
        })
    }
}

/// Which of a context's members were met. One that comes twice counts as it came last, and
/// that is not for here.
#[derive(Default)]
struct Once(u32);

impl Once {
    fn is_first(&mut self, number: usize) -> Option<()> {
        let bit = 1 << number;
        let first = self.0 & bit == 0;
        self.0 |= bit;
        first.then_some(())
    }
}

/// A GUID without braces and blanks, none if it is zero.
fn known(text: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    match text? {
        Cow::Borrowed(text) => guid::known(text).map(Cow::Borrowed),
        Cow::Owned(text) => guid::known(&text).map(|text| Cow::Owned(text.to_owned())),
    }
}

fn plain<'a>(scan: &mut Scan<'a>) -> Option<Option<Cow<'a, str>>> {
    match scan.text_or_null()? {
        Some(text) => text.unescaped().map(Some),
        None => Some(None),
    }
}

/// A text of an object, or null in its place.
fn text_of<'a>(scan: &mut Scan<'a>, wanted: &'static str) -> Option<Option<Option<Cow<'a, str>>>> {
    if scan.peek()? != b'{' {
        return scan.null().map(|()| None);
    }
    let mut found = None;
    let mut once = Once::default();
    scan.object(|scan, name| {
        if name == wanted {
            found = plain(scan)?;
            once.is_first(0)
        } else if name.eq_ignore_ascii_case(wanted) {
            None
        } else {
            skip(scan, Shape::of(name))
        }
    })?;
    Some(Some(found))
}

/// The parameters: how many they are, and what the first `Target` is.
fn inputs<'a>(scan: &mut Scan<'a>, found: &mut Option<Target<'a>>) -> Option<Option<usize>> {
    if scan.peek()? != b'[' {
        return scan.null().map(|()| None);
    }
    let mut first = true;
    let count = pairs(scan, |scan, key| {
        if key == "Target" && std::mem::take(&mut first) {
            *found = target(scan)?;
            Some(())
        } else {
            skip(scan, Shape::Any)
        }
    })?;
    Some(Some(count))
}

fn target<'a>(scan: &mut Scan<'a>) -> Option<Option<Target<'a>>> {
    if scan.peek()? != b'{' {
        skip(scan, Shape::Any)?;
        return Some(None);
    }
    let mut target = Target::default();
    let mut kind = None;
    let mut once = Once::default();
    scan.object(|scan, name| {
        let is = |known: &&str| known.eq_ignore_ascii_case(name);
        let known = ["__type", "Id", "LogicalName", "Attributes"];
        let Some(number) = known.iter().position(is) else {
            return skip(scan, Shape::of(name));
        };
        once.is_first(number)?;
        match name {
            "__type" => kind = scan.text_or_null()?,
            "Id" => target.id = plain(scan)?,
            "LogicalName" => target.table = plain(scan)?,
            "Attributes" => target.modified_on = modified_on(scan)?,
            _ => return None,
        }
        Some(())
    })?;
    let Some(kind) = kind.map(Text::unescaped) else {
        return Some(None);
    };
    Some(match kind?.strip_suffix(crate::value::CONTRACTS) {
        Some("Entity:") => Some(target),
        Some("EntityReference:") => Some(Target {
            modified_on: None,
            ..target
        }),
        _ => None,
    })
}

/// The date of the first attribute of that name, of a list of attributes.
fn modified_on(scan: &mut Scan<'_>) -> Option<Option<Date>> {
    if scan.peek()? != b'[' {
        return scan.null().map(|()| None);
    }
    let mut date = None;
    let mut first = true;
    pairs(scan, |scan, key| {
        if key == "modifiedon" && std::mem::take(&mut first) {
            date = plain(scan)?.and_then(|text| Date::parse(&text).ok());
            Some(())
        } else {
            skip(scan, Shape::Any)
        }
    })?;
    Some(date)
}

/// What a member has to be, wherever it stands. That is stricter than the types are: they ask
/// it only of the members of records and contexts.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Any,
    /// A list of keys and values, or null.
    Pairs,
    /// A list of keys and objects, or null.
    Images,
    /// A list of objects, or null.
    Records,
}

impl Shape {
    fn of(name: &str) -> Self {
        let is = |known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(name));
        match name.len() {
            8 if is(&["Entities"]) => Shape::Records,
            10 if is(&["Attributes"]) => Shape::Pairs,
            13 if is(&["KeyAttributes"]) => Shape::Pairs,
            15 if is(&["FormattedValues", "InputParameters", "SharedVariables"]) => Shape::Pairs,
            15 if is(&["PreEntityImages"]) => Shape::Images,
            16 if is(&["OutputParameters"]) => Shape::Pairs,
            16 if is(&["PostEntityImages"]) => Shape::Images,
            _ => Shape::Any,
        }
    }
}

/// Reads over a value of this shape.
fn skip(scan: &mut Scan<'_>, shape: Shape) -> Option<()> {
    if shape != Shape::Any {
        return list(scan, shape).map(drop);
    }
    match scan.peek()? {
        b'{' => scan.object(|scan, name| skip(scan, Shape::of(name))),
        b'[' => scan.list(|scan| skip(scan, Shape::Any)),
        _ => scan.scalar(),
    }
}

/// Reads over a list of this shape, or null; says how many items there are.
fn list(scan: &mut Scan<'_>, shape: Shape) -> Option<usize> {
    if scan.peek()? != b'[' {
        return scan.null().map(|()| 0);
    }
    let object = |scan: &mut Scan<'_>| {
        scan.peek().filter(|byte| *byte == b'{')?;
        skip(scan, Shape::Any)
    };
    match shape {
        Shape::Pairs | Shape::Any => pairs(scan, |scan, _| skip(scan, Shape::Any)),
        Shape::Images => pairs(scan, |scan, _| object(scan)),
        Shape::Records => {
            let mut count = 0;
            scan.list(|scan| {
                count += 1;
                object(scan)
            })?;
            Some(count)
        }
    }
}

/// A list of keys and values, `value` reading each value; says how many there are.
fn pairs<'a>(
    scan: &mut Scan<'a>,
    mut value: impl FnMut(&mut Scan<'a>, &'a str) -> Option<()>,
) -> Option<usize> {
    let mut count = 0;
    scan.list(|scan| {
        count += 1;
        let mut key = None;
        let mut once = Once::default();
        scan.object(|scan, name| match name {
            "key" => {
                key = Some(scan.text_or_null()??.bare()?);
                once.is_first(0)
            }
            "value" => {
                value(scan, key?)?;
                once.is_first(1)
            }
            other => skip(scan, Shape::of(other)),
        })?;
        // Both were there, so that no name in another case stands in for one.
        (once.0 == 0b11).then_some(())
    })?;
    Some(count)
}

#[cfg(test)]
mod tests;
