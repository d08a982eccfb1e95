//! Takes a token, gives a session: `/login` and `/logout`.

use std::time::Duration;

use axum::extract::{Form, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use tokio::time::sleep;

use super::Console;
use super::layout::{Place, layout};

/// Before a wrong token is answered.
const WRONG: Duration = Duration::from_millis(500);

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    to: String,
}

#[derive(Deserialize)]
pub(super) struct Entry {
    token: String,
    #[serde(default)]
    to: String,
}

/// Only this console's own pages are gone to.
fn own(to: &str) -> &str {
    let is_own = to.starts_with('/') && !to.starts_with("//") && !to.contains('\\');
    if is_own { to } else { "/" }
}

pub(super) async fn form(State(console): State<Console>, Query(wanted): Query<Wanted>) -> Response {
    show(&console, &wanted.to, false)
}

fn show(console: &Console, to: &str, was_wrong: bool) -> Response {
    let middle = html! {
        form.login method="post" action="/login" {
            h1 { "Sign in" }
            p { "With your token of " code { "[[admin.user]]" } " or " code { "admin.token" } " in " code { "sluice.toml" } "." }
            @if was_wrong { p.bad role="alert" { "No user of this host has that token." } }
            label for="token" { "Token" }
            input #token name="token" type="password" autocomplete="current-password" required autofocus;
            input type="hidden" name="to" value=(own(to));
            button.primary { "Sign in" }
        }
    };
    let host = &console.inner.host;
    let status = if was_wrong {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::OK
    };
    let text = layout(host, None, Place::None, "Sign in", &middle, false).into_string();
    (status, Html(text)).into_response()
}

pub(super) async fn enter(State(console): State<Console>, Form(entry): Form<Entry>) -> Response {
    match console.inner.access.log_in(&entry.token) {
        Some(cookie) => {
            ([(header::SET_COOKIE, cookie)], Redirect::to(own(&entry.to))).into_response()
        }
        None => {
            sleep(WRONG).await;
            show(&console, &entry.to, true)
        }
    }
}

pub(super) async fn leave(State(console): State<Console>) -> Response {
    let cookie = console.inner.access.log_out();
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}
