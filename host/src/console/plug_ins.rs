//! Takes what every host says of its plug-ins, gives each with its builds, counts and limits; pauses, resumes, rolls back.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::fault::Fault;
use super::flow::{sparkline, warnings};
use super::layout::Place;
use super::page::Page;
use super::sampler::{Picture, Sample};
use super::words::{bytes, count, digest, duration, query, rate, time};
use crate::operations::fleet;
use crate::roster::{Answer, Entry, Limits};

pub(super) async fn show(page: Page) -> Response {
    page.show(Place::PlugIns, "Plug-ins", |page| async move {
        let context = page.console.context()?;
        let picture = page.console.inner.sampler.picture(&context).await?;
        let sample = picture.newest().ok_or_else(Fault::no_broker)?;
        let names = sample.plug_ins();
        Ok(html! {
            h1 { "Plug-ins" }
            (warnings(sample))
            @if names.is_empty() {
                p.hint { "No host runs a plug-in. Put a .wasm file into a host's folder, or " code { "sluice deploy" } " one." }
            }
            @for name in &names { (card(&page, &picture, sample, name)) }
        })
    })
    .await
}

fn card(page: &Page, picture: &Picture, sample: &Sample, name: &str) -> Markup {
    let entries: Vec<(&Answer, &Entry)> = sample.entries(name).collect();
    let first = entries.first().map(|(_, entry)| *entry);
    let paused = entries.iter().any(|(_, entry)| entry.paused);
    let open = sample.sum(name, |entry| entry.counts.circuits_open);
    let blocked = sample.sum(name, |entry| entry.counts.blocked);
    let lag = sample.sum(name, |entry| entry.counts.lag);
    let (half, most) = picture.latency(name);
    let total =
        |of: &dyn Fn(&Entry) -> u64| -> u64 { entries.iter().map(|(_, entry)| of(entry)).sum() };
    let figures = [
        ("Handled", rate(picture.rate(|sample| sample.handled(name)))),
        ("Behind", count(lag)),
        ("p50", duration(half)),
        ("p99", duration(most)),
        ("Done", count(total(&|entry| entry.counts.done))),
        ("Duplicates", count(total(&|entry| entry.counts.duplicate))),
        ("Retries", count(total(&|entry| entry.counts.retry))),
        (
            "In flight",
            count(sample.sum(name, |entry| entry.counts.in_flight)),
        ),
        (
            "Keys waiting",
            count(sample.sum(name, |entry| entry.counts.parked)),
        ),
        ("Keys blocked", count(blocked)),
    ];
    let letters = sample.letters_of(name);
    html! {
        article.card id=(name) {
            header {
                h2 { (name) }
                @if let Some(entry) = first { span.version { (entry.build.version) } }
                @if paused { span.badge.bad { "paused" } }
                @if 0 < open { span.badge.bad { "circuit open" } }
                @if 0 < blocked { span.badge.bad { "keys blocked" } }
                @if 0 < letters {
                    a.badge.bad href={ "/dead-letters?" (query(&[("where", &format!("plugin={name}"))])) } {
                        (count(letters)) " dead"
                    }
                }
                @if page.may_act() { (buttons(name, paused)) }
            }
            dl.figures {
                @for (what, figure) in &figures { div { dt { (what) } dd { (figure) } } }
            }
            div.charts {
                figure { (sparkline(&picture.rates(|sample| sample.handled(name)))) figcaption { "handled, last minute" } }
                figure { (sparkline(&picture.levels(|sample| sample.sum(name, |entry| entry.counts.lag)))) figcaption { "behind, last minute" } }
            }
            (builds(&entries))
            @if let Some(limits) = first.and_then(|entry| entry.limits.as_ref()) { (held_to(name, limits)) }
        }
    }
}

fn buttons(name: &str, paused: bool) -> Markup {
    let (action, label) = if paused {
        ("resume", "Resume")
    } else {
        ("pause", "Pause")
    };
    let ask = format!("Roll {name} back to the build before, on every host?");
    html! {
        div.actions {
            form method="post" action={ "/plug-ins/" (name) "/" (action) } {
                button.primary[paused] { (label) span.hidden { " " (name) } }
            }
            form method="post" action={ "/plug-ins/" (name) "/rollback" } data-ask=(ask) {
                button { "Roll back" span.hidden { " " (name) } }
            }
        }
    }
}

fn builds(entries: &[(&Answer, &Entry)]) -> Markup {
    html! {
        div.scroll role="region" aria-label="Builds by host" tabindex="0" { table {
            caption.hidden { "Builds by host" }
            thead { tr {
                th scope="col" { "Host" } th scope="col" { "Build" } th scope="col" { "Generation" }
                th scope="col" { "Since" } th scope="col" { "Partitions" } th.number scope="col" { "Instances" }
                th.number scope="col" { "Memory" }
            } }
            tbody { @for (answer, entry) in entries {
                tr {
                    th scope="row" { (answer.host) }
                    td { (entry.build.version) " " code { (digest(&entry.build.digest)) } }
                    td { (entry.build.generation) " · " (entry.build.file) }
                    td { (time(&entry.build.since)) }
                    td {
                        @if entry.partitions.is_empty() { "none here" } @else { (partitions(&entry.partitions)) }
                        @if !entry.carrying_over.is_empty() { " · carrying state over: " (partitions(&entry.carrying_over)) }
                    }
                    td.number { (entry.instances) }
                    td.number { (bytes(u64::try_from(entry.counts.memory_bytes).unwrap_or(0))) }
                }
                @if let Some(canary) = &entry.canary {
                    tr.sub { td colspan="7" {
                        span.badge { "canary" } " " (canary.version) " " code { (digest(&canary.digest)) } " for "
                        (canary.percent) "% of the keys: " (count(canary.calls)) " calls, " (count(canary.broken))
                        " of them failed what the build above has handled"
                    } }
                }
                @if let Some(gone) = &entry.taken_back {
                    tr.sub { td colspan="7" {
                        span.badge.bad { "taken back" } " " (gone.build.version) " " code { (digest(&gone.build.digest)) }
                        " by " (gone.host) " on " (time(&gone.on)) ": " (gone.reason)
                    } }
                }
            } }
        } }
    }
}

/// `0, 1` of `credit-hold/0` and `credit-hold/1`.
fn partitions(names: &[String]) -> String {
    let numbers = names
        .iter()
        .filter_map(|name| Some(name.rsplit_once('/')?.1));
    numbers.collect::<Vec<_>>().join(", ")
}

fn held_to(name: &str, limits: &Limits) -> Markup {
    let rows = [
        ("Hears", limits.subjects.join(" ")),
        ("May emit", or_nothing(&limits.emit)),
        ("May call", or_nothing(&limits.http)),
        (
            "Order",
            format!("{}, {} partitions", limits.ordering, limits.partitions),
        ),
        ("At a time", format!("{} calls", limits.max_in_flight)),
        (
            "A call",
            format!("{} ms, {}", limits.timeout_ms, bytes(limits.memory as u64)),
        ),
        ("Instances", limits.isolation.clone()),
        (
            "Attempts",
            format!("{}, then {}", limits.max_attempts, limits.on_exhausted),
        ),
    ];
    html! {
        details id={ "limits-" (name) } {
            summary { "Limits and grants" }
            dl.rows { @for (what, value) in &rows { dt { (what) } dd { (value) } } }
        }
    }
}

fn or_nothing(grants: &[String]) -> String {
    match grants {
        [] => "nothing".to_owned(),
        some => some.join(" "),
    }
}

pub(super) async fn act(page: Page, Path((plugin, action)): Path<(String, String)>) -> Response {
    let done = async {
        let who = page.actor()?;
        let context = page.console.context()?;
        match action.as_str() {
            "pause" => fleet::pause(&context, &who, &plugin, true).await?,
            "resume" => fleet::pause(&context, &who, &plugin, false).await?,
            "rollback" => drop(fleet::roll_back(&context, &who, &plugin).await?),
            other => {
                let text = format!("{other} is nothing that can be done with a plug-in");
                return Err(Fault::new(StatusCode::NOT_FOUND, text));
            }
        }
        Ok(format!("/plug-ins#{plugin}"))
    };
    let done = done.await;
    page.done(Place::PlugIns, done)
}
