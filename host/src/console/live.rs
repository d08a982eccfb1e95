//! Takes a page's middle, gives it again whenever it has changed, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use maud::Markup;
use tokio::time::{MissedTickBehavior, interval};

use super::fault::Fault;
use super::page::Page;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// A browser that has lost the connection comes again after this.
const COME_AGAIN: Duration = Duration::from_secs(2);

/// Looks once a second. The first that is sent is the second look: the page has the first.
pub(super) fn stream<F>(page: Page, render: impl Fn(Page) -> F + Send + Sync + 'static) -> Response
where
    F: Future<Output = Result<Markup, Fault>> + Send + 'static,
{
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stop = page.console.inner.stop.clone();
    let begin = (looks, render, page, String::new());
    let middles = unfold(begin, |(mut looks, render, page, mut last)| async move {
        loop {
            looks.tick().await;
            let middle = match render(page.clone()).await {
                Ok(middle) => middle,
                Err(fault) => fault.markup(),
            };
            let middle = middle.into_string();
            if middle == last {
                continue;
            }
            // As a JSON string: a line feed or a carriage return would end the event.
            let event = Event::default().retry(COME_AGAIN).json_data(&middle);
            last = middle;
            let event = event.unwrap_or_default();
            return Some((Ok::<Event, Infallible>(event), (looks, render, page, last)));
        }
    });
    let middles = middles.take_until(stop.cancelled_owned());
    Sse::new(middles)
        .keep_alive(KeepAlive::default())
        .into_response()
}
