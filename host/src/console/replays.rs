//! Takes which dead letters are to be sent again, has that done at a bounded rate, shows how far it
//! is; and how far replays of history are.

use axum::extract::{Form, Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::dead_letters::conditions;
use super::fault::Fault;
use super::layout::Place;
use super::page::Page;
use super::words::{count, counted, query, time};
use crate::operations::letters::groups;
use crate::operations::replays::{History, MAX_RATE, RATE, Replay, Replays, State};

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default, rename = "where")]
    conditions: String,
    rate: Option<u32>,
}

/// What it would be, before it is done.
pub(super) async fn ask(page: Page, Query(wanted): Query<Wanted>) -> Response {
    let drawn = async {
        page.actor()?;
        let context = page.console.context()?;
        let conditions = conditions(&wanted.conditions)?;
        let all = page.console.inner.shelf.letters(&context).await?;
        let found: Vec<_> = all
            .iter()
            .filter(|letter| conditions.hold(letter))
            .collect();
        let groups = groups(found.iter().copied());
        let letters = counted(found.len() as u64, "dead letter");
        Ok(html! {
            p.crumbs { a href={ "/dead-letters?" (query(&[("where", &wanted.conditions)])) } { "Dead letters" } }
            h1 { "Replay " (letters) }
            ul { @for group in &groups { li { (count(group.count)) " × " strong { (group.plugin) } ", " (group.reason) ": " (group.error) } } }
            p { "The set is the letters that are there when you press the button: those that come later are not in it, "
                "and one that is replayed, edited or discarded meanwhile is left out. Each goes to the plug-in that could not handle it, "
                "and is handled once. You can cancel the rest at any time." }
            form.edit method="post" action="/dead-letters/replay" {
                input type="hidden" name="where" value=(wanted.conditions);
                label for="rate" { "Letters a second, at the most" }
                input #rate name="rate" type="number" min="1" max=(MAX_RATE) value=(wanted.rate.unwrap_or(RATE)) required;
                div.actions {
                    button.primary { "Replay " (letters) }
                    a.button href={ "/dead-letters?" (query(&[("where", &wanted.conditions)])) } { "Cancel" }
                }
            }
        })
    };
    match drawn.await {
        Ok(middle) => page.still(Place::DeadLetters, "Replay", &middle),
        Err(fault) => page.fault(Place::DeadLetters, &fault),
    }
}

pub(super) async fn begin(page: Page, Form(wanted): Form<Wanted>) -> Response {
    let done = async {
        let who = page.actor()?;
        let replays = Replays::open(&page.console.context()?).await?;
        let conditions = conditions(&wanted.conditions)?;
        let rate = wanted.rate.unwrap_or(RATE);
        if !(1..=MAX_RATE).contains(&rate) {
            return Err(Fault::bad(format!(
                "the rate is {rate}; 1 to {MAX_RATE} letters a second are possible"
            )));
        }
        // Nobody's: this host, or another, takes it at once.
        let (replay, _) = replays.ask(&who, &conditions, rate, String::new()).await?;
        Ok(format!("/replays/{}", replay.id))
    };
    let done = done.await;
    page.done(Place::DeadLetters, done)
}

pub(super) async fn one(page: Page, Path(id): Path<String>) -> Response {
    page.show(Place::DeadLetters, "Replay", move |page| {
        let id = id.clone();
        async move {
            let replays = Replays::open(&page.console.context()?).await?;
            let (replay, _) = replays.read(&id).await?;
            Ok(html! {
                p.crumbs { a href="/dead-letters" { "Dead letters" } " › " a href="/replays" { "Replays" } }
                h1 { "Replay" }
                (progress(&page, &replay))
                dl.rows {
                    dt { "Asked by" } dd { (replay.who.name) ", " (replay.who.via) ", " (time(&replay.asked)) }
                    @match &replay.history {
                        None => { (letters(&replay)) }
                        Some(history) => { (events(&replay, history)) }
                    }
                    dt { "Rate" } dd { (count(replay.rate)) "/s at the most" }
                    dt { "Done by" } dd { @if replay.by.is_empty() { "the next host that sees it" } @else { (replay.by) } }
                    @if let Some(ended) = &replay.ended { dt { "Ended" } dd { (time(ended)) } }
                }
                @if !replay.failures.is_empty() {
                    @let place = if replay.history.is_none() { "/dead-letters/" } else { "/events/" };
                    h2 { @if replay.history.is_none() { "Those that stay" } @else { "Those that were not given again" } }
                    ul { @for failure in &replay.failures { li {
                        a href={ (place) (failure.number) } { (failure.number) } ": " (failure.error)
                    } } }
                }
            })
        }
    })
    .await
}

fn letters(replay: &Replay) -> Markup {
    html! {
        dt { "Which" } dd {
            @if replay.conditions.is_empty() { "all" }
            @for condition in &replay.conditions { code { (condition) } " " }
            ", up to number " (replay.up_to)
        }
    }
}

fn events(replay: &Replay, history: &History) -> Markup {
    html! {
        dt { "For" } dd { (history.plugin) }
        dt { "Which" } dd {
            "events " (history.from) " to " (replay.up_to)
            @for condition in &replay.conditions { ", " code { (condition) } }
        }
        dt { "Effects" } dd {
            @if history.with_effects { "what it emits leaves, and its requests do" }
            @else { "none: what it emits is dropped, and its requests are refused" }
        }
        @if 0 < history.undecodable {
            dt { "Left out" } dd { (counted(history.undecodable, "message")) ", no CloudEvents" }
        }
    }
}

pub(super) async fn all(page: Page) -> Response {
    page.show(Place::DeadLetters, "Replays", |page| async move {
        let all = Replays::open(&page.console.context()?).await?.all().await?;
        Ok(html! {
            p.crumbs { a href="/dead-letters" { "Dead letters" } }
            h1 { "Replays" }
            @if all.is_empty() { p.hint { "None yet." } }
            @for replay in &all { (progress(&page, replay)) }
        })
    })
    .await
}

/// How far it is.
pub(super) fn progress(page: &Page, replay: &Replay) -> Markup {
    let (finished, total) = (replay.finished().min(replay.total), replay.total);
    let (word, history) = match &replay.history {
        None => ("replayed", None),
        Some(history) => ("given again", Some(history)),
    };
    html! {
        article.card.replay id={ "replay-" (replay.id) } {
            header {
                h2 { a href={ "/replays/" (replay.id) } { (replay.which()) } }
                span.badge.bad[0 < replay.failed] { (replay.state.name()) }
                @if replay.state == State::Running && page.may_act() {
                    form.actions method="post" action={ "/replays/" (replay.id) "/cancel" } {
                        button.danger { "Cancel the rest" }
                    }
                }
            }
            progress max=(total.max(1)) value=(if total == 0 { 1 } else { finished }) aria-label="Finished" {}
            p {
                (count(finished)) " of " (count(total)) ": " (count(replay.replayed)) " " (word) ", "
                (count(replay.gone)) " gone meanwhile, " (count(replay.failed)) " failed"
                @if replay.state == State::Cancelled && history.is_none() { "; " (count(total - finished)) " stay where they are" }
                @if replay.state == State::Cancelled && history.is_some() { "; " (count(total - finished)) " were not given" }
            }
            @if let Some(history) = history.filter(|_| replay.state == State::Running) {
                @if 0 < history.unhandled { p { (count(history.unhandled)) " of those given again are not handled yet" } }
                @if !history.waits.is_empty() { p.hint { "It waits: " (history.waits) } }
            }
        }
    }
}

pub(super) async fn cancel(page: Page, Path(id): Path<String>) -> Response {
    let done = async {
        let who = page.actor()?;
        let replays = Replays::open(&page.console.context()?).await?;
        replays.cancel(&who, &id).await?;
        Ok(format!("/replays/{id}"))
    };
    let done = done.await;
    page.done(Place::DeadLetters, done)
}
