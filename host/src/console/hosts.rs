//! Takes the leases and what every host says, gives who is there, what each runs and takes.

use axum::response::Response;
use maud::html;

use super::fault::Fault;
use super::flow::warnings;
use super::layout::Place;
use super::page::Page;
use super::words::{bytes, count, time};
use crate::operations::fleet;

pub(super) async fn show(page: Page) -> Response {
    page.show(Place::Hosts, "Hosts", |page| async move {
        let context = page.console.context()?;
        let rows = fleet::hosts(&context).await?;
        let picture = page.console.inner.sampler.picture(&context).await?;
        let sample = picture.newest().ok_or_else(Fault::no_broker)?;
        let said = |id: &str| sample.answers.iter().find(|answer| answer.host_id == id);
        Ok(html! {
            h1 { "Hosts" }
            (warnings(sample))
            @for row in &rows {
                @let answer = said(&row.lease.id);
                article.card id={ "host-" (row.lease.id) } {
                    header {
                        h2 { (row.lease.name) }
                        span.badge.bad[row.state() == "gone"] { (row.state()) }
                        span.version { "sluice " (row.lease.version) }
                    }
                    dl.figures {
                        div { dt { "Memory" } dd { @match answer {
                            Some(answer) if 0 < answer.memory_bytes => (bytes(answer.memory_bytes)),
                            _ => "–",
                        } } }
                        div { dt { "Partitions" } dd { (row.lease.running.len()) } }
                        div { dt { "Plug-ins" } dd { (row.lease.plugins.len()) } }
                        div { dt { "Spooled" } dd { (answer.map_or("–".to_owned(), |answer| count(answer.spool_events))) } }
                    }
                    dl.rows {
                        dt { "Process" } dd { code { (row.lease.id.get(..8).unwrap_or(&row.lease.id)) } ", since " (time(&row.lease.started)) }
                        dt { "Lease" } dd {
                            @if row.alive { "renewed every second" } @else { "not renewed for " (row.seen_ms_ago / 1000) " s" }
                        }
                        dt { "Runs" } dd {
                            @if row.lease.running.is_empty() { "no partition" }
                            @for partition in &row.lease.running { span.chip { (partition) } " " }
                        }
                        dt { "Can run" } dd {
                            @if row.lease.plugins.is_empty() { "no plug-in" }
                            @for (plugin, partitions) in &row.lease.plugins {
                                a.chip href={ "/plug-ins#" (plugin) } { (plugin) " × " (partitions) } " "
                            }
                        }
                    }
                }
            }
            p.hint { "Partitions are spread over the hosts that are alive; a host that is silent for five seconds loses its own to the others." }
        })
    })
    .await
}
