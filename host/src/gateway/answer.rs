//! Takes what became of a request's events, gives its answer: 202, with what stands where.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::spool::gate::Kept;
use crate::event::Event;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Bytes of an answer about one event, and some more.
const SHORT: usize = 512;

/// The answer in the making: items in the order of the body.
#[derive(Debug, Default)]
pub(super) struct Answer {
    items: Vec<Made>,
}

#[derive(Debug)]
enum Made {
    Event {
        id: String,
        event_type: String,
        subject: String,
    },
    DeadLetter {
        index: usize,
        error: String,
    },
}

#[derive(Serialize)]
struct Body<'a> {
    accepted: Vec<Accepted<'a>>,
    dead_letters: Vec<DeadLetter<'a>>,
    spooled: bool,
}

#[derive(Serialize)]
struct Accepted<'a> {
    id: &'a str,
    r#type: &'a str,
    subject: &'a str,
    sequence: Option<u64>,
    duplicate: bool,
}

#[derive(Serialize)]
struct DeadLetter<'a> {
    index: usize,
    error: &'a str,
}

impl Answer {
    /// An event was made of the next part of the body.
    pub(super) fn event(&mut self, event: &Event, subject: &str) {
        self.items.push(Made::Event {
            id: event.id.clone(),
            event_type: event.event_type.clone(),
            subject: subject.to_owned(),
        });
    }

    /// Nothing could be made of it.
    pub(super) fn dead_letter(&mut self, index: usize, error: String) {
        self.items.push(Made::DeadLetter { index, error });
    }

    /// How many parts of the body nobody understood.
    pub(super) fn dead_letters(&self) -> usize {
        let is_dead = |made: &&Made| matches!(made, Made::DeadLetter { .. });
        self.items.iter().filter(is_dead).count()
    }

    /// All of it is durable.
    pub(super) fn response(&self, kept: &[Kept]) -> Response {
        let mut body = Body {
            accepted: Vec::with_capacity(self.items.len()),
            dead_letters: Vec::new(),
            spooled: kept.contains(&Kept::Spooled),
        };
        for (made, kept) in self.items.iter().zip(kept) {
            match made {
                Made::Event {
                    id,
                    event_type,
                    subject,
                } => {
                    let (sequence, duplicate) = match kept {
                        Kept::Stored(stored) => (Some(stored.sequence), stored.duplicate),
                        Kept::Spooled => (None, false),
                    };
                    body.accepted.push(Accepted {
                        id,
                        r#type: event_type,
                        subject,
                        sequence,
                        duplicate,
                    });
                }
                Made::DeadLetter { index, error } => body.dead_letters.push(DeadLetter {
                    index: *index,
                    error,
                }),
            }
        }
        let mut json = Vec::with_capacity(SHORT);
        serde_json::to_writer(&mut json, &body).expect("text and numbers always become JSON");
        (StatusCode::ACCEPTED, [(CONTENT_TYPE, JSON)], json).into_response()
    }
}
