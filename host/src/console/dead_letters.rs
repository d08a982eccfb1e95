//! Takes the dead letters, gives them in groups of what they died of, or those of one group; and keys that wait.

use axum::extract::{Form, Query};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::fault::Fault;
use super::layout::Place;
use super::page::Page;
use super::replays::progress;
use super::shelf::MOST;
use super::words::{count, counted, query, time};
use crate::clock;
use crate::operations::audit;
use crate::operations::blocked::{self, BlockedKey};
use crate::operations::letters::{Conditions, Group, Summary, groups};
use crate::operations::replays::{Replays, State};

/// Letters on a page.
const SHOWN: usize = 100;

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Wanted {
    /// Conditions, one a line.
    #[serde(default, rename = "where")]
    conditions: String,
    #[serde(default)]
    page: usize,
}

impl Wanted {
    pub(super) fn conditions(&self) -> &str {
        &self.conditions
    }
}

/// The conditions of a query: one a line.
pub(super) fn conditions(text: &str) -> Result<Conditions, Fault> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(Conditions::parse(lines)?)
}

pub(super) async fn show(page: Page, Query(wanted): Query<Wanted>) -> Response {
    page.show(Place::DeadLetters, "Dead letters", move |page| {
        let wanted = wanted.clone();
        async move { draw(&page, &wanted).await }
    })
    .await
}

async fn draw(page: &Page, wanted: &Wanted) -> Result<Markup, Fault> {
    let context = page.console.context()?;
    let conditions = conditions(&wanted.conditions)?;
    let all = page.console.inner.shelf.letters(&context).await?;
    let found: Vec<&Summary> = all
        .iter()
        .filter(|letter| conditions.hold(letter))
        .collect();
    let groups = groups(found.iter().copied());
    let keys = blocked::read(&context, None).await?;
    let replays = Replays::open(&context).await?.all().await?;
    let running = replays
        .iter()
        .filter(|replay| replay.state == State::Running && replay.history.is_none());
    let is_cut = page.console.inner.shelf.is_cut().await;
    Ok(html! {
        h1 { "Dead letters" }
        @for replay in running { (progress(page, replay)) }
        (search(wanted))
        @if all.is_empty() {
            section.notice { h2 { "None" } p { "Every event was handled, or still is. What cannot be handled ends here, with its bytes intact." } }
        } @else if found.is_empty() {
            section.notice { p { "None of " (counted(all.len() as u64, "dead letter")) " meets the conditions. " a href="/dead-letters" { "Show all" } } }
        } @else {
            (bar(page, &conditions, wanted, found.len(), groups.len()))
            (group_table(&groups))
            @if !conditions.is_empty() { (letter_table(&found, wanted)) }
            @if is_cut {
                p.hint { "Only the newest " (count(MOST)) " numbers are looked at here; " code { "sluice dlq list" } " has all." }
            }
        }
        (waiting(page, &keys))
        p { a href="/replays" { "All replays" } }
    })
}

fn search(wanted: &Wanted) -> Markup {
    html! {
        form.search method="get" action="/dead-letters" {
            label for="where" { "Conditions, one a line" }
            textarea #where name="where" rows="2" spellcheck="false"
                placeholder="plugin=credit-hold\nerror~deadlock" { (wanted.conditions) }
            div.actions {
                button { "Filter" }
                @if !wanted.conditions.is_empty() { a.button href="/dead-letters" { "Show all" } }
            }
            details { summary { "How to write them" }
                p.hint {
                    "A field, one of " code { "= != ~ < <= > >=" } ", a value. Fields: plugin, version, digest, reason, error, group, attempts, "
                    "subject, id, type, key, correlation, time, number, trace. " code { "~" } " finds a part of the text, whatever its case."
                }
            }
        }
    }
}

fn bar(
    page: &Page,
    conditions: &Conditions,
    wanted: &Wanted,
    letters: usize,
    groups: usize,
) -> Markup {
    html! {
        div.bar {
            p { strong { (counted(letters as u64, "dead letter")) } " in " (counted(groups as u64, "group")) }
            @if page.may_act() {
                a.button.primary href={ "/dead-letters/replay?" (query(&[("where", &wanted.conditions)])) } {
                    @if conditions.is_empty() { "Replay all…" } @else { "Replay these…" }
                }
            }
        }
    }
}

fn group_table(groups: &[Group]) -> Markup {
    html! {
        div.scroll role="region" aria-label="Groups of dead letters" tabindex="0" { table.groups {
            caption.hidden { "Groups of dead letters" }
            thead { tr {
                th.number scope="col" { "Letters" } th scope="col" { "Plug-in" } th scope="col" { "Reason" }
                th scope="col" { "Error of the newest" } th scope="col" { "First" } th scope="col" { "Last" }
            } }
            tbody { @for group in groups { tr {
                td.number { strong { (count(group.count)) } }
                th scope="row" { (group.plugin) br; span.hint { (versions(group)) } }
                td { span.badge.bad { (group.reason) } @if 0 < group.blocking { br; span.hint { (counted(group.blocking as u64, "key")) " wait" } } }
                td.error { a href={ "/dead-letters?" (query(&[("where", &format!("group={}", group.group))])) } {
                    @if group.error.is_empty() { "(no words)" } @else { (group.error) }
                } }
                td { (time(&group.first_time)) }
                td { (time(&group.last_time)) }
            } } }
        } }
    }
}

fn versions(group: &Group) -> String {
    let versions: Vec<&str> = group.versions.iter().map(|version| &**version).collect();
    versions.join(", ")
}

fn letter_table(found: &[&Summary], wanted: &Wanted) -> Markup {
    let from = wanted.page.saturating_mul(SHOWN);
    let link = |number: usize| {
        let number = number.to_string();
        format!(
            "/dead-letters?{}",
            query(&[("where", &wanted.conditions), ("page", &number)])
        )
    };
    html! {
        h2 { "Letters, the newest first" }
        div.scroll role="region" aria-label="Dead letters" tabindex="0" { table {
            caption.hidden { "Dead letters" }
            thead { tr {
                th.number scope="col" { "Number" } th scope="col" { "Died" } th scope="col" { "Event" }
                th scope="col" { "Key" } th.number scope="col" { "Attempts" } th scope="col" { "Error" }
            } }
            tbody { @for letter in found.iter().rev().skip(from).take(SHOWN) { tr {
                td.number { a href={ "/dead-letters/" (letter.id) } { (letter.id) } }
                td { (time(&letter.last_time)) }
                td { (letter.event_type) br; span.hint { (letter.event_id) } }
                td { (letter.partition_key) @if letter.blocks.is_some() { br; span.badge.bad { "key waits" } } }
                td.number { (letter.attempts) }
                td.error { (letter.error) }
            } } }
        } }
        nav.pager aria-label="Pages of letters" {
            @if 0 < wanted.page { a.button rel="prev" href=(link(wanted.page - 1)) { "Newer" } }
            @if from + SHOWN < found.len() { a.button rel="next" href=(link(wanted.page + 1)) { "Older" } }
        }
    }
}

fn waiting(page: &Page, keys: &[BlockedKey]) -> Markup {
    if keys.is_empty() {
        return html! {};
    }
    html! {
        section #blocked {
            h2 { "Keys that wait for you" }
            p.hint { "Their plug-in has " code { "on_exhausted = \"block-key\"" } ": later events of the key wait until the dead letter is replayed or discarded." }
            div.scroll role="region" aria-label="Blocked keys" tabindex="0" { table {
                caption.hidden { "Blocked keys" }
                thead { tr {
                    th scope="col" { "Plug-in" } th scope="col" { "Key" } th.number scope="col" { "Events behind it" }
                    th scope="col" { "Since" } th scope="col" { "Waits for" }
                } }
                tbody { @for key in keys { tr {
                    th scope="row" { (key.plugin) }
                    td { (key.key) }
                    td.number { (count(key.waiting as u64)) }
                    td { @if let Some(since) = &key.since { (time(since)) } }
                    td { @match key.dead_letter {
                        Some(id) => a href={ "/dead-letters/" (id) } { "dead letter " (id) },
                        None => @if page.may_act() {
                            form method="post" action="/dead-letters/unblock" {
                                input type="hidden" name="plugin" value=(key.plugin);
                                input type="hidden" name="key" value=(key.key);
                                "its dead letter is gone " button { "Let it go on" }
                            }
                        } @else { "a dead letter that is gone" },
                    } }
                } } }
            } }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Key {
    plugin: String,
    key: String,
}

pub(super) async fn unblock(page: Page, Form(wanted): Form<Key>) -> Response {
    let done = async {
        let who = page.actor()?;
        let context = page.console.context()?;
        let Key { plugin, key } = &wanted;
        let keys = blocked::read(&context, Some(plugin)).await?;
        let found = keys.iter().find(|blocked| blocked.key == *key);
        let found = found.filter(|blocked| blocked.dead_letter.is_none());
        let found = found.ok_or_else(|| {
            Fault::bad(format!(
                "no key {key:?} of {plugin} waits for a dead letter that is gone"
            ))
        })?;
        audit::record(&context, &who, "unblock", plugin, json!({ "key": key })).await?;
        let about = format!("unblock {}", clock::unix_millis());
        blocked::let_go_on(&context, plugin, key, found.sequence, &about).await?;
        Ok("/dead-letters#blocked".to_owned())
    };
    let done = done.await;
    page.done(Place::DeadLetters, done)
}
