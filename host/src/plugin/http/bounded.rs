//! Takes the body of an answer, gives it up to a size and a moment.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use wasmtime_wasi_http::Error;

/// Bytes of one answer's body.
pub const MAX_ANSWER: usize = 16 << 20;

/// A body that ends with an error where it is too long or too late.
pub(super) struct Bounded {
    body: Pin<Box<Limited<Incoming>>>,
    end: Pin<Box<Sleep>>,
}

impl Bounded {
    pub(super) fn new(body: Incoming, end: Instant) -> Self {
        Self {
            body: Box::pin(Limited::new(body, MAX_ANSWER)),
            end: Box::pin(sleep_until(end)),
        }
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = self.body.as_mut().poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| broken(&*error))));
        }
        let late = self.end.as_mut().poll(context);
        late.map(|()| Some(Err(Error::HttpResponseTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn broken(error: &(dyn StdError + Send + Sync + 'static)) -> Error {
    if error.is::<LengthLimitError>() {
        return Error::HttpResponseBodySize(u64::try_from(MAX_ANSWER).ok());
    }
    Error::HttpResponseIncomplete
}
