//! Takes the sagas of the ledger, gives which there are, each as a timeline, and the buttons that
//! cancel one or have it go on.

use axum::extract::{Form, Query};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use sluicegate_saga::{Entry, Status, What};

use super::fault::Fault;
use super::layout::Place;
use super::letter::body;
use super::page::Page;
use super::words::{counted, digest, query, time};
use crate::clock;
use crate::operations::sagas::{Ask, Found, ask, list, one};

/// Sagas on the page.
const SHOWN: usize = 200;
const STATUSES: [Status; 5] = [
    Status::Running,
    Status::Compensating,
    Status::Parked,
    Status::Done,
    Status::Compensated,
];

/// Which are asked for.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    plugin: String,
    #[serde(default)]
    status: String,
}

impl Wanted {
    pub(super) fn plugin(&self) -> Option<&str> {
        (!self.plugin.is_empty()).then_some(&self.plugin)
    }

    pub(super) fn statuses(&self) -> Result<Vec<Status>, Fault> {
        if self.status.is_empty() {
            return Ok(Vec::new());
        }
        let found = STATUSES.into_iter().find(|one| one.as_str() == self.status);
        let words = STATUSES.map(Status::as_str).join(", ");
        let wrong = || {
            Fault::bad(format!(
                "no status is called {:?}; there are {words}",
                self.status
            ))
        };
        Ok(vec![found.ok_or_else(wrong)?])
    }
}

/// Which one.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct One {
    pub(super) plugin: String,
    pub(super) key: String,
}

impl One {
    fn place(&self) -> String {
        format!(
            "/sagas/one?{}",
            query(&[("plugin", &self.plugin), ("key", &self.key)])
        )
    }
}

/// What is asked of it.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(flatten)]
    one: One,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    done: String,
}

pub(super) async fn show(page: Page, Query(wanted): Query<Wanted>) -> Response {
    page.show(Place::Sagas, "Sagas", move |page| {
        let wanted = wanted.clone();
        async move {
            let context = page.console.context()?;
            let found = list(&context, wanted.plugin(), &wanted.statuses()?).await?;
            Ok(html! {
                h1 { "Sagas" }
                form.search.grid method="get" action="/sagas" {
                    label { "Plug-in" input name="plugin" value=(wanted.plugin); }
                    label { "Status" select name="status" {
                        option value="" { "any" }
                        @for status in STATUSES {
                            option value=(status.as_str()) selected[status.as_str() == wanted.status] { (status.as_str()) }
                        }
                    } }
                    button { "Filter" }
                }
                @if found.is_empty() { p.hint { "None." } }
                @else {
                    div.scroll role="region" aria-label="Sagas" tabindex="0" { table {
                        caption.hidden { "Sagas" }
                        thead { tr {
                            th scope="col" { "Last moved" } th scope="col" { "Key" } th scope="col" { "Plug-in" }
                            th scope="col" { "Status" } th scope="col" { "Now" }
                        } }
                        tbody { @for found in found.iter().take(SHOWN) { tr {
                            td { (time(&clock::rfc3339(found.saga.moved))) }
                            td { a href=(place(found)) { (found.key) } }
                            td { (found.plugin) }
                            td { (badge(found.saga.status)) }
                            td { (found.now()) }
                        } } }
                    } }
                    p.hint { (counted(found.len() as u64, "saga")) ", the one that moved last first; " (SHOWN) " are shown" }
                }
            })
        }
    })
    .await
}

fn place(found: &Found) -> String {
    let one = One {
        plugin: found.plugin.clone(),
        key: found.key.clone(),
    };
    one.place()
}

fn badge(status: Status) -> Markup {
    let is_bad = matches!(status, Status::Parked | Status::Compensating);
    html! { span.badge.bad[is_bad] { (status.as_str()) } }
}

pub(super) async fn timeline(page: Page, Query(wanted): Query<One>) -> Response {
    page.show(Place::Sagas, "Saga", move |page| {
        let wanted = wanted.clone();
        async move {
            let found = one(&page.console.context()?, &wanted.plugin, &wanted.key).await?;
            Ok(whole(&page, &found))
        }
    })
    .await
}

fn whole(page: &Page, found: &Found) -> Markup {
    let saga = &found.saga;
    html! {
        p.crumbs { a href="/sagas" { "Sagas" } " › " a href={ "/sagas?" (query(&[("plugin", &found.plugin)])) } { (found.plugin) } }
        h1 { (found.key) " " (badge(saga.status)) }
        @if page.may_act() { (buttons(found)) }
        dl.rows {
            @if !found.now().is_empty() { dt { @if saga.why.is_some() { "Why" } @else { "Now" } } dd { (found.now()) } }
            dt { "Began" } dd { (time(&clock::rfc3339(saga.began))) @if 1 < saga.run { ", for the " (saga.run) "th time" } }
            dt { "Build" } dd { (found.plugin) " " (saga.build.version) " " code { (digest(&saga.build.digest)) } }
            dt { "Correlation" } dd { a href={ "/events?" (query(&[("correlation", &saga.correlation)])) } { (saga.correlation) } }
            @if !saga.compensations.is_empty() && !saga.status.is_ended() {
                dt { "To be undone" } dd { @for one in saga.compensations.iter().rev() { code { (one.step) } " " } }
            }
        }
        h2 { "Timeline" }
        ol.story { @for entry in &saga.timeline { (line(entry)) } }
        h2 { "State" }
        @if page.mask().is_empty() { (body(&saga.state, &[])) }
        @else { p.hint { "It is not shown to viewers where values are masked (" code { "admin.mask" } ")." } }
    }
}

fn buttons(found: &Found) -> Markup {
    let hidden = html! {
        input type="hidden" name="plugin" value=(found.plugin);
        input type="hidden" name="key" value=(found.key);
    };
    match found.saga.status {
        Status::Running => html! {
            form.edit method="post" action="/sagas/cancel" {
                (hidden)
                label for="reason" { "Cancel it: what it did is undone. Why?" }
                input #reason name="reason" required;
                div.actions { button.danger { "Cancel the saga" } }
            }
        },
        Status::Parked => html! {
            div.actions {
                form method="post" action="/sagas/retry" { (hidden) button.primary { "Run the compensation again" } }
                form method="post" action="/sagas/retry" {
                    (hidden) input type="hidden" name="done" value="yes";
                    button { "It was done by hand: go on" }
                }
            }
        },
        Status::Compensating | Status::Done | Status::Compensated => html! {},
    }
}

fn line(entry: &Entry) -> Markup {
    let Entry {
        at,
        what,
        step,
        text,
        sequence,
    } = entry;
    let is_bad = matches!(
        what,
        What::Failed | What::Cancelled | What::Parked | What::TimedOut
    );
    let is_well = matches!(
        what,
        What::Began | What::Step | What::Compensated | What::Ended
    );
    html! {
        li.well[is_well].bad[is_bad] { p {
            (time(&clock::rfc3339(*at))) " " strong { (what.words()) }
            @if !step.is_empty() { " " code { (step) } }
            @if let Some(sequence) = sequence { " " a href={ "/events/" (sequence) } { "event " (sequence) } }
        }
        @if !text.is_empty() { p { (text) } } }
    }
}

pub(super) async fn cancel(page: Page, Form(asked): Form<Asked>) -> Response {
    let reason = asked.reason.trim().to_owned();
    let wanted = if reason.is_empty() {
        Err(Fault::bad(
            "say why; it is written down with the saga".to_owned(),
        ))
    } else {
        Ok(Ask::Cancel { reason })
    };
    act(page, asked.one, wanted).await
}

pub(super) async fn retry(page: Page, Form(asked): Form<Asked>) -> Response {
    let done = !asked.done.is_empty();
    act(page, asked.one, Ok(Ask::Retry { done })).await
}

async fn act(page: Page, wanted: One, what: Result<Ask, Fault>) -> Response {
    let done = async {
        let who = page.actor()?;
        let context = page.console.context()?;
        ask(&context, &who, (&wanted.plugin, &wanted.key), what?).await?;
        Ok(wanted.place())
    };
    let done = done.await;
    page.done(Place::Sagas, done)
}
