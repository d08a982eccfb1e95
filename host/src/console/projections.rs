//! Takes a question of a program about a projection of this host, gives its rows, or their changes:
//! `/api/v1/projections`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt as _;
use futures_util::stream::{iter, unfold};
use serde_json::{Value, json};

use super::Console;
use crate::projections::asked::{self, Found};
use crate::projections::changes::{Changed, Listener, News};
use crate::projections::query::{Query, Wrong, page};
use crate::projections::{Shown, store, version};

/// Where the projection is, on every answer.
const POSITION: HeaderName = HeaderName::from_static("sluice-position");
/// Refused events that are shown.
const REFUSED: usize = 1_000;

pub(super) fn router() -> Router<Console> {
    Router::new()
        .route("/projections", get(list))
        .route("/projections/{name}", get(first))
        .route("/projections/{name}/changes", get(changes_of_first))
        .route("/projections/{name}/refused", get(refused))
        .route("/projections/{name}/{table}", get(rows))
        .route("/projections/{name}/{table}/changes", get(changes))
        .route("/projections/{name}/{table}/rows/{*key}", get(row))
}

/// Why there is no answer, with what a program needs of it.
struct Problem {
    status: StatusCode,
    detail: String,
    more: Value,
}

impl Problem {
    fn new(status: StatusCode, detail: impl std::fmt::Display) -> Self {
        Self {
            status,
            detail: detail.to_string(),
            more: json!({}),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut problem = json!({
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let (Some(problem), Value::Object(more)) = (problem.as_object_mut(), self.more) {
            problem.extend(more);
        }
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, problem.to_string()).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}

impl From<Wrong> for Problem {
    fn from(error: Wrong) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

impl From<asked::Error> for Problem {
    fn from(error: asked::Error) -> Self {
        let text = error.to_string();
        let status = match &error {
            asked::Error::NoTable { .. } => StatusCode::NOT_FOUND,
            asked::Error::Future(_) => StatusCode::BAD_REQUEST,
            asked::Error::Unknown(_) => StatusCode::SERVICE_UNAVAILABLE,
            asked::Error::Behind { position, wanted } => {
                return Self {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    detail: text,
                    more: json!({ "position": position, "after": wanted }),
                };
            }
            asked::Error::Version(error) => return Self::of_version(error),
        };
        Self::new(status, text)
    }
}

impl Problem {
    fn of_version(error: &version::Error) -> Self {
        let status = match error {
            version::Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
            version::Error::Broke(_) => StatusCode::INTERNAL_SERVER_ERROR,
            version::Error::Page(error) => match error {
                page::Error::Wrong(_) => StatusCode::BAD_REQUEST,
                page::Error::Rebuilt | page::Error::Before { .. } => StatusCode::GONE,
                page::Error::NotKept => StatusCode::CONFLICT,
                page::Error::Store(store::Error::TooLong(_) | store::Error::Away(_)) => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                page::Error::Store(
                    store::Error::Sqlite { .. }
                    | store::Error::Disk { .. }
                    | store::Error::Postgres { .. }
                    | store::Error::Trust(_)
                    | store::Error::Form { .. }
                    | store::Error::Taken { .. },
                ) => StatusCode::INTERNAL_SERVER_ERROR,
            },
        };
        Self::new(status, error)
    }
}

impl Console {
    fn projection(&self, name: &str) -> Result<Arc<Shown>, Problem> {
        let projections = &self.inner.projections;
        projections.get(name).ok_or_else(|| {
            let names = projections.names();
            Problem::new(
                StatusCode::NOT_FOUND,
                format!("this host has no projection {name:?}; it has {names:?}"),
            )
        })
    }
}

fn words(query: Option<&str>) -> Vec<(String, String)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .into_owned()
        .collect()
}

async fn list(State(console): State<Console>) -> Json<Value> {
    let projections = &console.inner.projections;
    let names = projections.names();
    let states = names.iter().filter_map(|name| {
        let mut state = json!(projections.state(name)?);
        if let Some(members) = state.as_object_mut() {
            members.insert("name".to_owned(), json!(name));
        }
        Some(state)
    });
    Json(states.collect())
}

async fn refused(
    State(console): State<Console>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let shown = console.projection(&name)?;
    let current = Arc::clone(&shown.versions.borrow().current);
    let found = current.look(|store| store.refused(REFUSED)).await;
    let found = found.map_err(|error| Problem::of_version(&error))?;
    let found = found.map_err(|error| Problem::of_version(&page::Error::from(error).into()))?;
    Ok(Json(json!(found)))
}

async fn first(
    State(console): State<Console>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(&console, (&name, None), query.as_deref(), &headers).await
}

async fn rows(
    State(console): State<Console>,
    Path((name, table)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(&console, (&name, Some(&table)), query.as_deref(), &headers).await
}

async fn answer(
    console: &Console,
    (name, table): (&str, Option<&str>),
    words_of: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let shown = console.projection(name)?;
    let query = Query::parse(words(words_of))?;
    let context = console.inner.broker.borrow().clone();
    let table = shown.table(table)?;
    if query.as_of.is_none() {
        let version = shown.version(context.as_ref(), &query).await?;
        let of = table.clone();
        let changed = version.look(move |store| store.changed(&of));
        let changed = changed.await.map_err(|error| Problem::of_version(&error))?;
        if let Ok(changed) = changed
            && is_known(headers, &etag(&version.id, changed, false))
        {
            return Ok(not_modified(&version, &etag(&version.id, changed, false)));
        }
    }
    let found = shown.ask(context.as_ref(), Some(&table), &query).await?;
    let etag = etag(
        &found.version.id,
        found.answer.changed,
        query.as_of.is_some(),
    );
    if is_known(headers, &etag) {
        return Ok(not_modified(&found.version, &etag));
    }
    let Found {
        version,
        table,
        answer,
    } = found;
    let body = json!({
        "projection": name,
        "table": table,
        "version": version.id,
        "changed": answer.changed,
        "rows": answer.page.rows,
        "next": answer.page.next,
    });
    Ok(with_headers(Json(body).into_response(), &version, &etag))
}

async fn row(
    State(console): State<Console>,
    Path((name, table, key)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let shown = console.projection(&name)?;
    let query = Query::parse(words(query.as_deref()))?;
    let query = page::of_key(&key, &query)?;
    let context = console.inner.broker.borrow().clone();
    let found = shown.ask(context.as_ref(), Some(&table), &query).await?;
    let Some(row) = found.answer.page.rows.first() else {
        let text = format!("{table} of {name} has no row {key:?}");
        return Err(Problem::new(StatusCode::NOT_FOUND, text));
    };
    // A row's own last change, so that others do not make it another one.
    let etag = etag(&found.version.id, row.sequence, query.as_of.is_some());
    if is_known(&headers, &etag) {
        return Ok(not_modified(&found.version, &etag));
    }
    Ok(with_headers(
        Json(row).into_response(),
        &found.version,
        &etag,
    ))
}

fn etag(version: &str, changed: u64, is_past: bool) -> String {
    let past = if is_past { "-then" } else { "" };
    format!("\"{version}-{changed}{past}\"")
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let known = known.filter_map(|value| value.to_str().ok());
    known
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag)
}

fn not_modified(version: &version::Version, etag: &str) -> Response {
    with_headers(StatusCode::NOT_MODIFIED.into_response(), version, etag)
}

fn with_headers(mut response: Response, version: &version::Version, etag: &str) -> Response {
    let headers = response.headers_mut();
    // Digits and letters have no way to fail.
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(POSITION, version.standing().position.into());
    // To be kept, and asked for each time.
    let asked = HeaderValue::from_static("private, no-cache");
    headers.insert(header::CACHE_CONTROL, asked);
    response
}

async fn changes_of_first(
    State(console): State<Console>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    stream(&console, (&name, None), query.as_deref(), &headers)
}

async fn changes(
    State(console): State<Console>,
    Path((name, table)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    stream(&console, (&name, Some(&table)), query.as_deref(), &headers)
}

fn stream(
    console: &Console,
    (name, table): (&str, Option<&str>),
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let shown = console.projection(name)?;
    let bad = |text: String| Problem::new(StatusCode::BAD_REQUEST, text);
    let mut since = None;
    for (word, value) in words(query) {
        match word.as_str() {
            "since" => {
                let number = value.parse().ok();
                let expected = || bad(format!("since={value}: expected a sequence"));
                since = Some(number.ok_or_else(expected)?);
            }
            other => return Err(bad(format!("{other}: expected since=SEQUENCE, or nothing"))),
        }
    }
    let last = headers
        .get("last-event-id")
        .and_then(|last| last.to_str().ok());
    let place = match last {
        Some(last) => {
            let place = last.rsplit_once(':');
            let place = place.and_then(|(id, place)| Some((Some(id), place.parse().ok()?)));
            let expected = || {
                bad(format!(
                    "Last-Event-ID: {last}: expected the id of an event of this stream"
                ))
            };
            Some(place.ok_or_else(expected)?)
        }
        None => since.map(|since| (None, since)),
    };
    let listener = Listener::begin(&shown, table, place)?;
    let stop = console.inner.stop.clone();
    let events = unfold(Some(listener), |listener| async move {
        let mut listener = listener?;
        let (events, goes_on) = match listener.next().await {
            Ok(news) => (told(&listener, news), true),
            // The listener comes again.
            Err(error) => (vec![Event::default().comment(error.to_string())], false),
        };
        let events = events.into_iter().map(Ok::<Event, Infallible>);
        Some((iter(events), goes_on.then_some(listener)))
    });
    let events = events.flatten().take_until(stop.cancelled_owned());
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response())
}

fn told(listener: &Listener, news: News) -> Vec<Event> {
    let at = |name: &str| {
        let place = listener.place();
        let data = json!({ "table": listener.table(), "place": place });
        let event = Event::default().event(name).id(place);
        vec![event.data(data.to_string())]
    };
    match news {
        News::Begins => at("begins"),
        News::Rebuilt => at("rebuilt"),
        News::Changed(rows) => {
            let rows = rows.into_iter();
            rows.map(|row| changed(listener, row)).collect()
        }
    }
}

fn changed(listener: &Listener, changed: Changed) -> Event {
    let Changed {
        key,
        row,
        sequence,
        is_last,
    } = changed;
    let data = json!({ "table": listener.table(), "key": key, "row": row, "sequence": sequence });
    let event = Event::default().event("row").data(data.to_string());
    // Who goes on behind an event has heard all that it changed.
    match is_last {
        true => event.id(listener.place_of(sequence)),
        false => event,
    }
}
