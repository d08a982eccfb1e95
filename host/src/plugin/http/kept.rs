//! Takes the body of a request, gives back what was not sent of it.
//!
//! A guest that is still writing when nobody takes its body any more is told so in the stream, and
//! not by the request's own error. A JavaScript engine ends itself then. So whoever has no answer
//! takes the rest, and says why afterwards.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi_http::{Error, WasiBody};

/// A body on its way; dropped, it goes back.
pub(super) struct Kept {
    body: Option<WasiBody>,
    back: Option<oneshot::Sender<WasiBody>>,
}

/// Where it goes back to.
pub(super) struct Rest(oneshot::Receiver<WasiBody>);

impl Kept {
    pub(super) fn of(body: WasiBody) -> (WasiBody, Rest) {
        let (back, rest) = oneshot::channel();
        let kept = Self {
            body: Some(body),
            back: Some(back),
        };
        (kept.boxed_unsync(), Rest(rest))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take()) {
            // Nobody waits for it where there was an answer.
            let _ = back.send(body);
        }
    }
}

impl Rest {
    /// Hears the guest out.
    pub(super) async fn hear(self, end: Instant) {
        if let Ok(Ok(body)) = timeout_at(end, self.0).await {
            hear(body, end).await;
        }
    }
}

/// Takes a body to its end, or until then, and keeps nothing of it.
pub(super) async fn hear(mut body: WasiBody, end: Instant) {
    let heard = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = timeout_at(end, heard).await;
}

impl Body for Kept {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::Full;

    use super::*;

    fn body(text: &'static str) -> WasiBody {
        let body = Full::new(Bytes::from_static(text.as_bytes()));
        body.map_err(|never| match never {}).boxed_unsync()
    }

    #[tokio::test]
    async fn what_was_not_sent_goes_back_with_its_size_known_meanwhile() {
        let (kept, rest) = Kept::of(body("all of it"));
        assert_eq!(kept.size_hint().exact(), Some(9));
        drop(kept);
        let mut rest = rest.0.await.expect("the body");
        let frame = rest.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().ok(), Some(Bytes::from("all of it")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_heard_until_the_end_of_the_call() {
        let stream = futures_util::stream::pending::<Result<Frame<Bytes>, Error>>();
        let endless = http_body_util::StreamBody::new(stream).boxed_unsync();
        let begun = Instant::now();
        hear(endless, begun + Duration::from_secs(3)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }
}
