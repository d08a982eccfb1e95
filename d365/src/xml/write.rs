//! Takes an element and how its values are written, gives JSON as .NET's serializer writes it.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::date::wire;
use super::element::{Element, Type};
use super::kinds::{Class, Kind, typed};
use super::{CONTEXT, CONTRACTS, Error};
use crate::error::excerpt;

/// Namespaces that .NET makes of its own; only what follows is written.
const OF_CLASSES: &str = "http://schemas.datacontract.org/2004/07/";

/// SOAP 1.1 and 1.2.
const ENVELOPES: [&str; 2] = [
    "http://schemas.xmlsoap.org/soap/envelope/",
    "http://www.w3.org/2003/05/soap-envelope",
];

/// The body of an execution context, which may stand in an envelope of SOAP.
pub(super) fn context((name, root): &(Type, Element)) -> Result<Vec<u8>, Error> {
    let context = match (name.name.as_str(), name.namespace.as_str()) {
        (CONTEXT, CONTRACTS) => Some(root),
        ("Envelope", namespace) if ENVELOPES.contains(&namespace) => {
            let body = root.children.iter().find(|part| part.name == "Body");
            let mut inside = body.into_iter().flat_map(|body| &body.children);
            inside.find(|part| part.name == CONTEXT)
        }
        _ => None,
    };
    let Some(context) = context.filter(|context| !context.is_nil) else {
        let found = format!(
            "{} of the namespace \"{}\"",
            excerpt(&name.name),
            excerpt(&name.namespace)
        );
        return Err(Error::Root { found });
    };
    let mut json = Json::default();
    json.object(context, Some(Class::Context), None)?;
    Ok(json.bytes)
}

#[derive(Default)]
struct Json {
    bytes: Vec<u8>,
}

impl Json {
    /// Any value. `boxed`: it stands where .NET has an `object`, so that a class says its name.
    fn value(&mut self, element: &Element, declared: Kind, boxed: bool) -> Result<(), Error> {
        if element.is_nil {
            self.raw("null");
            return Ok(());
        }
        let kind = element.typed.as_ref().map_or(declared, typed);
        // A type that is no other than the member's is not said again.
        let boxed = boxed || (element.typed.is_some() && kind != declared);
        match kind {
            Kind::Object(class) => {
                let tag = boxed.then(|| tag(element.typed.as_ref(), class));
                self.object(element, Some(class), tag)
            }
            Kind::List(item) => self.list(element, *item, boxed),
            Kind::Pair(key, value) => self.pair(element, (*key, *value), boxed),
            Kind::Any if element.is_empty() => {
                self.raw("{}");
                Ok(())
            }
            Kind::Any => Err(found(element, "an element with i:type or i:nil")),
            Kind::Unknown => self.unknown(element),
            Kind::Text
            | Kind::Bool
            | Kind::Number
            | Kind::Date
            | Kind::Bytes
            | Kind::Char
            | Kind::Enum(_) => self.leaf(element, kind),
        }
    }

    fn leaf(&mut self, element: &Element, kind: Kind) -> Result<(), Error> {
        if !element.children.is_empty() {
            return Err(found(element, "text without elements"));
        }
        let text = element.text.trim_matches([' ', '\t', '\r', '\n']);
        match kind {
            Kind::Bool => match text {
                "true" | "1" => self.raw("true"),
                "false" | "0" => self.raw("false"),
                _ => return Err(found(element, "true or false")),
            },
            Kind::Number if is_number(text) => self.raw(text),
            Kind::Number => {
                return Err(found(
                    element,
                    "a number such as -12345678901.0987 or 1E+20",
                ));
            }
            Kind::Date => match wire(text) {
                Some(date) => self.text(&date),
                None => return Err(found(element, "a date such as 2024-05-01T10:00:00Z")),
            },
            Kind::Bytes => self.numbers(element)?,
            Kind::Char => match text.parse().ok().and_then(char::from_u32) {
                Some(c) => self.text(c.encode_utf8(&mut [0; 4])),
                None => return Err(found(element, "the number of a character")),
            },
            // A name that came later is told by itself.
            Kind::Enum(names) => match names.iter().position(|name| *name == text) {
                Some(number) => self.raw(&number.to_string()),
                None => self.text(text),
            },
            _ => self.text(&element.text),
        }
        Ok(())
    }

    /// Base64 as the list of its bytes.
    fn numbers(&mut self, element: &Element) -> Result<(), Error> {
        let mut text = element.text.clone();
        text.retain(|c| !c.is_ascii_whitespace());
        let bytes = STANDARD.decode(text);
        let bytes = bytes.map_err(|_| found(element, "base64"))?;
        self.raw("[");
        for (i, byte) in bytes.into_iter().enumerate() {
            self.comma(i);
            self.raw(&byte.to_string());
        }
        self.raw("]");
        Ok(())
    }

    /// An object of a class, or of none that is known; its type goes first.
    fn object(
        &mut self,
        element: &Element,
        class: Option<Class>,
        tag: Option<String>,
    ) -> Result<(), Error> {
        only_elements(element)?;
        self.raw("{");
        let mut names = BTreeSet::new();
        if let Some(tag) = &tag {
            self.raw("\"__type\":");
            self.text(tag);
        }
        for child in &element.children {
            if !names.insert(child.name.as_str()) {
                return Err(found(element, "each member once").within(&child.name));
            }
            self.comma(names.len() - 1 + usize::from(tag.is_some()));
            self.text(&child.name);
            self.raw(":");
            let kind = class.map_or(Kind::Unknown, |class| class.member(&child.name));
            let written = self.value(child, kind, false);
            written.map_err(|error| error.within(&child.name))?;
        }
        self.raw("}");
        Ok(())
    }

    fn list(&mut self, element: &Element, item: Kind, boxed: bool) -> Result<(), Error> {
        only_elements(element)?;
        self.raw("[");
        for (i, child) in element.children.iter().enumerate() {
            self.comma(i);
            let written = self.value(child, item, boxed);
            written.map_err(|error| error.within(&format!("{}[{i}]", child.name)))?;
        }
        self.raw("]");
        Ok(())
    }

    /// `KeyValuePairOf…` with `key` and `value`; `KeyValueOf…` of a dictionary has `Key` and `Value`.
    fn pair(
        &mut self,
        element: &Element,
        (key, value): (Kind, Kind),
        boxed: bool,
    ) -> Result<(), Error> {
        only_elements(element)?;
        let [first, second] = element.children.as_slice() else {
            return Err(found(element, "a key and a value"));
        };
        let are_named =
            first.name.eq_ignore_ascii_case("key") && second.name.eq_ignore_ascii_case("value");
        if !are_named {
            return Err(found(element, "a key and a value"));
        }
        self.raw("{");
        if boxed {
            let name = element.name.replacen("KeyValueOf", "KeyValuePairOf", 1);
            self.raw("\"__type\":");
            self.text(&format!("{name}:#System.Collections.Generic"));
            self.raw(",");
        }
        for (name, child, kind) in [("key", first, key), ("value", second, value)] {
            self.raw(if name == "key" {
                "\"key\":"
            } else {
                ",\"value\":"
            });
            let written = self.value(child, kind, false);
            written.map_err(|error| error.within(name))?;
        }
        self.raw("}");
        Ok(())
    }

    /// What the table does not have: an object, a list where names repeat, or text.
    fn unknown(&mut self, element: &Element) -> Result<(), Error> {
        let mut names = BTreeSet::new();
        if !element
            .children
            .iter()
            .all(|child| names.insert(&child.name))
        {
            return self.list(element, Kind::Unknown, false);
        }
        let tag = element.typed.as_ref().map(name_of);
        let is_empty_object = tag.is_some() && element.is_empty();
        match is_empty_object || !element.children.is_empty() {
            true => self.object(element, None, tag),
            false => self.leaf(element, Kind::Text),
        }
    }

    fn comma(&mut self, before: usize) {
        if before > 0 {
            self.raw(",");
        }
    }

    fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A text, escaped as .NET does: `/` too, so that `</script>` can stand in none.
    fn text(&mut self, text: &str) {
        self.raw("\"");
        let mut plain = text;
        let is_escaped = |c: char| c < ' ' || matches!(c, '"' | '\\' | '/');
        while let Some((before, rest)) = plain.find(is_escaped).map(|at| plain.split_at(at)) {
            self.raw(before);
            let mut chars = rest.chars();
            match chars.next() {
                Some(c @ ('"' | '\\' | '/')) => self.bytes.extend([b'\\', c as u8]),
                Some(c) => self.raw(&format!("\\u{:04x}", u32::from(c))),
                None => {}
            }
            plain = chars.as_str();
        }
        self.raw(plain);
        self.raw("\"");
    }
}

/// What `__type` says of a class: what `i:type` did, or the table where a list says it once.
fn tag(said: Option<&Type>, class: Class) -> String {
    said.map_or_else(
        || {
            let (name, namespace) = class.contract();
            let namespace = namespace.to_owned();
            name_of(&Type { namespace, name })
        },
        name_of,
    )
}

fn name_of(said: &Type) -> String {
    match said.namespace.strip_prefix(OF_CLASSES) {
        Some(short) => format!("{}:#{short}", said.name),
        None => format!("{}:{}", said.name, said.namespace),
    }
}

fn only_elements(element: &Element) -> Result<(), Error> {
    match element.text.trim().is_empty() {
        true => Ok(()),
        false => Err(found(element, "elements without text")),
    }
}

fn found(element: &Element, accepted: &'static str) -> Error {
    let (typed, text) = (&element.typed, element.text.trim());
    let found = match (element.children.len(), typed) {
        (0, None) => format!("\"{}\"", excerpt(text)),
        (0, Some(typed)) => format!("\"{}\" of the type {}", excerpt(text), excerpt(&typed.name)),
        (1, _) => "one element".to_owned(),
        (count, _) => format!("{count} elements"),
    };
    Error::Value {
        at: String::new(),
        found,
        accepted,
    }
}

/// A number of JSON; all that .NET writes are, but `INF` and `NaN`.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}
