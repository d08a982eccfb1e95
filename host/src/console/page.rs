//! Takes what is common to all requests for a page, gives the page: whole, or as a stream of what changes.

use axum::extract::{FromRequestParts, OriginalUri, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::fault::Fault;
use super::layout::{Place, layout};
use super::{Console, live};
use crate::admin::Person;
use crate::config::Role;
use crate::operations::Who;

/// A request for a page.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) console: Console,
    pub(super) person: Person,
    is_live: bool,
}

impl FromRequestParts<Console> for Page {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, StatusCode> {
        let person = parts.extensions.get::<Person>().cloned();
        Ok(Self {
            console: console.clone(),
            // Nobody comes here past the guard.
            person: person.ok_or(StatusCode::UNAUTHORIZED)?,
            is_live: is_live(&parts.headers),
        })
    }
}

fn is_live(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT);
    accepts.is_some_and(|value| value.as_bytes() == b"text/event-stream")
}

impl Page {
    pub(super) fn may_act(&self) -> bool {
        self.person.role == Role::Operator
    }

    /// Who acts; a viewer does not.
    pub(super) fn actor(&self) -> Result<Who, Fault> {
        if !self.may_act() {
            return Err(Fault::not_for_viewers());
        }
        let host = &self.console.inner.host;
        Ok(Who::at_the_console(&self.person.name, host))
    }

    /// What is not for this person's eyes in a body.
    pub(super) fn mask(&self) -> &[String] {
        match self.person.role {
            Role::Operator => &[],
            Role::Viewer => &self.console.inner.mask,
        }
    }

    /// The page; or, asked for as a stream, its middle whenever that has changed.
    pub(super) async fn show<F>(
        self,
        place: Place,
        title: &str,
        render: impl Fn(Page) -> F + Send + Sync + 'static,
    ) -> Response
    where
        F: Future<Output = Result<Markup, Fault>> + Send + 'static,
    {
        if self.is_live {
            return live::stream(self, render);
        }
        let page = self.clone();
        match render(self).await {
            Ok(middle) => page.whole(StatusCode::OK, place, title, &middle, true),
            Err(fault) => page.fault(place, &fault),
        }
    }

    /// A page that stands still: a form, or what became of one.
    pub(super) fn still(&self, place: Place, title: &str, middle: &Markup) -> Response {
        self.whole(StatusCode::OK, place, title, middle, false)
    }

    pub(super) fn fault(&self, place: Place, fault: &Fault) -> Response {
        let middle = fault.markup();
        self.whole(fault.status, place, "Not done", &middle, false)
    }

    pub(super) fn whole(
        &self,
        status: StatusCode,
        place: Place,
        title: &str,
        middle: &Markup,
        is_live: bool,
    ) -> Response {
        let host = &self.console.inner.host;
        let can_leave = !self.console.inner.access.is_open();
        let person = (&self.person, can_leave);
        let text = layout(host, Some(person), place, title, middle, is_live).into_string();
        (status, [(header::VARY, "accept, cookie")], Html(text)).into_response()
    }

    /// Where to look after something was done, or why it was not.
    pub(super) fn done(&self, place: Place, result: Result<String, Fault>) -> Response {
        match result {
            Ok(to) => Redirect::to(&to).into_response(),
            Err(fault) => self.fault(place, &fault),
        }
    }
}

pub(super) async fn nothing_here(
    State(_): State<Console>,
    OriginalUri(uri): OriginalUri,
    page: Page,
) -> Response {
    let middle = html! {
        section.notice.bad role="alert" {
            h2 { "Not found" }
            p { "There is no page " code { (uri.path()) } "." }
        }
    };
    page.whole(
        StatusCode::NOT_FOUND,
        Place::None,
        "Not found",
        &middle,
        false,
    )
}
