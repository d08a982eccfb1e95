//! `sluice replay`: takes a plug-in and a part of the event store, gives that to it again, or to a
//! build beside it whose outputs are compared with what is recorded.

use std::process::ExitCode;

use super::connect::Target;
use super::events::{Attributes, moment};
use crate::operations::history::{Bounds, Query};
use crate::operations::replays::MAX_RATE;

mod live;
mod shadow;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plug-in.
    #[arg(long)]
    plugin: String,
    #[command(flatten)]
    which: Which,
    /// So many events a second at the most; 200 when the plug-in itself gets them.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RATE)))]
    rate: Option<u32>,
    /// Only say how many events it would be.
    #[arg(long)]
    dry_run: bool,
    /// What the plug-in emits leaves again, and so do its HTTP requests. Without this, emitted
    /// events are dropped and requests are refused.
    #[arg(long)]
    effects: bool,
    /// Have a host do it, and do not wait for the end.
    #[arg(long, conflicts_with = "into")]
    no_wait: bool,
    /// Not to the plug-in that runs, but to a shadow of this name in this process: nothing of
    /// what it does leaves, and the events that it emits are compared with the recorded ones.
    /// Said again after an interruption, it goes on; after the end, it reports again.
    #[arg(long, value_name = "NAME", value_parser = name)]
    into: Option<String>,
    #[command(flatten)]
    shadow: shadow::Asked,
    #[command(flatten)]
    target: Target,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Which events.
#[derive(Debug, clap::Args)]
struct Which {
    /// From here on: a sequence, a time (RFC 3339), or how long ago, such as 30d. The oldest event
    /// when not given.
    #[arg(long, value_name = "SEQUENCE|TIME", value_parser = said)]
    from: Option<Said>,
    /// Up to here.
    #[arg(long, value_name = "SEQUENCE|TIME", value_parser = said)]
    to: Option<Said>,
    #[command(flatten)]
    attributes: Attributes,
}

/// A place in the event store, and how the operator said it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    text: String,
    place: Place,
}

/// A place in the event store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Sequence(u64),
    /// Unix milliseconds.
    Time(u64),
}

impl Which {
    /// What is asked of each event, and between which sequences, where those were given.
    fn query(&self) -> (Query, Bounds) {
        let place = |said: &Option<Said>| said.as_ref().map(|said| said.place);
        let sequence = |said| match place(said) {
            Some(Place::Sequence(sequence)) => Some(sequence),
            Some(Place::Time(_)) | None => None,
        };
        let time = |said| match place(said) {
            Some(Place::Time(time)) => Some(time),
            Some(Place::Sequence(_)) | None => None,
        };
        let query = Query {
            since: time(&self.from),
            until: time(&self.to),
            ..self.attributes.query()
        };
        let bounds = Bounds {
            from: sequence(&self.from),
            to: sequence(&self.to),
        };
        (query, bounds)
    }

    /// The same in the operator's words, which mean the same when they are said again.
    fn said(&self) -> Vec<String> {
        let places = [("from", &self.from), ("to", &self.to)];
        let places = places.into_iter().filter_map(|(name, said)| {
            let text = &said.as_ref()?.text;
            Some(format!("{name}={text}"))
        });
        places.chain(self.attributes.query().texts()).collect()
    }
}

fn said(text: &str) -> Result<Said, String> {
    let place = place(text)?;
    let text = text.to_owned();
    Ok(Said { text, place })
}

fn place(text: &str) -> Result<Place, String> {
    if let Ok(sequence) = text.parse() {
        return Ok(Place::Sequence(sequence));
    }
    let time = moment(text).map(Place::Time);
    time.map_err(|error| format!("neither a sequence nor a time; {error}"))
}

/// It becomes the name of a folder.
fn name(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match text.len() {
        1..=63 if text.bytes().all(is_name) => Ok(text.to_owned()),
        _ => Err("expected 1 to 63 of a-z, 0-9 and -".to_owned()),
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.into.is_some() {
        true => Box::pin(shadow::run(args)).await,
        false => Box::pin(live::run(args)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_sequence_and_what_is_neither_says_so() {
        assert_eq!(place("42"), Ok(Place::Sequence(42)));
        assert!(matches!(place("30d"), Ok(Place::Time(_))));
        assert!(matches!(place("2026-11-01T00:00:00Z"), Ok(Place::Time(_))));
        let error = place("yesterday").expect_err("no place");
        assert!(error.contains("neither a sequence nor a time"), "{error}");
    }

    #[test]
    fn a_shadow_is_called_what_a_folder_may_be_called() {
        assert!(name("trial-2").is_ok());
        for wrong in ["", "../x", "A", "a b", &"a".repeat(64)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
