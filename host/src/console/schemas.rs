//! Takes the registry, gives which types have a schema, what live bodies have otherwise, and the
//! button that takes it for right.

use axum::extract::Form;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::Place;
use super::page::Page;
use super::words::{counted, time};
use crate::operations::schemas;
use crate::schemas::drifts::{self, Record};
use crate::schemas::registry;

/// Types, and drifts, on the page.
const SHOWN: usize = 200;

/// Which type.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(rename = "type")]
    event_type: String,
}

pub(super) async fn show(page: Page) -> Response {
    page.show(Place::Schemas, "Schemas", move |page| async move {
        let context = page.console.context()?;
        let known = registry::versions(&context, None).await?;
        let found = drifts::list(&context, None).await?;
        let newest = known.values().filter_map(|of_type| of_type.values().next_back());
        Ok(html! {
            h1 { "Schemas" }
            h2 { "Drift" }
            @if found.is_empty() { p.hint { "Live bodies are as their schemas say." } }
            @else { (table(&page, &found)) }
            h2 { "Types" }
            @if known.is_empty() { p.hint { "None; " code { "sluice schema learn" } " makes some of the events in the store." } }
            @else {
                div.scroll role="region" aria-label="Types" tabindex="0" { table {
                    caption.hidden { "Types" }
                    thead { tr {
                        th scope="col" { "Type" } th scope="col" { "Version" } th scope="col" { "From" }
                        th scope="col" { "Bodies" } th scope="col" { "Since" }
                    } }
                    tbody { @for version in newest.take(SHOWN) { tr {
                        td { (version.event_type) }
                        td { (version.version) }
                        td { (version.origin) }
                        td { (version.seen) }
                        td { (time(&version.since)) }
                    } } }
                } }
                p.hint { (counted(known.len() as u64, "type")) "; " code { "sluice schema show" } " shows the members of one" }
            }
        })
    })
    .await
}

fn table(page: &Page, found: &[Record]) -> Markup {
    let shows_examples = page.mask().is_empty();
    html! {
        div.scroll role="region" aria-label="Drift" tabindex="0" { table {
            caption.hidden { "Drift" }
            thead { tr {
                th scope="col" { "First seen" } th scope="col" { "Type" } th scope="col" { "Member" }
                th scope="col" { "What" } th scope="col" { "Plug-ins" }
                @if page.may_act() { th scope="col" { "Right?" } }
            } }
            tbody { @for record in found.iter().take(SHOWN) { tr {
                td { (time(&record.first_seen)) " in " code { (record.event) } }
                td { (record.event_type) }
                td { code { (record.drift.path) } }
                td {
                    span.badge.bad { (record.drift.kind.as_str()) } " was " (record.drift.was) ", is " (record.drift.is)
                    @if shows_examples && !record.drift.example.is_empty() { " " code { (record.drift.example) } }
                }
                td { (record.readers()) }
                @if page.may_act() { td { form method="post" action="/schemas/accept" {
                    input type="hidden" name="type" value=(record.event_type);
                    button { "Accept the type" }
                } } }
            } } }
        } }
        p.hint { (counted(found.len() as u64, "finding")) ", each told once; to accept makes what is in the store the next version of the type" }
    }
}

pub(super) async fn accept(page: Page, Form(wanted): Form<Wanted>) -> Response {
    let done = async {
        let who = page.actor()?;
        let context = page.console.context()?;
        schemas::accept(&context, &who, &wanted.event_type).await?;
        Ok("/schemas".to_owned())
    };
    let done = done.await;
    page.done(Place::Schemas, done)
}
