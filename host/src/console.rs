//! Takes requests of browsers, gives pages: what happens, what died and why, and the buttons that mend it.
//!
//! Every page is made here and works without a script; with one, it is kept up to date by the
//! same address asked for as an event stream. What the pages show and do is `operations`'.

use std::sync::Arc;

use async_nats::jetstream::Context;
use axum::Router;
use axum::routing::{get, post};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::fault::Fault;
use self::sampler::Sampler;
use self::shelf::Shelf;
use crate::admin::Access;
use crate::operations::history::Stored;
use crate::operations::letters::Summary;
use crate::projections::Projections;

mod api;
mod assets;
mod audit;
mod dead_letters;
mod events;
mod fault;
mod flow;
mod hosts;
mod layout;
mod letter;
mod live;
mod login;
mod page;
mod plug_ins;
mod projections;
mod replays;
mod sagas;
mod sampler;
mod schemas;
mod shelf;
mod story;
mod words;

/// What the pages are made of.
#[derive(Debug, Clone)]
pub struct Console {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `host.name`.
    host: String,
    access: Arc<Access>,
    broker: watch::Receiver<Option<Context>>,
    /// Of this host.
    projections: Projections,
    sampler: Sampler,
    shelf: Shelf,
    /// `admin.mask`.
    mask: Vec<String>,
    stop: CancellationToken,
}

impl Console {
    /// Of a host.
    pub fn new(
        host: &str,
        access: Arc<Access>,
        (broker, projections): (watch::Receiver<Option<Context>>, Projections),
        mask: Vec<String>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                host: host.to_owned(),
                access,
                broker,
                projections,
                sampler: Sampler::default(),
                shelf: Shelf::default(),
                mask,
                stop,
            }),
        }
    }

    /// Has at hand what a page would take long to read, from the first connection until `stop`.
    pub async fn keep(self) {
        let mut broker = self.inner.broker.clone();
        let keeping = async {
            let Ok(context) = broker
                .wait_for(Option::is_some)
                .await
                .map(|found| found.clone())
            else {
                return;
            };
            if let Some(context) = context {
                self.inner.shelf.keep(&context).await;
            }
        };
        tokio::select! {
            () = keeping => {}
            () = self.inner.stop.cancelled() => {}
        }
    }

    /// The dead letters of an event, of those that are at hand.
    async fn letters_of(&self, context: &Context, stored: &Stored) -> Result<Vec<Summary>, Fault> {
        let Ok(event) = &stored.event else {
            return Ok(Vec::new());
        };
        let all = self.inner.shelf.letters(context).await?;
        let of_it = all.iter().filter(|letter| letter.event_id == event.id);
        Ok(of_it.cloned().collect())
    }

    fn context(&self) -> Result<Context, Fault> {
        let context = self.inner.broker.borrow().clone();
        context.ok_or_else(Fault::no_broker)
    }
}

/// What everybody may have: how one gets in, and what a page looks like.
pub fn open(console: Console) -> Router {
    Router::new()
        .route("/login", get(login::form).post(login::enter))
        .route("/logout", post(login::leave))
        .route("/assets/{name}", get(assets::get))
        .with_state(console)
}

/// What those may have whom the config names.
pub fn guarded(console: Console) -> Router {
    Router::new()
        .route("/", get(flow::show))
        .route("/plug-ins", get(plug_ins::show))
        .route("/plug-ins/{plugin}/{action}", post(plug_ins::act))
        .route("/events", get(events::show))
        .route("/events/{sequence}", get(story::show))
        .route("/dead-letters", get(dead_letters::show))
        .route(
            "/dead-letters/replay",
            get(replays::ask).post(replays::begin),
        )
        .route("/dead-letters/unblock", post(dead_letters::unblock))
        .route("/dead-letters/{id}", get(letter::show))
        .route(
            "/dead-letters/{id}/edit",
            get(letter::edit).post(letter::save),
        )
        .route("/dead-letters/{id}/replay", post(letter::replay))
        .route("/dead-letters/{id}/discard", post(letter::discard))
        .route("/replays", get(replays::all))
        .route("/replays/{id}", get(replays::one))
        .route("/replays/{id}/cancel", post(replays::cancel))
        .route("/sagas", get(sagas::show))
        .route("/sagas/one", get(sagas::timeline))
        .route("/sagas/cancel", post(sagas::cancel))
        .route("/sagas/retry", post(sagas::retry))
        .route("/schemas", get(schemas::show))
        .route("/schemas/accept", post(schemas::accept))
        .route("/hosts", get(hosts::show))
        .route("/audit", get(audit::show))
        .nest("/api/v1", api::router())
        .fallback(page::nothing_here)
        .with_state(console)
}
