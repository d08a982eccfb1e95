//! Takes what an event is like, gives those that are so, the newest first.

use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::fault::Fault;
use super::layout::Place;
use super::page::Page;
use super::words::{query, time};
use crate::clock;
use crate::operations::history::{self, Found, Row, search};
use crate::route::REPLAY_PREFIX;

/// Events on a page.
const SHOWN: usize = 50;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    subject: String,
    #[serde(rename = "type")]
    event_type: String,
    key: String,
    id: String,
    correlation: String,
    since: String,
    until: String,
    pub(super) before: Option<u64>,
}

pub(super) async fn show(page: Page, Query(wanted): Query<Wanted>) -> Response {
    page.show(Place::Events, "Events", move |page| {
        let wanted = wanted.clone();
        async move {
            let context = page.console.context()?;
            let events = history::stream(&context).await?;
            let found = search(&events, &wanted.query()?, wanted.before, SHOWN).await?;
            Ok(html! {
                h1 { "Events" }
                (form(&wanted))
                (table(&found.events))
                (pager(&wanted, &found))
            })
        }
    })
    .await
}

impl Wanted {
    pub(super) fn query(&self) -> Result<history::Query, Fault> {
        let text = |text: &str| text.trim().to_owned();
        Ok(history::Query {
            subject: text(&self.subject),
            event_type: text(&self.event_type),
            key: text(&self.key),
            id: text(&self.id),
            correlation: text(&self.correlation),
            since: moment(&self.since)?,
            until: moment(&self.until)?,
        })
    }

    fn link(&self, before: Option<u64>) -> String {
        let before = before.map(|before| before.to_string()).unwrap_or_default();
        let query = query(&[
            ("subject", &self.subject),
            ("type", &self.event_type),
            ("key", &self.key),
            ("id", &self.id),
            ("correlation", &self.correlation),
            ("since", &self.since),
            ("until", &self.until),
            ("before", &before),
        ]);
        format!("/events?{query}")
    }
}

/// A time in UTC as a browser's field has it, or RFC 3339.
fn moment(text: &str) -> Result<Option<u64>, Fault> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let forms = [text.to_owned(), format!("{text}Z"), format!("{text}:00Z")];
    let found = forms.iter().find_map(|form| clock::parse_rfc3339(form));
    let found = found.ok_or_else(|| {
        Fault::bad(format!(
            "{text:?} is no time; write it as 2026-11-29T08:00:00Z"
        ))
    })?;
    Ok(Some(found))
}

fn form(wanted: &Wanted) -> Markup {
    let fields = [
        (
            "subject",
            "Subject",
            &wanted.subject,
            "d365.dataverse.contoso.>",
        ),
        (
            "type",
            "Type",
            &wanted.event_type,
            "d365.dataverse.account.*",
        ),
        ("key", "Key", &wanted.key, "account/7b41…"),
        ("id", "Event id", &wanted.id, ""),
        ("correlation", "Correlation id", &wanted.correlation, ""),
    ];
    let times = [
        ("since", "Since (UTC)", &wanted.since),
        ("until", "Until (UTC)", &wanted.until),
    ];
    html! {
        form.search.grid method="get" action="/events" {
            @for (name, label, value, example) in fields {
                div { label for=(name) { (label) } input id=(name) name=(name) value=(value) placeholder=(example) spellcheck="false" autocomplete="off"; }
            }
            @for (name, label, value) in times {
                div { label for=(name) { (label) } input id=(name) name=(name) type="datetime-local" step="1" value=(value); }
            }
            div.actions { button.primary { "Search" } a.button href="/events" { "Clear" } }
        }
    }
}

fn table(rows: &[Row]) -> Markup {
    if rows.is_empty() {
        return html! { section.notice { p { "No event is so." } } };
    }
    html! {
        div.scroll role="region" aria-label="Events, the newest first" tabindex="0" { table {
            caption.hidden { "Events, the newest first" }
            thead { tr {
                th.number scope="col" { "Number" } th scope="col" { "Stored" } th scope="col" { "Type" }
                th scope="col" { "Key" } th scope="col" { "Id" } th scope="col" { "Correlation" }
            } }
            tbody { @for row in rows { tr {
                td.number { a href={ "/events/" (row.sequence) } { (row.sequence) } }
                td { (time(&row.stored)) }
                td { (row.event_type) @if row.subject.starts_with(REPLAY_PREFIX) { " " span.badge { "sent again" } } @if row.redacted.is_some() { " " span.badge { "redacted" } } }
                td { a href={ "/events?" (query(&[("key", &row.key)])) } { (row.key) } }
                td.id { (row.id) }
                td.id { @if !row.correlation.is_empty() {
                    a href={ "/events?" (query(&[("correlation", &row.correlation)])) } { (row.correlation) }
                } }
            } } }
        } }
    }
}

fn pager(wanted: &Wanted, found: &Found) -> Markup {
    html! {
        nav.pager aria-label="Pages of events" {
            @if wanted.before.is_some() { a.button href=(wanted.link(None)) { "Newest" } }
            @if let Some(before) = found.before {
                a.button rel="next" href=(wanted.link(Some(before))) {
                    @if found.events.len() < SHOWN { "Look further back, before " (before) } @else { "Older" }
                }
            } @else { span.hint { "That is all there is." } }
        }
    }
}
