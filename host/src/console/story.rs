//! Takes an event, gives its story: received, attempted, emitted, and what is linked with it forwards and backwards.

use std::time::Duration;

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};

use super::layout::Place;
use super::letter::body;
use super::page::Page;
use super::words::{bytes, digest, duration, query, time};
use crate::cli::level_name;
use crate::clock;
use crate::journal::{Ended, Told};
use crate::operations::history::{self, Stored, Story, sorted};

pub(super) async fn show(page: Page, Path(sequence): Path<u64>) -> Response {
    page.show(Place::Events, "Event", move |page| async move {
        let context = page.console.context()?;
        let events = history::stream(&context).await?;
        let stored = history::one(&context, &events, sequence).await?;
        let letters = page.console.letters_of(&context, &stored).await?;
        let story = history::story(&context, &events, &stored, letters).await?;
        Ok(draw(&page, &stored, &story))
    })
    .await
}

fn draw(page: &Page, stored: &Stored, story: &Story) -> Markup {
    let title = match &stored.event {
        Ok(event) => event.event_type.clone(),
        Err(_) => "No CloudEvent".to_owned(),
    };
    html! {
        p.crumbs { a href="/events" { "Events" } " › " (stored.sequence) }
        h1 { (title) }
        @if let Some(mark) = &stored.redacted { section.notice { p {
            "Its data was redacted on " (time(&mark.at)) " by " (mark.by) ": " (mark.why) ". It stood as "
            (mark.sequence) ", stored " (time(&mark.stored)) "; this is its envelope."
        } } }
        (facts(stored, story))
        h2 { "What happened" }
        ol.story {
            li.well {
                p { time datetime=(stored.stored) { (time(&stored.stored)) } " " strong { "Stored" } " on " code { (stored.subject) } }
            }
            @for told in &story.attempts { (attempt(stored, told)) }
            @for one in &story.emitted {
                li.well { p {
                    strong { "Emitted" } " by " (one.plugin) ": "
                    @match one.sequence {
                        Some(sequence) => a href={ "/events/" (sequence) } { (one.id) },
                        None => (one.id),
                    }
                    " on " code { (one.subject) }
                } }
            }
            @for letter in &story.letters {
                li.bad { p {
                    (time(&letter.last_time)) " " strong { "Dead letter" } " of " (letter.plugin) ": "
                    a href={ "/dead-letters/" (letter.id) } { (letter.reason) ", number " (letter.id) }
                } pre.error { (letter.error) } }
            }
            @for row in &story.again {
                li.well { p { (time(&row.stored)) " " strong { "Sent again" } " as " a href={ "/events/" (row.sequence) } { (row.sequence) } } }
            }
            @if story.attempts.is_empty() {
                li { p.hint { "No attempt is written down (yet). " code { "telemetry.journal" } " says which are, and for how long." } }
            }
        }
        h2 { "Body" span.hint { " " (media_type(stored)) ", " (bytes(stored.body().len() as u64)) } }
        @if stored.is_body_gone { p.hint { "The body was too big for a message, and is not in the object store any more." } }
        (body(stored.body(), page.mask()))
        details #headers { summary { "All headers" }
            dl.rows { @for (name, value) in sorted(&stored.headers) { dt { (name) } dd { code { (value) } } } }
        }
    }
}

fn media_type(stored: &Stored) -> &str {
    let event = stored.event.as_ref().ok();
    let media_type = event.and_then(|event| event.datacontenttype.as_deref());
    media_type.unwrap_or("no media type")
}

fn facts(stored: &Stored, story: &Story) -> Markup {
    let Some(row) = &story.event else {
        return html! {
            section.notice.bad { p { "It cannot be read as an event: " @if let Err(error) = &stored.event { (error) } } }
        };
    };
    let event = stored.event.as_ref().ok();
    let attribute = |name: &str| {
        let text = event.and_then(|event| event.text(name));
        text.map(std::borrow::Cow::into_owned).unwrap_or_default()
    };
    html! {
        dl.rows {
            dt { "Id" } dd { (row.id) }
            dt { "Source" } dd { (attribute("source")) }
            dt { "Subject" } dd { (attribute("subject")) }
            dt { "Time" } dd { (time(&attribute("time"))) }
            dt { "Key" } dd { a href={ "/events?" (query(&[("key", &row.key)])) } { (row.key) } }
            @if !row.correlation.is_empty() {
                dt { "Correlation" } dd { a href={ "/events?" (query(&[("correlation", &row.correlation)])) } { (row.correlation) } }
            } @else {
                dt { "Correlation" } dd { a href={ "/events?" (query(&[("correlation", &row.id)])) } { "what comes of this event" } }
            }
            @if !row.causation.is_empty() {
                dt { "Comes of" } dd { @match &story.cause {
                    Some(cause) => { a href={ "/events/" (cause.sequence) } { (cause.event_type) } " " span.hint { (cause.id) } },
                    None => { (row.causation) " " span.hint { "(not found in the store)" } },
                } }
            }
            @if !attribute("traceparent").is_empty() { dt { "Trace" } dd { code { (attribute("traceparent")) } } }
        }
    }
}

fn attempt(stored: &Stored, told: &Told) -> Markup {
    let attempt = &told.attempt;
    let is_well = matches!(attempt.ended, Ended::Done | Ended::Duplicate);
    html! {
        li.well[is_well].bad[!is_well] {
            p {
                (time(&clock::rfc3339(attempt.began))) " "
                strong { (told.plugin) } " " (told.version) " " code { (digest(&told.digest)) }
                @if told.is_canary { " " span.badge { "canary" } }
                ", attempt " (attempt.attempt) " on " (told.host) ": "
                span.badge.bad[!is_well] { (attempt.ended.name()) }
                " after " (duration(Some(Duration::from_micros(attempt.micros))))
                @if attempt.sequence != stored.origin() { " (sent again as " (attempt.sequence) ")" }
            }
            @if !attempt.error.is_empty() { pre.error { (attempt.error) } }
            @if !attempt.lines.is_empty() {
                ul.log { @for (level, line) in &attempt.lines {
                    li { span.level.bad[*level <= 2] { (level_name(*level)) } " " (line) }
                } }
            }
        }
    }
}
