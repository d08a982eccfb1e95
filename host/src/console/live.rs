//! Takes a page's middle, gives it again whenever it has changed, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use maud::Markup;
use tokio::time::{Instant, sleep};

use super::fault::Fault;
use super::page::Page;

/// Between two looks,
const LOOK: Duration = Duration::from_secs(1);
/// and so many times as long as the last one took: a page that costs much is looked at less.
const REST: u32 = 10;
/// A browser that has lost the connection comes again after this.
const COME_AGAIN: Duration = Duration::from_secs(2);

/// Looks once a second, or less often where a look costs much.
pub(super) fn stream<F>(page: Page, render: impl Fn(Page) -> F + Send + Sync + 'static) -> Response
where
    F: Future<Output = Result<Markup, Fault>> + Send + 'static,
{
    let stop = page.console.inner.stop.clone();
    let begin = (Duration::ZERO, render, page, String::new());
    let middles = unfold(begin, |(mut rest, render, page, mut last)| async move {
        loop {
            sleep(rest).await;
            let started = Instant::now();
            let middle = match render(page.clone()).await {
                Ok(middle) => middle,
                Err(fault) => fault.markup(),
            };
            let middle = middle.into_string();
            rest = LOOK.max(started.elapsed() * REST);
            if middle == last {
                continue;
            }
            // As a JSON string: a line feed or a carriage return would end the event.
            let event = Event::default().retry(COME_AGAIN).json_data(&middle);
            last = middle;
            let event = event.unwrap_or_default();
            return Some((Ok::<Event, Infallible>(event), (rest, render, page, last)));
        }
    });
    let middles = middles.take_until(stop.cancelled_owned());
    Sse::new(middles)
        .keep_alive(KeepAlive::default())
        .into_response()
}
