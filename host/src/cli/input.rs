//! Takes files of events, gives CloudEvents with their subjects: what `send` and `test` read.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::ValueEnum;
use serde_json::value::RawValue;
use sluicegate_d365::{self as d365, Subject, map, slot};

use crate::decode;
use crate::event::Event;
use crate::gateway::understand::event_of;

/// Where raw bodies come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Origin {
    /// Dataverse: a RemoteExecutionContext.
    Dataverse,
    /// Finance & Operations: a business event or a data event.
    Fno,
    /// CloudEvents of one's own.
    Custom,
}

impl Origin {
    fn as_str(self) -> &'static str {
        match self {
            Origin::Dataverse => "dataverse",
            Origin::Fno => "fno",
            Origin::Custom => "custom",
        }
    }
}

/// One event of a file.
#[derive(Debug)]
pub(super) struct Input {
    /// For messages: `orders.ndjson, document 3`.
    pub(super) place: String,
    /// With the slot.
    pub(super) subject: String,
    pub(super) event: Event,
}

/// How the documents of a file are to be understood.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) origin: Option<Origin>,
    pub(super) environment: Option<&'a str>,
    pub(super) subject: Option<&'a str>,
}

/// Reads every document of a file; `-` is standard input. One that is bad fails the file.
pub(super) fn read(file: &Path, reading: &Reading<'_>) -> anyhow::Result<Vec<Input>> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        bytes
    } else {
        std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?
    };
    let bytes = Bytes::from(bytes);
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut inputs = Vec::new();
    for document in serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>() {
        let place = place(file, inputs.len() + 1);
        let document = document.with_context(|| format!("{place} is not JSON"))?;
        let body = bytes.slice_ref(document.get().as_bytes());
        let (event, subject) =
            understand(&body, reading).with_context(|| format!("{place} cannot be sent"))?;
        inputs.push(Input {
            place,
            subject,
            event,
        });
    }
    if inputs.is_empty() {
        bail!("{} holds no event", file.display());
    }
    Ok(inputs)
}

/// The same for several files.
pub(super) fn read_all(files: &[PathBuf], reading: &Reading<'_>) -> anyhow::Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for file in files {
        inputs.extend(read(file, reading)?);
    }
    Ok(inputs)
}

fn place(file: &Path, number: usize) -> String {
    let name = if file == Path::new("-") {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    };
    format!("{name}, document {number}")
}

fn understand(body: &Bytes, reading: &Reading<'_>) -> anyhow::Result<(Event, String)> {
    let (event, mapped) = if decode::is_event(body) {
        let event = decode::structured(body)?;
        let subject = subject_of(&event, reading);
        (event, subject)
    } else {
        raw_of(body, reading)?
    };
    let Some(given) = reading.subject else {
        return Ok((event, mapped));
    };
    let tokens = given.split('.').count();
    if !given.starts_with("d365.") || given.contains(['*', '>', ' ']) || !(6..=7).contains(&tokens)
    {
        bail!(
            "--subject {given} is not one of the event store's; expected \
             d365.<origin>.<environment>.<kind>.<name>.<action>, the slot is added"
        );
    }
    if tokens == 7 {
        return Ok((event, given.to_owned()));
    }
    let subject = format!("{given}.{}", slot(event.partition_key()));
    Ok((event, subject))
}

/// A raw body, if it is of the origin that it has to be of.
fn raw_of(body: &Bytes, reading: &Reading<'_>) -> anyhow::Result<(Event, String)> {
    if reading.origin == Some(Origin::Custom) {
        bail!("an event of origin custom has to be a CloudEvent with a specversion member");
    }
    let (event, subject) = raw(reading.environment.unwrap_or("default"), body)?;
    if let Some(origin) = reading.origin {
        let found = subject.split('.').nth(1).unwrap_or_default();
        if found != origin.as_str() {
            bail!(
                "--origin is {}, but the body is of origin {found}",
                origin.as_str()
            );
        }
    }
    Ok((event, subject))
}

/// The event of a raw body, and its subject.
pub(super) fn raw(environment: &str, body: &Bytes) -> anyhow::Result<(Event, String)> {
    let mapped = map(environment, body)?;
    event_of(mapped, Some(body.clone())).map_err(anyhow::Error::msg)
}

/// The subject of a CloudEvent, from its type (`d365.<origin>.<name>.<action>`) and source
/// (`/<origin>/<environment>`).
pub(super) fn subject_of(event: &Event, reading: &Reading<'_>) -> String {
    let in_source = || {
        event
            .source
            .split('/')
            .nth(2)
            .filter(|part| !part.is_empty())
    };
    let environment = reading.environment.or_else(in_source).unwrap_or("default");
    let parts: Vec<&str> = event.event_type.split('.').collect();
    let origin = match (reading.origin, parts.as_slice()) {
        (Some(Origin::Dataverse), _) => d365::Origin::Dataverse,
        (Some(Origin::Fno), _) => d365::Origin::Fno,
        (Some(Origin::Custom), _) => d365::Origin::Custom,
        (None, ["d365", "dataverse", _, _]) => d365::Origin::Dataverse,
        (None, ["d365", "fno", _] | ["d365", "fno", _, _]) => d365::Origin::Fno,
        (None, _) => d365::Origin::Custom,
    };
    let key = event.partition_key();
    Subject::of_type(origin, environment, &event.event_type, key).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        decode::structured(&Bytes::from(text.to_owned())).expect("a CloudEvent")
    }

    #[test]
    fn the_subject_comes_from_type_and_source() {
        let one = event(
            r#"{"specversion":"1.0","id":"1","source":"/dataverse/Contoso","type":"d365.dataverse.account.update","partitionkey":"account/1"}"#,
        );
        let subject = subject_of(&one, &Reading::default());
        assert!(
            subject.starts_with("d365.dataverse.contoso.record.account.update."),
            "{subject}"
        );
        let other =
            event(r#"{"specversion":"1.0","id":"1","source":"x","type":"com.example.thing"}"#);
        let subject = subject_of(&other, &Reading::default());
        assert!(
            subject.starts_with("d365.custom.default.custom.com_example_thing.raised."),
            "{subject}"
        );
    }

    #[test]
    fn a_subject_outside_the_store_is_refused() {
        let body = Bytes::from_static(br#"{"specversion":"1.0","id":"1","source":"x","type":"y"}"#);
        let reading = Reading {
            subject: Some("orders.new"),
            ..Reading::default()
        };
        let error = understand(&body, &reading).expect_err("not d365.>");
        assert!(error.to_string().contains("orders.new"));
    }
}
