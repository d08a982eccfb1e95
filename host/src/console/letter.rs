//! Takes one dead letter, gives it whole; edits, replays, discards it.

use axum::extract::{Form, Path};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::fault::Fault;
use super::layout::Place;
use super::page::Page;
use super::words::{bytes, digest, query, time};
use crate::operations::history::sorted;
use crate::operations::letters::{self, Letter};
use crate::operations::mask::{Shown, shown};
use crate::operations::{audit, dead_letters};

pub(super) async fn show(page: Page, Path(id): Path<u64>) -> Response {
    let drawn = async {
        let letter = read(&page, id).await?;
        Ok(draw(&page, &letter))
    };
    match drawn.await {
        Ok(middle) => page.still(Place::DeadLetters, &format!("Dead letter {id}"), &middle),
        Err(fault) => page.fault(Place::DeadLetters, &fault),
    }
}

async fn read(page: &Page, id: u64) -> Result<Letter, Fault> {
    let context = page.console.context()?;
    let mut letter = letters::one(&letters::stream(&context).await?, id).await?;
    letter.redeem(&context).await?;
    Ok(letter)
}

fn draw(page: &Page, letter: &Letter) -> Markup {
    let summary = &letter.summary;
    let id = summary.id;
    let media_type = media_type(letter);
    html! {
        p.crumbs { a href="/dead-letters" { "Dead letters" } " › "
            a href={ "/dead-letters?" (query(&[("where", &format!("group={}", summary.group))])) } { "those that died of the same" } }
        h1 { "Dead letter " (id) }
        section.notice.bad {
            h2 { (summary.plugin) " " (summary.version) ": " (summary.reason) }
            pre.error { (summary.error) }
        }
        @if page.may_act() { div.actions {
            form method="post" action={ "/dead-letters/" (id) "/replay" } { button.primary { "Replay" } }
            a.button href={ "/dead-letters/" (id) "/edit" } { "Edit body…" }
            form method="post" action={ "/dead-letters/" (id) "/discard" } data-ask={ "Throw dead letter " (id) " away?" } {
                button.danger { "Discard" }
            }
        } }
        dl.rows {
            dt { "Event" } dd { a href={ "/events/" (summary.sequence) } { (summary.event_id) } }
            dt { "Type" } dd { (summary.event_type) }
            dt { "Key" } dd { (summary.partition_key) @if summary.blocks.is_some() { " " span.badge.bad { "later events of it wait" } } }
            @if !summary.correlation_id.is_empty() {
                dt { "Correlation" } dd { a href={ "/events?" (query(&[("correlation", &summary.correlation_id)])) } { (summary.correlation_id) } }
            }
            dt { "Attempts" } dd { (summary.attempts) ", from " (time(&summary.first_time)) " to " (time(&summary.last_time)) }
            dt { "Build" } dd { (summary.version) " " code { (digest(&summary.digest)) } }
            dt { "Subject" } dd { code { (summary.subject) } ", number " (summary.sequence) " of the event store" }
            @if !summary.trace_id.is_empty() { dt { "Trace" } dd { code { (summary.trace_id) } } }
            @if let Some(edited) = summary.edited { dt { "Edited" } dd { "took the place of dead letter " (edited) } }
        }
        h2 { "Body" span.hint { " " (media_type) ", " (bytes(letter.body.len() as u64)) } }
        (body(&letter.body, page.mask()))
        details #headers { summary { "All headers" }
            dl.rows { @for (name, value) in sorted(&letter.headers) { dt { (name) } dd { code { (value) } } } }
        }
    }
}

fn media_type(letter: &Letter) -> &str {
    let header = |name| letter.headers.get(name);
    let found = header("ce-datacontenttype").or(header("content-type"));
    found.map_or("no media type", |value| value.as_str())
}

/// A body as this person may see it.
pub(super) fn body(body: &[u8], mask: &[String]) -> Markup {
    match shown(body, mask) {
        Shown::Text { text, hidden } => html! {
            @if 0 < hidden { p.hint { (hidden) " values are masked for viewers (" code { "admin.mask" } ")." } }
            pre.body tabindex="0" { (text) }
        },
        Shown::Hidden => {
            html! { p.hint { "The body is no JSON, so what is masked in it cannot be told; operators see it." } }
        }
        Shown::Binary(text) => {
            html! { p.hint { "Not text; the first bytes:" } pre.body tabindex="0" { (text) } }
        }
        Shown::Empty => html! { p.hint { "Empty." } },
    }
}

pub(super) async fn edit(page: Page, Path(id): Path<u64>) -> Response {
    let drawn = async {
        page.actor()?;
        let letter = read(&page, id).await?;
        let text = match shown(&letter.body, &[]) {
            Shown::Text { text, .. } => text,
            Shown::Empty => String::new(),
            Shown::Hidden | Shown::Binary(_) => {
                let text = "the body is not text; `sluice dlq edit --body FILE` takes any bytes";
                return Err(Fault::new(StatusCode::UNPROCESSABLE_ENTITY, text));
            }
        };
        Ok(form(&letter, &text, None))
    };
    match drawn.await {
        Ok(middle) => page.still(
            Place::DeadLetters,
            &format!("Edit dead letter {id}"),
            &middle,
        ),
        Err(fault) => page.fault(Place::DeadLetters, &fault),
    }
}

fn form(letter: &Letter, text: &str, fault: Option<&Fault>) -> Markup {
    let id = letter.summary.id;
    html! {
        p.crumbs { a href="/dead-letters" { "Dead letters" } " › " a href={ "/dead-letters/" (id) } { "Dead letter " (id) } }
        h1 { "Edit the body of dead letter " (id) }
        p.hint { "It died of: " (letter.summary.error) }
        @if let Some(fault) = fault { section.notice.bad role="alert" { p #fault { (fault.text) } } }
        form.edit method="post" action={ "/dead-letters/" (id) "/edit" } {
            label for="body" { "Body, " (media_type(letter)) }
            textarea #body name="body" rows="24" spellcheck="false"
                aria-invalid=[fault.map(|_| "true")] aria-describedby=[fault.map(|_| "fault")] { "\n" (text) }
            div.actions {
                button.primary name="then" value="replay" { "Save and replay" }
                button name="then" value="keep" { "Save" }
                a.button href={ "/dead-letters/" (id) } { "Cancel" }
            }
            p.hint { "A new dead letter with this body takes the place of this one; the original stays in the event store. Who edits it is written down." }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Edited {
    body: String,
    #[serde(default)]
    then: String,
}

pub(super) async fn save(page: Page, Path(id): Path<u64>, Form(edited): Form<Edited>) -> Response {
    let saved = async {
        let who = page.actor()?;
        let context = page.console.context()?;
        let letter = read(&page, id).await?;
        // A form sends line ends as the network has them.
        let text = edited.body.replace("\r\n", "\n");
        let max_payload = context.client().server_info().max_payload;
        if let Err(error) = dead_letters::check(&letter, text.as_bytes(), max_payload) {
            let fault = Fault::from(error);
            return Ok(Err((form(&letter, &text, Some(&fault)), fault.status)));
        }
        let new = dead_letters::edit(&context, &who, &letter, Bytes::from(text)).await?;
        page.console.inner.shelf.forget().await;
        if edited.then != "replay" {
            return Ok(Ok(format!("/dead-letters/{new}")));
        }
        again(&page, new).await.map(Ok)
    };
    match saved.await {
        Ok(Ok(to)) => page.done(Place::DeadLetters, Ok(to)),
        Ok(Err((form, status))) => page.whole(
            status,
            Place::DeadLetters,
            &format!("Edit dead letter {id}"),
            &form,
            false,
        ),
        Err(fault) => page.fault(Place::DeadLetters, &fault),
    }
}

/// Sends it again; gives the page of its event.
async fn again(page: &Page, id: u64) -> Result<String, Fault> {
    let who = page.actor()?;
    let context = page.console.context()?;
    let mut letter = read(page, id).await?;
    audit::record(
        &context,
        &who,
        "replay",
        &format!("dead letter {id}"),
        json!({}),
    )
    .await?;
    let sequence = dead_letters::replay(&context, &mut letter).await?;
    page.console.inner.shelf.forget().await;
    Ok(format!("/events/{sequence}"))
}

pub(super) async fn replay(page: Page, Path(id): Path<u64>) -> Response {
    let done = again(&page, id).await;
    page.done(Place::DeadLetters, done)
}

pub(super) async fn discard(page: Page, Path(id): Path<u64>) -> Response {
    let done = async {
        let who = page.actor()?;
        let context = page.console.context()?;
        let letter = read(&page, id).await?;
        let detail =
            json!({ "plugin": letter.summary.plugin, "event_id": letter.summary.event_id });
        audit::record(
            &context,
            &who,
            "discard",
            &format!("dead letter {id}"),
            detail,
        )
        .await?;
        dead_letters::discard(&context, &letter).await?;
        page.console.inner.shelf.forget().await;
        Ok("/dead-letters".to_owned())
    };
    let done = done.await;
    page.done(Place::DeadLetters, done)
}
