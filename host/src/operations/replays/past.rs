//! Takes a plug-in and what an operator asks of events, gives those of the store that it is to be given again.

use async_nats::HeaderMap;
use async_nats::jetstream::Context;

use super::subscription::{self, Subscription};
use super::{Error, History, Replay};
use crate::claim_check::taken_out;
use crate::decode::attribute;
use crate::delivery::Delivery;
use crate::manifest::subject::is_subset;
use crate::manifest::{TypePattern, subject_matches};
use crate::operations::history::search::{of_event, row};
use crate::operations::history::{self, Bounds, Export, Query};
use crate::route::addressee;

/// What an operator wants.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Who is to be given it.
    pub plugin: String,
    /// What is asked of each event, and of when it was stored.
    pub query: Query,
    /// Between which sequences.
    pub bounds: Bounds,
    /// What the plug-in emits leaves, and its requests do.
    pub with_effects: bool,
}

/// A part of the event store, as it was when it was asked for.
#[derive(Debug, Clone)]
pub struct Past {
    /// For whom, from where on.
    pub history: History,
    /// What is asked of each event, as texts.
    pub conditions: Vec<String>,
    /// The last sequence.
    pub up_to: u64,
    /// How many events there are.
    pub total: u64,
}

impl Past {
    /// Asks the hosts what the plug-in hears, and counts; `show` hears how many messages were
    /// looked at, and of how many.
    ///
    /// # Errors
    /// When the plug-in would not handle anything, or the store cannot be read.
    pub async fn look(
        context: &Context,
        wish: Wish,
        mut show: impl FnMut(u64, u64),
    ) -> Result<Self, Error> {
        let Wish {
            plugin,
            mut query,
            bounds,
            with_effects,
        } = wish;
        let Subscription {
            subjects,
            types,
            partitions,
            is_strict,
        } = subscription::ask(context, &plugin).await?;
        let events = history::stream(context).await?;
        let subjects = narrowed(subjects, &query.subject);
        let read = subjects.clone();
        let export = Export::between(context, &events, read, &query, bounds).await?;
        let Bounds { from, to } = export.bounds();
        // The times are places from here on.
        (query.since, query.until) = (None, None);
        let mut past = Self {
            history: History {
                plugin,
                from: from.unwrap_or(1),
                subjects,
                types,
                partitions,
                is_strict,
                with_effects,
                undecodable: 0,
                unhandled: 0,
                waits: String::new(),
            },
            conditions: query.texts(),
            up_to: to.unwrap_or(0),
            total: 0,
        };
        let choice = Choice::of(&past.history, &past.conditions)?;
        let mut export = export.without_bodies();
        let (mut looked_at, expected) = (0, export.expected());
        while let Some(delivery) = export.next().await? {
            looked_at += 1;
            show(looked_at, expected);
            match choice.of_delivery(&delivery) {
                Chosen::It => past.total += 1,
                Chosen::Other => {}
                Chosen::NoEvent => past.history.undecodable += 1,
            }
        }
        Ok(past)
    }
}

/// What the plug-in hears of what is asked for, or all of it where neither contains the other.
fn narrowed(own: Vec<String>, asked: &str) -> Vec<String> {
    match own.iter().any(|own| is_subset(asked, own)) {
        true => vec![asked.to_owned()],
        false => own,
    }
}

/// Whether a message is given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    It,
    /// It is not asked for, or does not concern the plug-in.
    Other,
    /// It may be asked for, and nobody can tell: it is no CloudEvent.
    NoEvent,
}

/// What tells the events that are given again from others.
#[derive(Debug)]
pub(super) struct Choice {
    types: Vec<TypePattern>,
    query: Query,
}

impl Choice {
    /// As the record has it.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub(super) fn of(history: &History, conditions: &[String]) -> Result<Self, Error> {
        let unknown = |text: &String| Error::Unknown(text.clone());
        let mut query = Query::default();
        for text in conditions {
            let (name, value) = text.split_once('=').ok_or_else(|| unknown(text))?;
            let place = match name {
                "subject" => &mut query.subject,
                "type" => &mut query.event_type,
                "key" => &mut query.key,
                "id" => &mut query.id,
                "correlation" => &mut query.correlation,
                _ => return Err(unknown(text)),
            };
            value.clone_into(place);
        }
        let types = history.types.iter();
        let types = types.map(|text| TypePattern::parse(text).ok_or_else(|| unknown(text)));
        Ok(Self {
            types: types.collect::<Result<_, _>>()?,
            query,
        })
    }

    /// Whether this message is one.
    pub(super) fn of_delivery(&self, delivery: &Delivery) -> Chosen {
        let asked = &self.query.subject;
        let is_on = asked.is_empty() || subject_matches(asked, &delivery.subject);
        // A replay is no event of its own, what a saga asks of itself is asked once, and the
        // envelope of a redacted one has no data.
        if delivery.is_envelope || addressee(&delivery.subject).is_some() || !is_on {
            return Chosen::Other;
        }
        let none = HeaderMap::new();
        let headers = delivery.headers.as_ref().unwrap_or(&none);
        let (place, at, subject) = (delivery.sequence, String::new(), &delivery.subject);
        let row = match delivery.event() {
            Ok(decoded) => of_event(place, at, subject, &decoded.event),
            // Its body is in the object store, and its headers say all that is asked.
            Err(_) if taken_out(headers).is_some() => {
                row(place, at, subject, |name| attribute(headers, name))
            }
            Err(_) => return Chosen::NoEvent,
        };
        let mut types = self.types.iter();
        let is_heard = self.types.is_empty() || types.any(|one| one.matches(&row.event_type));
        match is_heard && self.query.meets(&row) {
            true => Chosen::It,
            false => Chosen::Other,
        }
    }
}

/// Reads on behind what is finished; its places are those of the record.
pub(super) async fn rest(
    context: &Context,
    replay: &Replay,
    history: &History,
) -> Result<(Export, Choice), Error> {
    let choice = Choice::of(history, &replay.conditions)?;
    let events = history::stream(context).await?;
    let bounds = Bounds {
        from: Some(replay.cursor + 1),
        to: Some(replay.up_to),
    };
    let (subjects, query) = (history.subjects.clone(), Query::default());
    let export = Export::between(context, &events, subjects, &query, bounds).await?;
    Ok((export.without_bodies(), choice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(types: &[&str], conditions: &[&str]) -> Result<Choice, Error> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let types: Vec<String> = owned(types);
        let conditions: Vec<String> = owned(conditions);
        let history = History {
            plugin: "watch".to_owned(),
            from: 1,
            subjects: Vec::new(),
            types,
            partitions: 1,
            is_strict: false,
            with_effects: false,
            undecodable: 0,
            unhandled: 0,
            waits: String::new(),
        };
        Choice::of(&history, &conditions)
    }

    fn delivery(subject: &str, headers: &[(&str, &str)]) -> Delivery {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        Delivery {
            subject: subject.to_owned(),
            headers: Some(map),
            ..Delivery::default()
        }
    }

    const SUBJECT: &str = "d365.custom.x.record.thing.update.3";

    fn event(subject: &str, event_type: &str) -> Delivery {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", event_type),
            ("ce-partitionkey", "7"),
        ];
        delivery(subject, &headers)
    }

    #[test]
    fn what_is_asked_for_and_heard_is_chosen() {
        let choice = choice(&["a.*", "b"], &["key=7"]).expect("a choice");
        let of = |subject, event_type| choice.of_delivery(&event(subject, event_type));
        assert_eq!(of(SUBJECT, "a.one"), Chosen::It);
        assert_eq!(of(SUBJECT, "b"), Chosen::It);
        assert_eq!(of(SUBJECT, "b.one"), Chosen::Other);
        assert_eq!(of("d365.replay.watch.3", "b"), Chosen::Other);
        let envelope = Delivery {
            is_envelope: true,
            ..event(SUBJECT, "b")
        };
        assert_eq!(choice.of_delivery(&envelope), Chosen::Other);
        let wreck = delivery(SUBJECT, &[("ce-id", "1")]);
        assert_eq!(choice.of_delivery(&wreck), Chosen::NoEvent);
    }

    #[test]
    fn conditions_are_those_of_find() {
        for (condition, expected) in [
            ("subject=d365.custom.>", Chosen::It),
            ("subject=d365.fno.>", Chosen::Other),
            ("type=a.*", Chosen::It),
            ("type=a", Chosen::Other),
            ("key=8", Chosen::Other),
            ("id=1", Chosen::It),
            ("correlation=1", Chosen::It),
        ] {
            let choice = choice(&[], &[condition]).expect(condition);
            let chosen = choice.of_delivery(&event(SUBJECT, "a.one"));
            assert_eq!(chosen, expected, "{condition}");
        }
        for wrong in ["colour=red", "key"] {
            let error = choice(&[], &[wrong]).expect_err(wrong).to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn a_body_in_the_object_store_is_not_fetched_to_choose() {
        let reference = format!("nats-object:claims/{}", "0".repeat(64));
        let mut taken = event(SUBJECT, "a.one");
        if let Some(headers) = &mut taken.headers {
            headers.insert("ce-dataref", reference);
            headers.insert("ce-datacontenttype", "application/json");
        }
        let of = |conditions: &[&str]| {
            let choice = choice(&[], conditions).expect("a choice");
            choice.of_delivery(&taken)
        };
        assert_eq!(of(&["type=a.one", "key=7"]), Chosen::It);
        assert_eq!(of(&["type=a"]), Chosen::Other);
    }

    #[test]
    fn what_is_asked_for_narrows_what_is_read() {
        let own = || vec!["d365.*.*.record.*.*.*".to_owned()];
        let narrow = "d365.custom.*.record.thing.*.*";
        assert_eq!(narrowed(own(), narrow), [narrow]);
        assert_eq!(narrowed(own(), "d365.>"), own());
        assert_eq!(narrowed(own(), ""), own());
    }
}
