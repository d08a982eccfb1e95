//! Takes an environment and a body, gives the CloudEvents attributes and the NATS subject.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::attribute::{clean, cleaned, segment};
use crate::error::excerpt;
use crate::facts::Facts;
use crate::glance::glance;
use crate::subject::{Kind, LONGEST_NAME, Origin, RAISED, Subject, slot, token};
use crate::{BusinessEvent, Date, Error, Json, Members, RemoteExecutionContext, guid, json};

/// How a table of Finance and Operations is called in Dataverse: `mserp_` and its name there.
const FNO_PREFIX: &str = "mserp_";

/// The attributes of the CloudEvent that a body becomes, and where it goes. Its data is the
/// body, byte for byte. No attribute has a control character in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The same whenever the same event is sent again.
    pub id: String,
    /// A URI-reference: `/dataverse/<environment>`, `/fno/<environment>[/<legal entity>]`.
    pub source: String,
    /// `d365.dataverse.account.update`.
    pub event_type: String,
    /// `account/<record id>`, or what the business event is about.
    pub subject: Option<String>,
    /// RFC 3339, in UTC.
    pub time: Option<String>,
    /// Events of one key are handled in order. Also among the extensions.
    pub partition_key: String,
    /// `partitionkey`, `correlationid`, `causationid`, `d365depth`, `d365user`,
    /// `d365truncated`, `d365controlnumber`, `d365version`: those that the body has.
    pub extensions: Vec<(String, String)>,
    /// `d365.<origin>.<environment>.<kind>.<name>.<action>.<slot>`.
    pub nats_subject: String,
}

/// Maps a raw body: a business event if it has a `BusinessEventId`, an execution context if it
/// has a `MessageName`.
///
/// # Errors
/// [`Error::Json`], [`Error::NotAnObject`], [`Error::Unrecognised`], [`Error::Shape`], and
/// [`Error::TooLong`] for a name that no NATS subject could hold.
pub fn map(environment: &str, body: &[u8]) -> Result<Mapped, Error> {
    short_environment(environment)?;
    match glance(body) {
        Some(facts) => context(environment, body, &facts),
        None => map_by_types(environment, body),
    }
}

/// What [`map`] does where it cannot do it at a glance, and what it must agree with in all
/// cases: for tests.
///
/// # Errors
/// As [`map`].
#[doc(hidden)]
pub fn map_by_types(environment: &str, body: &[u8]) -> Result<Mapped, Error> {
    short_environment(environment)?;
    let body_json = json(body)?;
    let has = |name: &str| match &body_json {
        Json::Object(members) => members
            .iter()
            .any(|(key, value)| key.eq_ignore_ascii_case(name) && value.is_string()),
        _ => false,
    };
    if has("BusinessEventId") || (blank_id(&body_json) && !has("MessageName")) {
        business(environment, body, &BusinessEvent::from_json(body_json)?)
    } else {
        let typed = RemoteExecutionContext::from_json(body_json)?;
        context(environment, body, &Facts::of(&typed))
    }
}

/// Whether a body has a business event's id, but null: a test message may.
fn blank_id(body: &Json) -> bool {
    body.get("BusinessEventId").is_some_and(Json::is_null)
}

/// The attributes of an execution context.
fn context(environment: &str, body: &[u8], facts: &Facts<'_>) -> Result<Mapped, Error> {
    let message = token(short("MessageName", &facts.message)?);
    let table = match &facts.table {
        Some(table) => Some(short("PrimaryEntityName", table)?.to_ascii_lowercase()),
        None => None,
    };
    let data_event = table
        .as_deref()
        .filter(|table| table.starts_with(FNO_PREFIX))
        .and_then(|_| data_event_action(&message));
    let (origin, action) = match data_event {
        Some(action) => (Origin::Fno, action.to_owned()),
        None => (Origin::Dataverse, message.clone()),
    };
    let record_id = guid::lower(facts.record_id.as_deref());
    let subject = table.as_deref().map(|table| match &record_id {
        Some(id) => format!("{table}/{id}"),
        None => table.to_owned(),
    });
    let (event_type, kind, name, action) = match &table {
        Some(table) => {
            let name = token(table);
            let event_type = format!("d365.{origin}.{name}.{action}");
            (event_type, Kind::Record, name, action)
        }
        None => {
            let event_type = format!("d365.{origin}.custom.{message}");
            (event_type, Kind::Custom, message.clone(), RAISED.to_owned())
        }
    };
    let partition_key = subject.clone().unwrap_or(format!("custom/{message}"));
    let partition_key = cleaned(partition_key);

    let extensions = [
        ("partitionkey", Some(partition_key.clone())),
        (
            "correlationid",
            guid::lower(facts.correlation_id.as_deref()),
        ),
        (
            "causationid",
            guid::lower(facts.parent_operation_id.as_deref()),
        ),
        ("d365depth", facts.depth.map(|depth| depth.to_string())),
        ("d365user", guid::lower(facts.initiating_user_id.as_deref())),
        ("d365truncated", facts.truncated.then(|| "true".to_owned())),
    ];
    let operation_time = || {
        let created_on = facts.operation_created_on.as_deref()?;
        Date::of_operation(created_on, facts.mode).ok()
    };
    let time = facts.modified_on.clone().or_else(operation_time);

    Ok(Mapped {
        id: operation_hash(facts, record_id.as_deref()).unwrap_or_else(|| hash(body)),
        source: format!("/{origin}/{}", segment(environment)),
        event_type,
        subject: subject.map(cleaned),
        time: time.map(|time| time.rfc3339()),
        nats_subject: place(origin, environment, kind, name, action, &partition_key),
        partition_key,
        extensions: present(extensions),
    })
}

/// The attributes of a business event.
fn business(environment: &str, body: &[u8], event: &BusinessEvent) -> Result<Mapped, Error> {
    let origin = Origin::Fno;
    let name = short("BusinessEventId", event.business_event_id.trim())?;
    let company = event.legal_entity().unwrap_or_default();
    let about = event.context_subject();
    let partition_key = format!("{company}/{name}/{}", about.unwrap_or_default());
    let partition_key = cleaned(partition_key);
    // Zero is how F&O writes "no record" for a number of this kind.
    let number = event.control_number.filter(|number| *number != 0);
    let number = number.map(|number| number.to_string());
    let extensions = [
        ("partitionkey", Some(partition_key.clone())),
        ("d365controlnumber", number.clone()),
        ("d365version", event.version()),
    ];
    let mut source = format!("/{origin}/{}", segment(environment));
    if !company.is_empty() {
        source.push('/');
        source.push_str(&segment(company));
    }

    Ok(Mapped {
        id: event.id().map_or_else(|| hash(body), cleaned),
        source,
        event_type: format!("d365.{origin}.{}", type_name(name)),
        subject: about.map(|about| clean(about).into_owned()).or(number),
        time: event.time().map(|time| time.rfc3339()),
        nats_subject: place(
            origin,
            environment,
            Kind::Business,
            token(name),
            RAISED.to_owned(),
            &partition_key,
        ),
        partition_key,
        extensions: present(extensions),
    })
}

/// `Mode` of a step that runs in a system job of its own.
const ASYNCHRONOUS: i64 = 1;

/// The error for an object that does not say what it is, or says it in no text.
pub(crate) fn unrecognised(members: &Members) -> Error {
    const NAMED: usize = 6;
    for name in ["MessageName", "BusinessEventId"] {
        if let Some(found) = members.get(name) {
            return Error::shape(name, found, "a text that is not blank");
        }
    }
    let mut names: Vec<String> = members
        .keys()
        .take(NAMED)
        .map(|name| excerpt(name))
        .collect();
    if names.is_empty() {
        names.push("no members".to_owned());
    } else if members.len() > NAMED {
        names.push("…".to_owned());
    }
    Error::Unrecognised {
        found: names.join(", "),
    }
}

/// The hash that is an execution context's id, if every part of it is known.
///
/// `OperationId` is one for a whole request where the step is synchronous: a plug-in that
/// updates the row it handles raises a second, different event with all the same parts. So
/// depth and the time of the operation belong to it there; a webhook that Dataverse sends
/// again has the same body, and so the same id.
fn operation_hash(facts: &Facts<'_>, record_id: Option<&str>) -> Option<String> {
    let mut parts = vec![
        Cow::Owned(guid::lower(facts.organization_id.as_deref())?),
        Cow::Owned(guid::lower(facts.step_id.as_deref())?),
        Cow::Owned(guid::lower(facts.operation_id.as_deref())?),
        Cow::Borrowed(record_id?),
        Cow::Borrowed(&*facts.message),
    ];
    if facts.mode != Some(ASYNCHRONOUS) {
        let depth = facts.depth.map(|depth| depth.to_string());
        parts.push(Cow::Owned(depth.unwrap_or_default()));
        let created_on = facts.operation_created_on.as_deref();
        parts.push(Cow::Borrowed(created_on.unwrap_or_default()));
    }
    Some(hash(parts.join("\n").as_bytes()))
}

/// The first 32 hexadecimal digits of SHA-256.
fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let mut hash = String::with_capacity(32);
    for byte in digest.iter().take(16) {
        for half in [byte >> 4, byte & 15] {
            hash.extend(char::from_digit(half.into(), 16));
        }
    }
    hash
}

/// What a data event's message did to the record.
fn data_event_action(message: &str) -> Option<&'static str> {
    match message {
        "onexternalcreated" => Some("create"),
        "onexternalupdated" => Some("update"),
        "onexternaldeleted" => Some("delete"),
        _ => None,
    }
}

/// A business event's id in a type: in its own case, as the F&O catalog shows it.
fn type_name(name: &str) -> String {
    if name.is_empty() {
        return token(name);
    }
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    name.chars()
        .map(|c| if keep(c) { c } else { '_' })
        .collect()
}

/// Refuses the name of an environment that no NATS subject could hold.
pub(crate) fn short_environment(environment: &str) -> Result<(), Error> {
    short("the environment", environment).map(drop)
}

fn short<'a>(what: &'static str, name: &'a str) -> Result<&'a str, Error> {
    if name.len() > LONGEST_NAME {
        return Err(Error::TooLong {
            what,
            length: name.len(),
            limit: LONGEST_NAME,
        });
    }
    Ok(name)
}

fn place(
    origin: Origin,
    environment: &str,
    kind: Kind,
    name: String,
    action: String,
    partition_key: &str,
) -> String {
    Subject {
        origin,
        environment: token(environment),
        kind,
        name,
        action,
        slot: Some(slot(partition_key)),
    }
    .to_string()
}

/// The extensions that have a value, fit for a header.
pub(crate) fn present<const N: usize>(
    extensions: [(&str, Option<String>); N],
) -> Vec<(String, String)> {
    extensions
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), cleaned(value?))))
        .collect()
}
