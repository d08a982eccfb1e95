//! Takes events, gives the word of a CloudEvents receiver over HTTP that it has them, many in one request.
//!
//! Event Grid and others take a batch whole or not at all: one that is refused is cut in two
//! until the event to blame stands alone.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use tokio::sync::{OnceCell, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;

use self::handshake::Allowed;
use super::sink::retry;
use crate::config::bridge::{Http, HttpMode};
use crate::encode;
use crate::event::{Event, excerpt};
use crate::plugin::call::Failure;
use crate::plugin::http::Outgoing;
use crate::plugin::http::posting::{Answer, Posting};
use crate::plugin::instance::Call;

mod handshake;

/// Requests on their way at a time.
const REQUESTS: usize = 8;
/// Events that wait for a batch.
const WAITING: usize = 1_024;
const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
const BATCH: &str = "application/cloudevents-batch+json; charset=utf-8";
/// The CloudEvents name of the media type, which HTTP has a header for.
const MEDIA_TYPE: &str = "ce-datacontenttype";

/// A receiver.
pub struct Posts {
    receiver: Arc<Receiver>,
    /// To what makes batches, in that mode.
    batches: Option<mpsc::Sender<Waiting>>,
}

struct Receiver {
    config: Http,
    posting: Posting,
    /// For one request and its answer.
    patience: Duration,
    requests: Semaphore,
    allowed: OnceCell<Allowed>,
}

/// An event on its way into a batch.
struct Waiting {
    json: String,
    done: oneshot::Sender<Result<(), Failure>>,
}

impl Posts {
    /// Opens no connection. What one event may take in all is `timeout`.
    pub fn new(
        config: &Http,
        outgoing: &Outgoing,
        timeout: Duration,
        tracker: &TaskTracker,
    ) -> Self {
        let receiver = Arc::new(Receiver {
            config: config.clone(),
            posting: outgoing.posting(config.secret.as_deref()),
            patience: timeout * 2 / 3,
            requests: Semaphore::new(REQUESTS),
            allowed: OnceCell::new(),
        });
        let batches = (config.mode == HttpMode::Batch).then(|| {
            let (sender, queue) = mpsc::channel(WAITING);
            let batching = batching(Arc::clone(&receiver), queue, tracker.clone());
            tracker.spawn(batching);
            sender
        });
        Self { receiver, batches }
    }

    /// Sends one event.
    ///
    /// # Errors
    /// [`Failure::Reject`] where the receiver says that the event is to blame.
    pub async fn send(&self, call: &Call) -> Result<(), Failure> {
        let Some(batches) = &self.batches else {
            return self.receiver.one(&call.event).await;
        };
        let (done, answer) = oneshot::channel();
        let json = encode::structured(&call.event);
        let gone = || retry("what makes batches has ended");
        let queued = batches.send(Waiting { json, done }).await;
        queued.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Makes batches until nobody sends any more.
async fn batching(
    receiver: Arc<Receiver>,
    mut queue: mpsc::Receiver<Waiting>,
    tracker: TaskTracker,
) {
    let mut over = None;
    loop {
        let first = match over.take() {
            Some(first) => first,
            None => match queue.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let end = Instant::now() + receiver.config.linger;
        let mut bytes = first.json.len() + 2;
        let mut batch = vec![first];
        while batch.len() < receiver.config.batch_events {
            let Ok(Some(next)) = timeout_at(end, queue.recv()).await else {
                break;
            };
            bytes += next.json.len() + 1;
            if receiver.config.batch_bytes < bytes {
                over = Some(next);
                break;
            }
            batch.push(next);
        }
        let receiver = Arc::clone(&receiver);
        tracker.spawn(async move { receiver.batch(batch).await });
    }
}

impl Receiver {
    /// One event in a request of its own.
    async fn one(&self, event: &Event) -> Result<(), Failure> {
        let (headers, body) = match self.config.mode {
            HttpMode::Binary => {
                let (headers, body) = encode::binary(event.clone());
                (binary(&headers), body)
            }
            HttpMode::Structured | HttpMode::Batch => {
                let header = (CONTENT_TYPE.to_string(), STRUCTURED.to_owned());
                (vec![header], Bytes::from(encode::structured(event)))
            }
        };
        self.post(&headers, body).await
    }

    async fn batch(&self, batch: Vec<Waiting>) {
        let header = (CONTENT_TYPE.to_string(), BATCH.to_owned());
        // What is left to be sent, in pieces that were not refused yet.
        let mut pieces = vec![batch];
        while let Some(mut piece) = pieces.pop() {
            let texts: Vec<&str> = piece.iter().map(|waiting| waiting.json.as_str()).collect();
            let body = format!("[{}]", texts.join(","));
            let result = self.post(std::slice::from_ref(&header), body.into()).await;
            if matches!(result, Err(Failure::Reject(_))) && 1 < piece.len() {
                let second = piece.split_off(piece.len() / 2);
                pieces.extend([second, piece]);
                continue;
            }
            for waiting in piece {
                // Who does not wait any more sends the event again.
                let _ = waiting.done.send(again(&result));
            }
        }
    }

    async fn post(&self, headers: &[(String, String)], body: Bytes) -> Result<(), Failure> {
        let _place = self.requests.acquire().await;
        if let Some(handshake) = &self.config.handshake {
            let asked =
                || handshake::ask(&self.posting, &self.config.url, handshake, self.patience);
            let allowed = self.allowed.get_or_try_init(asked).await;
            let turn = allowed.map_err(retry)?.turn();
            sleep_until(turn).await;
        }
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.config.url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| Failure::Reject(error.to_string()))?;
        let answer = self.posting.send(request, self.patience).await;
        judged(&answer.map_err(retry)?)
    }
}

/// What an answer says of the events of its request.
fn judged(answer: &Answer) -> Result<(), Failure> {
    let Answer { status, said, .. } = answer;
    if status.is_success() {
        return Ok(());
    }
    let message = match said.trim() {
        "" => format!("the receiver answered {status}"),
        said => format!("the receiver answered {status}: {}", excerpt(said)),
    };
    let is_the_way = matches!(
        *status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED
            | StatusCode::GONE
    ) || status.is_redirection();
    if is_the_way {
        return Err(retry(format!(
            "{message}; look at url and secret of the bridge"
        )));
    }
    let is_for_now = matches!(
        *status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
    );
    if status.is_client_error() && !is_for_now {
        return Err(Failure::Reject(message));
    }
    let after = answer.headers.get(RETRY_AFTER);
    let after = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Err(Failure::Retry {
        after: after.map(Duration::from_secs),
        message,
    })
}

/// One answer, for each event of its batch.
fn again(result: &Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(Failure::Reject(message)) => Err(Failure::Reject(message.clone())),
        Err(Failure::Retry { after, message }) => Err(Failure::Retry {
            after: *after,
            message: message.clone(),
        }),
        Err(other) => Err(retry(other.to_string())),
    }
}

/// The headers of an event, with HTTP's own for the media type.
fn binary(headers: &HeaderMap) -> Vec<(String, String)> {
    let pairs = headers.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        let name = match name {
            MEDIA_TYPE => CONTENT_TYPE.as_str(),
            name => name,
        };
        let values = values.iter();
        values.map(move |value| (name.to_owned(), value.as_str().to_owned()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap as Headers;

    use super::*;

    fn answer(status: u16, retry_after: Option<&'static str>) -> Answer {
        let mut headers = Headers::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().expect("a header"));
        }
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers,
            said: "because".to_owned(),
        }
    }

    #[test]
    fn only_what_the_event_is_to_blame_for_is_given_up() {
        for status in [200, 202, 204] {
            assert!(judged(&answer(status, None)).is_ok(), "{status}");
        }
        for status in [400, 413, 415, 422] {
            let judged = judged(&answer(status, None));
            assert!(matches!(judged, Err(Failure::Reject(_))), "{status}");
        }
        for status in [301, 401, 403, 404, 408, 410, 429, 500, 503] {
            let judged = judged(&answer(status, None));
            assert!(matches!(judged, Err(Failure::Retry { .. })), "{status}");
        }
    }

    #[test]
    fn the_receiver_says_how_long_to_wait() {
        let judged = judged(&answer(429, Some("7")));
        let Err(Failure::Retry { after, message }) = judged else {
            panic!("a retry");
        };
        assert_eq!(after, Some(Duration::from_secs(7)));
        assert!(
            message.contains("429") && message.contains("because"),
            "{message}"
        );
    }

    #[test]
    fn the_media_type_is_http_s_own_header() {
        let mut headers = HeaderMap::new();
        headers.insert("ce-id", "1");
        headers.insert(MEDIA_TYPE, "text/plain");
        let mut pairs = binary(&headers);
        pairs.sort();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs,
            [pair("ce-id", "1"), pair("content-type", "text/plain")]
        );
    }
}
