//! Takes text XML, gives its elements with names and types resolved; bounded, and without DTD.

use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{QName, ResolveResult};

use super::Error;
use crate::error::excerpt;

/// The most levels: JSON is read to 127.
const DEEPEST: usize = 120;
/// The most elements.
const MOST: usize = 200_000;
/// The most attributes of one element.
const MOST_ATTRIBUTES: usize = 32;
/// The longest name or namespace in bytes: types are repeated in the JSON.
const LONGEST_NAME: usize = 200;

const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";
const SERIALIZATION: &str = "http://schemas.microsoft.com/2003/10/Serialization/";

/// An element.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// Without prefix. The namespace of a member says nothing that its name does not.
    pub(super) name: String,
    /// What `i:type` says.
    pub(super) typed: Option<Type>,
    /// `i:nil="true"`.
    pub(super) is_nil: bool,
    /// All its text, of which none is left out.
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

/// A qualified name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Element {
    /// Whether there is neither element nor text in it.
    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty() && self.text.trim().is_empty()
    }
}

/// Reads one document; gives its root, with the namespace that only a root's name needs.
pub(super) fn read(text: &str) -> Result<(Type, Element), Error> {
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let (mut open, mut count) = (Vec::<Element>::new(), 0);
    let (mut root, mut namespace) = (None, String::new());
    loop {
        let event = reader.read_event();
        let at = reader.error_position().max(reader.buffer_position());
        let wrong = |problem: String| Error::Syntax { at, problem };
        match event.map_err(|error| wrong(error.to_string()))? {
            Event::Start(start) => {
                count += 1;
                if open.len() >= DEEPEST {
                    return Err(wrong(format!("more than {DEEPEST} levels")));
                }
                if count > MOST {
                    return Err(wrong(format!("more than {MOST} elements")));
                }
                if open.is_empty() {
                    if root.is_some() {
                        return Err(wrong("a second root".to_owned()));
                    }
                    namespace = resolve(&reader, start.name()).map_err(wrong)?.namespace;
                }
                open.push(begun(&reader, &start).map_err(wrong)?);
            }
            Event::End(_) => match (open.pop(), open.last_mut()) {
                (Some(done), Some(outer)) => outer.children.push(done),
                (done, _) => root = done,
            },
            Event::Text(part) => push(&mut open, &part.xml10_content()).map_err(wrong)?,
            Event::CData(part) => push(&mut open, &part.xml10_content()).map_err(wrong)?,
            Event::GeneralRef(reference) => {
                let resolved = reference.resolve_char_ref();
                let resolved = resolved.map_err(|error| wrong(error.to_string()))?;
                match (resolved, &*reference) {
                    (Some(c), _) => push(&mut open, c.encode_utf8(&mut [0; 4])),
                    (None, "amp") => push(&mut open, "&"),
                    (None, "lt") => push(&mut open, "<"),
                    (None, "gt") => push(&mut open, ">"),
                    (None, "apos") => push(&mut open, "'"),
                    (None, "quot") => push(&mut open, "\""),
                    (None, name) => Err(format!("the entity {} is not known", excerpt(name))),
                }
                .map_err(wrong)?;
            }
            Event::DocType(_) => return Err(wrong("a document type: none is read".to_owned())),
            Event::Eof => {
                let Some(root) = root else {
                    return Err(wrong("the end, before the root has ended".to_owned()));
                };
                let name = root.name.clone();
                return Ok((Type { namespace, name }, root));
            }
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

fn push(open: &mut [Element], text: &str) -> Result<(), String> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(format!("the text \"{}\" beside the root", excerpt(text))),
    }
    Ok(())
}

fn begun(reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<Element, String> {
    let mut element = Element {
        name: resolve(reader, start.name())?.name,
        ..Element::default()
    };
    // Comparing them all with each other is left for where they are few.
    if start.attributes().with_checks(false).count() > MOST_ATTRIBUTES {
        return Err(format!("more than {MOST_ATTRIBUTES} attributes"));
    }
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let (resolved, name) = reader.resolver().resolve_attribute(attribute.key);
        let namespace = match resolved {
            ResolveResult::Bound(namespace) => namespace.0,
            ResolveResult::Unbound => "",
            ResolveResult::Unknown(prefix) => return Err(unknown(&prefix)),
        };
        let name = name.into_inner();
        let value = attribute.normalized_value(XmlVersion::Implicit1_0);
        let value = value.map_err(|error| error.to_string())?;
        match (namespace, name) {
            (INSTANCE, "nil") => element.is_nil = matches!(value.trim(), "true" | "1"),
            (INSTANCE, "type") => element.typed = Some(resolve(reader, QName(value.trim()))?),
            // What stands elsewhere would have to be repeated here; the SDK's classes never are.
            (SERIALIZATION, "Ref") => return Err("a reference to another element".to_owned()),
            _ => {}
        }
    }
    Ok(element)
}

/// A name that stands in an element, by the prefixes that hold there.
fn resolve(reader: &NsReader<&[u8]>, name: QName<'_>) -> Result<Type, String> {
    let (resolved, name) = reader.resolver().resolve_element(name);
    let namespace = match resolved {
        ResolveResult::Bound(namespace) => namespace.0,
        ResolveResult::Unbound => "",
        ResolveResult::Unknown(prefix) => return Err(unknown(&prefix)),
    };
    let name = name.into_inner();
    let longest = namespace.len().max(name.len());
    if longest > LONGEST_NAME {
        return Err(format!(
            "a name of {longest} bytes, and {LONGEST_NAME} are the most"
        ));
    }
    Ok(Type {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

fn unknown(prefix: &str) -> String {
    format!("the prefix {} stands for no namespace", excerpt(prefix))
}
