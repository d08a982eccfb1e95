//! Takes an execution context in text XML, gives the JSON body that Dataverse writes of the same event.
//!
//! Both come from one object, `Microsoft.Xrm.Sdk.RemoteExecutionContext`: message format 3 is
//! what .NET's `DataContractSerializer` writes of it, message format 2 what its
//! `DataContractJsonSerializer` does. XML says less: a member of a class has no type in it. So
//! there is a table of the classes that occur (`kinds`), from the contracts of the SDK. The
//! object may stand in an envelope of SOAP, as listeners for older versions expect it.
//!
//! | XML | JSON |
//! |---|---|
//! | `i:nil="true"` | `null` |
//! | element that is not there | member that is not there |
//! | `<KeyValuePairOfstringanyType><c:key/><c:value/>`, `<KeyValueOfstringstring><Key/><Value/>` | `{"key","value"}` |
//! | `i:type` of a class | `"__type":"Name:namespace"`, `http://schemas.datacontract.org/2004/07/X` as `#X` |
//! | `i:type` of a list | a bare list, whose objects say their `__type` |
//! | `boolean`; numbers of all kinds | `true`, `false`; the number, digit by digit |
//! | `string`, `guid`, `anyURI`, `duration` | text |
//! | `char`, a number | text of that character |
//! | `base64Binary` | list of numbers |
//! | `dateTime` with `Z` | `/Date(ms)/` |
//! | `dateTime` with an offset | `/Date(ms+hhmm)/`, `ms` in UTC |
//! | `dateTime` without either | `/Date(ms+0000)/`: what a server writes whose clock is UTC |
//! | the name of an enumeration's value | its number |
//!
//! What the table does not know is kept as far as XML says what it is: a value of an unknown
//! class is an object with its `__type`, an unknown member is there; in both, what is neither
//! null nor typed is text, names that repeat are a list, and the rest is an object. What is
//! known and reads otherwise than the table says is an [`Error`] that says where.

mod date;
mod element;
mod kinds;
mod query;
mod write;

/// The most bytes that are read; Dataverse sends 192 KB at most.
const LONGEST: usize = 4 * 1024 * 1024;
const CONTRACTS: &str = "http://schemas.microsoft.com/xrm/2011/Contracts";
const CONTEXT: &str = "RemoteExecutionContext";

/// Why a body in text XML could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More bytes than any message has.
    #[error("the XML is {length} bytes long: at most {LONGEST} are read")]
    TooLong {
        /// How many there are.
        length: usize,
    },

    /// Bytes of another encoding.
    #[error("the XML is no UTF-8 from byte {at} on: nothing else is read")]
    Encoding {
        /// The first that is none.
        at: usize,
    },

    /// No XML, or XML of a kind that the format does not have.
    #[error("byte {at} of the XML: {problem}")]
    Syntax {
        /// Near which byte.
        at: u64,
        /// What is wrong there.
        problem: String,
    },

    /// XML of something else.
    #[error(
        "the XML is {found}: accepted is a {CONTEXT} that is not null, of the namespace \
         {CONTRACTS}, by itself or in an envelope of SOAP"
    )]
    Root {
        /// Its root.
        found: String,
    },

    /// An element has other content than its type gives it.
    #[error("{at} is {found}; accepted is {accepted}")]
    Value {
        /// Where: `InputParameters/KeyValuePairOfstringanyType[0]/value`.
        at: String,
        /// What stands there.
        found: String,
        /// What could stand there.
        accepted: &'static str,
    },
}

impl Error {
    /// Says in which element the one that is wrong stands.
    fn within(self, outer: &str) -> Self {
        match self {
            Error::Value {
                at,
                found,
                accepted,
            } => {
                let at = match at.is_empty() {
                    true => outer.to_owned(),
                    false => format!("{outer}/{at}"),
                };
                Error::Value {
                    at,
                    found,
                    accepted,
                }
            }
            other => other,
        }
    }
}

/// The JSON of a body in text XML (UTF-8, with or without mark and declaration): one line, `/`
/// as `\/`, members in the order of the XML, as Dataverse writes them.
///
/// # Errors
/// [`Error`], for anything that is no execution context as above. Bounded are bytes (4 MiB),
/// elements (200,000), nesting (120) and names (200 bytes); document types and their entities
/// are refused.
pub fn json_of_xml(body: &[u8]) -> Result<Vec<u8>, Error> {
    if body.len() > LONGEST {
        return Err(Error::TooLong { length: body.len() });
    }
    let text = std::str::from_utf8(body).map_err(|error| Error::Encoding {
        at: error.valid_up_to(),
    })?;
    let root = element::read(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    write::context(&root)
}
