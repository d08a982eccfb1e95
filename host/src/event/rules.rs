//! Takes an event, gives the first rule of CloudEvents 1.0 that it breaks.

use fluent_uri::{Uri, UriRef};

use super::{AttributeValue, Event, media, rfc3339};

/// The attributes that the specification names itself.
pub const CORE: [&str; 8] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
];

/// Which rule an event breaks. `found` is cut to 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An attribute that must have a value is the empty string.
    #[error("attribute {attribute}: found an empty string, expected {expected}")]
    Empty {
        /// Name of the attribute.
        attribute: &'static str,
        /// What is allowed.
        expected: &'static str,
    },
    /// A value is not of the attribute's form.
    #[error("attribute {attribute}: found {found:?}, expected {expected}")]
    Malformed {
        /// Name of the attribute.
        attribute: &'static str,
        /// The value.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A value holds a code point that CloudEvents keeps out of strings.
    #[error(
        "attribute {attribute}: found the character U+{character:04X}, expected text without control characters (U+0000 to U+001F, U+007F to U+009F) and noncharacters"
    )]
    Character {
        /// Name of the attribute, cut like a value.
        attribute: String,
        /// The code point.
        character: u32,
    },
    /// An extension's name has other characters than the allowed ones.
    #[error(
        "extension attribute {found:?}: expected a name of lower-case letters a to z and digits"
    )]
    Name {
        /// The name.
        found: String,
    },
    /// An extension takes the name of a core attribute.
    #[error(
        "extension attribute {found:?}: the name is reserved; expected one other than specversion, id, source, type, subject, time, datacontenttype, dataschema, data"
    )]
    Reserved {
        /// The name.
        found: String,
    },
    /// Two extensions have the same name.
    #[error("extension attribute {found:?}: found twice, expected at most once")]
    Repeated {
        /// The name.
        found: String,
    },
}

/// The first 80 characters of what was found, for an error that names it.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Whether an extension attribute may have this name: `[a-z0-9]{1,}`, and not a
/// core attribute's nor `data`.
pub fn is_extension_name(name: &str) -> bool {
    has_name_characters(name) && !is_reserved(name)
}

/// `data` is not an attribute, but the JSON format has a member of that name.
fn is_reserved(name: &str) -> bool {
    name == "data" || CORE.contains(&name)
}

fn has_name_characters(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Checks every attribute; `data` may be anything.
///
/// # Errors
/// The first rule that the event breaks, in the order in which the fields stand.
pub fn validate(event: &Event) -> Result<(), Error> {
    id(&event.id)?;
    source(&event.source)?;
    event_type(&event.event_type)?;
    event.subject.as_deref().map_or(Ok(()), subject)?;
    event.time.as_deref().map_or(Ok(()), time)?;
    event
        .datacontenttype
        .as_deref()
        .map_or(Ok(()), datacontenttype)?;
    event.dataschema.as_deref().map_or(Ok(()), dataschema)?;
    extensions(&event.extensions)
}

fn id(value: &str) -> Result<(), Error> {
    not_empty("id", value, "an identifier, unique within the source")?;
    characters("id", value)
}

fn source(value: &str) -> Result<(), Error> {
    const EXPECTED: &str = "a URI-reference (RFC 3986 section 4.1) such as \"/dataverse/contoso\"";
    not_empty("source", value, EXPECTED)?;
    characters("source", value)?;
    well_formed("source", value, UriRef::parse(value).is_ok(), EXPECTED)
}

fn event_type(value: &str) -> Result<(), Error> {
    not_empty(
        "type",
        value,
        "a name such as \"d365.dataverse.account.update\"",
    )?;
    characters("type", value)
}

fn subject(value: &str) -> Result<(), Error> {
    not_empty("subject", value, "text, or no subject at all")?;
    characters("subject", value)
}

fn time(value: &str) -> Result<(), Error> {
    const EXPECTED: &str = "a time as in RFC 3339, such as \"2026-05-04T09:30:00Z\"";
    not_empty("time", value, EXPECTED)?;
    well_formed("time", value, rfc3339::is_date_time(value), EXPECTED)
}

fn datacontenttype(value: &str) -> Result<(), Error> {
    const EXPECTED: &str = "a media type (RFC 2046) such as \"application/json\"";
    not_empty("datacontenttype", value, EXPECTED)?;
    characters("datacontenttype", value)?;
    well_formed(
        "datacontenttype",
        value,
        media::is_media_type(value),
        EXPECTED,
    )
}

/// The type system's "URI" is RFC 3986's absolute-URI, which has no fragment; the
/// published JSON Schema and every SDK let one pass, and schemas are commonly named by
/// fragment, so one is let through here too.
fn dataschema(value: &str) -> Result<(), Error> {
    const EXPECTED: &str = "an absolute URI such as \"https://contoso.example/account.json\"";
    not_empty("dataschema", value, EXPECTED)?;
    characters("dataschema", value)?;
    well_formed("dataschema", value, Uri::parse(value).is_ok(), EXPECTED)
}

fn extensions(extensions: &[(String, AttributeValue)]) -> Result<(), Error> {
    for (position, (name, value)) in extensions.iter().enumerate() {
        if !has_name_characters(name) {
            return Err(Error::Name {
                found: excerpt(name),
            });
        }
        if is_reserved(name) {
            return Err(Error::Reserved {
                found: excerpt(name),
            });
        }
        if extensions
            .iter()
            .take(position)
            .any(|(other, _)| other == name)
        {
            return Err(Error::Repeated {
                found: excerpt(name),
            });
        }
        match value {
            AttributeValue::Text(text) => characters(name, text)?,
            // Binary mode would make text of it, and the event's key would change on the way.
            AttributeValue::Boolean(_) | AttributeValue::Integer(_) if name == "partitionkey" => {
                return Err(Error::Malformed {
                    attribute: "partitionkey",
                    found: value.to_string(),
                    expected: "text, since the extension is a string",
                });
            }
            AttributeValue::Boolean(_) | AttributeValue::Integer(_) => {}
        }
    }
    Ok(())
}

fn not_empty(attribute: &'static str, value: &str, expected: &'static str) -> Result<(), Error> {
    if value.is_empty() {
        return Err(Error::Empty {
            attribute,
            expected,
        });
    }
    Ok(())
}

fn well_formed(
    attribute: &'static str,
    value: &str,
    ok: bool,
    expected: &'static str,
) -> Result<(), Error> {
    if ok {
        return Ok(());
    }
    Err(Error::Malformed {
        attribute,
        found: excerpt(value),
        expected,
    })
}

/// The type "String" of CloudEvents, section "Type System".
fn characters(attribute: &str, value: &str) -> Result<(), Error> {
    // Nearly every text is seen to be sound without its characters being taken apart.
    if value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(());
    }
    match value
        .chars()
        .find(|&c| c.is_control() || is_noncharacter(c))
    {
        None => Ok(()),
        Some(c) => Err(Error::Character {
            attribute: excerpt(attribute),
            character: u32::from(c),
        }),
    }
}

fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}
