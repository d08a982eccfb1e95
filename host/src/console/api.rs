//! Takes a question of a program, gives what the pages show, as JSON: `/api/v1`.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;

use super::Console;
use super::dead_letters::{Wanted, conditions};
use super::fault::Fault;
use super::page::Page;
use super::sagas;
use crate::operations::letters::{Summary, groups};
use crate::operations::replays::Replays;
use crate::operations::sagas::{Found, list, one};
use crate::operations::{audit, blocked, fleet, history};

pub(super) fn router() -> Router<Console> {
    Router::new()
        .route("/plug-ins", get(plug_ins))
        .route("/hosts", get(hosts))
        .route("/dead-letters", get(dead_letters))
        .route("/dead-letters/groups", get(groups_of))
        .route("/dead-letters/blocked", get(blocked_keys))
        .route("/replays", get(replays))
        .route("/replays/{id}", get(replay))
        .route("/events", get(events))
        .route("/events/{sequence}/story", get(story))
        .route("/sagas", get(sagas_found))
        .route("/sagas/one", get(saga))
        .route("/audit", get(audited))
        .merge(super::projections::router())
        .fallback(|| async { Fault::new(StatusCode::NOT_FOUND, "there is no such question") })
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let problem = json!({
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.text,
        });
        let kind = [(axum::http::header::CONTENT_TYPE, "application/problem+json")];
        (self.status, kind, problem.to_string()).into_response()
    }
}

type Answer<T> = Result<Json<T>, Fault>;

async fn plug_ins(State(console): State<Console>) -> Answer<impl Serialize> {
    let (answers, silent) = fleet::answers(&console.context()?).await?;
    Ok(Json(json!({ "hosts": answers, "silent": silent })))
}

async fn sagas_found(page: Page, Query(wanted): Query<sagas::Wanted>) -> Answer<impl Serialize> {
    let context = page.console.context()?;
    let found = list(&context, wanted.plugin(), &wanted.statuses()?).await?;
    let shown = found.into_iter().map(|found| masked(&page, found));
    Ok(Json(shown.collect::<Vec<_>>()))
}

async fn saga(page: Page, Query(wanted): Query<sagas::One>) -> Answer<impl Serialize> {
    let found = one(&page.console.context()?, &wanted.plugin, &wanted.key).await?;
    Ok(Json(masked(&page, found)))
}

/// What a saga keeps is of no form that a mask could be laid over.
fn masked(page: &Page, mut found: Found) -> Found {
    if !page.mask().is_empty() {
        found.saga.state.clear();
        found.saga.early.clear();
        for compensation in &mut found.saga.compensations {
            compensation.data.clear();
        }
    }
    found
}

async fn hosts(State(console): State<Console>) -> Answer<impl Serialize> {
    Ok(Json(fleet::hosts(&console.context()?).await?))
}

async fn found(console: &Console, wanted: &Wanted) -> Result<Vec<Summary>, Fault> {
    let conditions = conditions(wanted.conditions())?;
    let all = console.inner.shelf.letters(&console.context()?).await?;
    Ok(all
        .iter()
        .filter(|letter| conditions.hold(letter))
        .cloned()
        .collect())
}

async fn dead_letters(
    State(console): State<Console>,
    Query(wanted): Query<Wanted>,
) -> Answer<impl Serialize> {
    Ok(Json(found(&console, &wanted).await?))
}

async fn groups_of(
    State(console): State<Console>,
    Query(wanted): Query<Wanted>,
) -> Answer<impl Serialize> {
    Ok(Json(groups(&found(&console, &wanted).await?)))
}

async fn blocked_keys(State(console): State<Console>) -> Answer<impl Serialize> {
    Ok(Json(blocked::read(&console.context()?, None).await?))
}

async fn replays(State(console): State<Console>) -> Answer<impl Serialize> {
    Ok(Json(Replays::open(&console.context()?).await?.all().await?))
}

async fn replay(State(console): State<Console>, Path(id): Path<String>) -> Answer<impl Serialize> {
    let replays = Replays::open(&console.context()?).await?;
    let (replay, _) = replays.read(&id).await?;
    Ok(Json(replay))
}

async fn events(
    State(console): State<Console>,
    Query(wanted): Query<super::events::Wanted>,
) -> Answer<impl Serialize> {
    let events = history::stream(&console.context()?).await?;
    let found = history::search(&events, &wanted.query()?, wanted.before, 100).await?;
    Ok(Json(found))
}

async fn story(
    State(console): State<Console>,
    Path(sequence): Path<u64>,
) -> Answer<impl Serialize> {
    let context = console.context()?;
    let events = history::stream(&context).await?;
    let stored = history::one(&context, &events, sequence).await?;
    let letters = console.letters_of(&context, &stored).await?;
    let story = history::story(&context, &events, &stored, letters).await?;
    Ok(Json(story))
}

async fn audited(State(console): State<Console>) -> Answer<impl Serialize> {
    Ok(Json(audit::newest(&console.context()?, 1_000).await?))
}
