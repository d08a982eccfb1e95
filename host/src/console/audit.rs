//! Takes the stream AUDIT, gives who did what, the newest first.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::layout::Place;
use super::page::Page;
use super::words::time;
use crate::operations::audit;

/// Entries on the page.
const SHOWN: u64 = 200;

pub(super) async fn show(page: Page) -> Response {
    page.show(Place::Audit, "Audit", |page| async move {
        let entries = audit::newest(&page.console.context()?, SHOWN).await?;
        Ok(html! {
            h1 { "Audit" }
            @if entries.is_empty() { p.hint { "Nobody has done anything yet." } }
            @else {
                div.scroll role="region" aria-label="What operators did" tabindex="0" { table {
                    caption.hidden { "What operators did" }
                    thead { tr {
                        th scope="col" { "Time" } th scope="col" { "Who" } th scope="col" { "What" }
                        th scope="col" { "To what" } th scope="col" { "More" }
                    } }
                    tbody { @for entry in &entries { tr {
                        td { (time(&entry.time)) }
                        td { strong { (entry.who.name) } br; span.hint { (entry.who.via) } }
                        td { span.badge { (entry.action) } }
                        td { (entry.target) }
                        td { (detail(&entry.detail)) }
                    } } }
                } }
                p.hint { "The last " (SHOWN) " entries; " code { "nats stream view AUDIT" } " has all of them. Nobody can delete one." }
            }
        })
    })
    .await
}

fn detail(detail: &Value) -> Markup {
    let Value::Object(members) = detail else {
        return html! {};
    };
    html! {
        ul.plain { @for (name, value) in members {
            li { span.hint { (name) ": " } (text(value)) }
        } }
    }
}

fn text(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
