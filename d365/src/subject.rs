//! Takes names and a partition key, gives the NATS subject of an event, and back.

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::error::excerpt;

/// How many slots the partition keys are spread over.
pub const SLOTS: u8 = 16;

/// The longest name that goes into a subject, in bytes. A server ends the connection of a
/// publisher whose line is over 4 KiB; table names have 128 characters at most.
pub(crate) const LONGEST_NAME: usize = 255;

/// The action of an event that is an announcement.
pub(crate) const RAISED: &str = "raised";

/// Slot of a partition key, 0 to 15: FNV-1a 32 of its bytes modulo 16, the number that the
/// NATS server's own `partition(16, …)` gives.
#[must_use]
pub fn slot(key: &str) -> u8 {
    const OFFSET: u32 = 2_166_136_261;
    const PRIME: u32 = 16_777_619;
    let hash = key.bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(PRIME)
    });
    // Below 16, so it fits.
    u8::try_from(hash % u32::from(SLOTS)).unwrap_or_default()
}

/// A name as one token of a subject: lower case, `_` for every character outside
/// `[a-z0-9_-]`; an empty name is `_`.
#[must_use]
pub fn token(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    name.chars()
        .map(|c| match c.to_ascii_lowercase() {
            c if allowed(c) => c,
            _ => '_',
        })
        .collect()
}

fn allowed(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-')
}

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Dataverse: the customer engagement apps, Power Platform.
    Dataverse,
    /// Finance and Operations.
    Fno,
    /// Azure Event Grid.
    EventGrid,
    /// Plug-ins, and everyone else.
    Custom,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Origin; 4] = [
        Origin::Dataverse,
        Origin::Fno,
        Origin::EventGrid,
        Origin::Custom,
    ];

    /// Its token: `dataverse`, `fno`, `eventgrid`, `custom`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Dataverse => "dataverse",
            Origin::Fno => "fno",
            Origin::EventGrid => "eventgrid",
            Origin::Custom => "custom",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Origin::ALL
            .into_iter()
            .find(|origin| origin.as_str() == text)
            .ok_or_else(|| unknown(text, "origin", "dataverse, fno, eventgrid, custom"))
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A record of a table.
    Record,
    /// Something that happened in the business.
    Business,
    /// A custom API that is bound to no table.
    Custom,
    /// The platform itself.
    System,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Record, Kind::Business, Kind::Custom, Kind::System];

    /// Its token: `record`, `business`, `custom`, `system`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Record => "record",
            Kind::Business => "business",
            Kind::Custom => "custom",
            Kind::System => "system",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| unknown(text, "kind", "record, business, custom, system"))
    }
}

fn unknown(found: &str, what: &str, accepted: &str) -> Error {
    Error::Subject {
        found: excerpt(found),
        problem: format!("{what} is one of {accepted}"),
    }
}

/// `d365.<origin>.<environment>.<kind>.<name>.<action>.<slot>`.
///
/// The parts are tokens as [`token`] gives them; the fields are not checked again when the
/// subject is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Where the event comes from.
    pub origin: Origin,
    /// The environment, by the operator's name for it.
    pub environment: String,
    /// What the event is about.
    pub kind: Kind,
    /// Table, business event or custom API.
    pub name: String,
    /// `create`, `update`, …, `raised`.
    pub action: String,
    /// 0 to 15; `None` where it is left to the stream or to the host.
    pub slot: Option<u8>,
}

impl Subject {
    /// Where a CloudEvent goes that says no more of itself than its type.
    ///
    /// | type | kind, name, action |
    /// |---|---|
    /// | `d365.dataverse.custom.<n>` | `custom`, n, `raised` |
    /// | `d365.dataverse.<t>.<a>`, `d365.fno.<t>.<a>` | `record`, t, a |
    /// | `d365.fno.<n>` | `business`, n, `raised` |
    /// | `d365.custom.<n>.<a>` | `business`, n, a |
    /// | `d365.system.<n>`, `d365.system.<n>.<a>` | `system`, n, `raised` or a |
    /// | `Microsoft.<n>.<a>`, from Event Grid or as a CloudEvent | `system`, split at the last dot |
    /// | another one from Event Grid: `<n>.<a>`, split at the last dot | `custom`, n, a |
    /// | from Event Grid, no dot: `<n>` | `custom`, n, `raised` |
    /// | any other | `custom`, the whole type, `raised` |
    ///
    /// Every part is made a [`token`] and cut after 255 bytes, so that the whole is 1,100 at
    /// most; nothing is refused.
    #[must_use]
    pub fn of_type(
        origin: Origin,
        environment: &str,
        event_type: &str,
        partition_key: &str,
    ) -> Self {
        let parts: Vec<&str> = event_type.splitn(5, '.').collect();
        let (kind, name, action) = match (origin, parts.as_slice()) {
            (_, &["d365", "dataverse", "custom", name]) => (Kind::Custom, name, RAISED),
            (_, &["d365", "dataverse" | "fno", name, action]) => (Kind::Record, name, action),
            (_, &["d365", "fno", name]) => (Kind::Business, name, RAISED),
            (_, &["d365", "custom", name, action]) => (Kind::Business, name, action),
            (_, &["d365", "system", name]) => (Kind::System, name, RAISED),
            (_, &["d365", "system", name, action]) => (Kind::System, name, action),
            (Origin::EventGrid | Origin::Custom, _) => {
                let is_system = event_type.starts_with("Microsoft.");
                match event_type.rsplit_once('.') {
                    Some((name, action)) if is_system => (Kind::System, name, action),
                    Some((name, action)) if origin == Origin::EventGrid => {
                        (Kind::Custom, name, action)
                    }
                    Some(_) | None => (Kind::Custom, event_type, RAISED),
                }
            }
            _ => (Kind::Custom, event_type, RAISED),
        };
        let short = |name| {
            let mut token = token(name);
            token.truncate(LONGEST_NAME);
            token
        };
        Subject {
            origin,
            environment: short(environment),
            kind,
            name: short(name),
            action: short(action),
            slot: Some(slot(partition_key)),
        }
    }

    /// The same subject, in the slot of this partition key.
    #[must_use]
    pub fn with_slot_of(self, partition_key: &str) -> Self {
        Subject {
            slot: Some(slot(partition_key)),
            ..self
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject {
            origin,
            environment,
            kind,
            name,
            action,
            slot,
        } = self;
        write!(f, "d365.{origin}.{environment}.{kind}.{name}.{action}")?;
        match slot {
            Some(slot) => write!(f, ".{slot}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Subject {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Subject {
            found: excerpt(text),
            problem,
        };
        let parts: Vec<&str> = text.split('.').collect();
        let (
            &[
                "d365",
                origin,
                environment,
                kind,
                name,
                action,
                ref rest @ ..,
            ],
            0..=1,
        ) = (parts.as_slice(), parts.len().saturating_sub(6))
        else {
            return Err(wrong(format!(
                "it has {} tokens, the first is \"{}\"",
                parts.len(),
                excerpt(parts.first().unwrap_or(&""))
            )));
        };
        for part in [environment, name, action] {
            if part.is_empty() || !part.chars().all(allowed) {
                return Err(wrong(format!(
                    "\"{}\" is no token, accepted are one or more of a-z 0-9 _ -",
                    excerpt(part)
                )));
            }
        }
        let slot = match rest.first() {
            None => None,
            Some(&text) => Some(
                (0..SLOTS)
                    .find(|slot| slot.to_string() == text)
                    .ok_or_else(|| wrong(format!("\"{}\" is no slot, 0 to 15", excerpt(text))))?,
            ),
        };
        Ok(Subject {
            origin: origin.parse()?,
            environment: environment.to_owned(),
            kind: kind.parse()?,
            name: name.to_owned(),
            action: action.to_owned(),
            slot,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_fnv_1a_modulo_16() {
        // FNV's published vectors: "" 811c9dc5, "a" e40c292c, "foobar" bf9cf968.
        assert_eq!((slot(""), slot("a"), slot("foobar")), (0x5, 0xc, 0x8));
    }

    #[test]
    fn tokens() {
        assert_eq!(token("Contoso EU.West"), "contoso_eu_west");
        assert_eq!(token("new_Order-2*>"), "new_order-2__");
        assert_eq!(token("Größe"), "gr__e");
        assert_eq!(token(""), "_");
    }

    #[test]
    fn a_subject_is_read_as_it_is_written() {
        for text in [
            "d365.dataverse.contoso.record.account.update.15",
            "d365.custom.contoso.business.credit.raised",
            "d365.eventgrid._.system.a-b_c.raised.0",
        ] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        let subject: Subject = "d365.fno.x.business.y.raised".parse().unwrap();
        assert_eq!(subject.with_slot_of("a").slot, Some(12));
    }

    #[test]
    fn what_is_no_subject_says_why() {
        for (text, why) in [
            ("", "1 tokens"),
            ("d365.replay.credit-hold.3", "4 tokens"),
            ("d365.dataverse.c.record.account.update.1.2", "8 tokens"),
            (
                "crm.dataverse.c.record.account.update.1",
                "first is \"crm\"",
            ),
            ("d365.sap.c.record.account.update.1", "origin is one of"),
            ("d365.fno.c.thing.account.update.1", "kind is one of"),
            (
                "d365.fno.c.record.Account.update.1",
                "\"Account\" is no token",
            ),
            ("d365.fno..record.account.update.1", "\"\" is no token"),
            ("d365.fno.c.record.account.update.16", "no slot"),
            ("d365.fno.c.record.account.update.01", "no slot"),
            ("d365.fno.c.record.*.update", "\"*\" is no token"),
        ] {
            let error = text.parse::<Subject>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
