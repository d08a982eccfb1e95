//! Takes what was found, gives the sentence that an operator reads in a dead letter.

use crate::Json;

/// Why a body, or a text that stands in one, could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not one JSON document. The source says where it broke off.
    #[error(
        "the body is not JSON that can be read: one document in UTF-8, nested at most 127 levels, is accepted"
    )]
    Json(#[from] serde_json::Error),

    /// JSON, but no object.
    #[error(
        "the body is {found}: a Dataverse execution context or a Finance and Operations business \
         event is one object (an Event Grid delivery is a list: send it to a source of that kind)"
    )]
    NotAnObject {
        /// What stood there instead.
        found: String,
    },

    /// An object of no kind known here.
    #[error(
        "the body has neither MessageName (Dataverse execution context) nor BusinessEventId \
         (Finance and Operations business event); it has {found}"
    )]
    Unrecognised {
        /// The names of its first members.
        found: String,
    },

    /// A part has another shape than the format gives it.
    #[error("{at} is {found}; accepted is {accepted}")]
    Shape {
        /// Where: `InputParameters[0].value.Attributes[3]`.
        at: String,
        /// What stood there.
        found: String,
        /// What could stand there.
        accepted: &'static str,
    },

    /// A text that is no date.
    #[error(
        "\"{found}\" is no date: accepted are /Date(milliseconds)/, /Date(milliseconds+hhmm)/ \
         and ISO 8601 such as 2026-11-24T09:30:00Z, in the years 0000 to 9999"
    )]
    Date {
        /// The text.
        found: String,
    },

    /// A text that is no number.
    #[error("\"{found}\" is no amount: accepted is a JSON number such as 12345678901.0987")]
    Amount {
        /// The text.
        found: String,
    },

    /// A text that is no NATS subject of an event.
    #[error(
        "\"{found}\" is no event subject: {problem}; accepted is \
         d365.<origin>.<environment>.<kind>.<name>.<action>, then optionally .<slot>"
    )]
    Subject {
        /// The text.
        found: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A name that would make the NATS subject longer than a server takes.
    #[error("{what} is {length} bytes long: at most {limit} are accepted")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The most that is accepted.
        limit: usize,
    },

    /// More of something than a body of its kind ever has.
    #[error("the body has {count} {what}: at most {limit} are accepted")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// The most that is accepted.
        limit: usize,
    },
}

impl Error {
    /// A part that has another shape; callers further out add the place with [`Error::within`].
    pub(crate) fn shape(at: &str, found: &Json, accepted: &'static str) -> Self {
        Error::Shape {
            at: at.to_owned(),
            found: describe(found),
            accepted,
        }
    }

    /// Says in which part the one that is wrong stands.
    pub(crate) fn within(self, outer: &str) -> Self {
        match self {
            Error::Shape {
                at,
                found,
                accepted,
            } => {
                let joint = if at.is_empty() || at.starts_with('[') {
                    ""
                } else {
                    "."
                };
                Error::Shape {
                    at: format!("{outer}{joint}{at}"),
                    found,
                    accepted,
                }
            }
            other => other,
        }
    }
}

/// What a JSON value is, in words, short enough for a line of log.
pub(crate) fn describe(json: &Json) -> String {
    match json {
        Json::Null => "null".to_owned(),
        Json::Bool(flag) => format!("the boolean {flag}"),
        Json::Number(number) => format!("the number {}", excerpt(number.as_str())),
        Json::String(text) => format!("the text \"{}\"", excerpt(text)),
        Json::Array(list) => format!("a list of {}", list.len()),
        Json::Object(_) => "an object".to_owned(),
    }
}

/// The beginning of a text, its control characters escaped.
pub(crate) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 48;
    let mut short: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}
