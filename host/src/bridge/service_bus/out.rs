//! Takes events, gives the word of a queue or a topic that it has them.
//!
//! One link for all: transfers go out one behind another, their outcomes come back in any order.
//! What was sent without an outcome is sent again, with the same `message-id`.

use std::time::Duration;

use fe2o3_amqp::Sender;
use fe2o3_amqp::link::SendError;
use fe2o3_amqp::link::delivery::{DeliveryFut, Sendable};
use fe2o3_amqp::types::definitions::{AmqpError, Error as Reason, ErrorCondition, LinkError};
use fe2o3_amqp::types::messaging::{Data, Outcome};
use fe2o3_amqp::types::primitives::Symbol;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::link::{Error, Link, amqp, failed};
use super::write;
use crate::bridge::erased;
use crate::bridge::sink::retry;
use crate::config::bridge::ServiceBus;
use crate::plugin::call::Failure;
use crate::plugin::instance::Call;

/// After a failed attempt to connect nobody else tries for so long.
const PAUSE: Duration = Duration::from_millis(500);
/// For a transfer to find credit.
const CREDIT: Duration = Duration::from_secs(10);

/// A queue or a topic.
pub struct Sends {
    config: ServiceBus,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Links that there were so far.
    count: u64,
    /// Until when nobody tries to connect, and why.
    pause: Option<(Instant, String)>,
}

impl State {
    fn broke(&mut self, is_old: bool, error: Error) -> Broken {
        self.open = None;
        match is_old {
            true => Broken::Again(error),
            false => Broken::Away(error.to_string()),
        }
    }
}

struct Open {
    link: Link,
    sender: Sender,
}

/// A transfer on its way.
struct Transfer {
    outcome: DeliveryFut<Result<Outcome, SendError>>,
    /// The number of its link.
    number: u64,
    /// Whether that link was there before.
    is_old: bool,
}

/// Why a transfer has no outcome.
enum Broken {
    /// Its link broke, which was there before: a new one may do.
    Again(Error),
    /// There is no link to be had, or a new one broke.
    Away(String),
    /// The message is to blame.
    Refused(String),
}

impl Sends {
    /// Opens no connection yet.
    pub fn new(config: &ServiceBus) -> Self {
        Self {
            config: config.clone(),
            state: Mutex::default(),
        }
    }

    /// Sends one event and waits for the outcome of its transfer.
    ///
    /// # Errors
    /// [`Failure::Reject`] where the message is to blame.
    pub async fn send(&self, call: &Call) -> Result<(), Failure> {
        let message = write::message(&call.event, self.config.structured);
        let sendable = Sendable::from(message);
        // A service closes links on which nothing happened for a while. That is no failure yet.
        let mut sent = erased(self.sent(&sendable)).await;
        if let Err(Broken::Again(error)) = &sent {
            tracing::debug!(host = self.config.host, %error, "a link broke, another is opened");
            sent = erased(self.sent(&sendable)).await;
        }
        match sent {
            Ok(outcome) => judged(outcome),
            Err(Broken::Refused(message)) => Err(Failure::Reject(message)),
            Err(Broken::Away(message)) => Err(retry(message)),
            Err(Broken::Again(error)) => Err(retry(error.to_string())),
        }
    }

    async fn sent(&self, sendable: &Sendable<Data>) -> Result<Outcome, Broken> {
        let Transfer {
            outcome,
            number,
            is_old,
        } = self.transfer(sendable).await?;
        match outcome.await {
            Ok(outcome) => Ok(outcome),
            Err(error) => {
                let error = failed("waiting for an outcome", &error);
                let mut state = self.state.lock().await;
                match state.count == number {
                    true => Err(state.broke(is_old, error)),
                    // Another is open already.
                    false => Err(Broken::Again(error)),
                }
            }
        }
    }

    async fn transfer(&self, sendable: &Sendable<Data>) -> Result<Transfer, Broken> {
        let mut state = self.state.lock().await;
        let is_old = state.open.is_some();
        if !is_old {
            self.open(&mut state).await.map_err(Broken::Away)?;
        }
        let number = state.count;
        let Some(Open { link, sender }) = &mut state.open else {
            return Err(Broken::Away("there is no link".to_owned()));
        };
        let transferred = async {
            link.renew_token(&self.config).await?;
            let transfer = sender.send_batchable_ref(sendable);
            let transfer = timeout(CREDIT, transfer).await.map_err(|_| Error::Amqp {
                step: "sending",
                reason: "the target gives no credit".to_owned(),
            })?;
            Ok(transfer)
        };
        match erased(transferred).await {
            Ok(Ok(outcome)) => Ok(Transfer {
                outcome,
                number,
                is_old,
            }),
            Ok(Err(
                error @ (SendError::MessageSizeExceeded(_) | SendError::MessageEncodeError),
            )) => Err(Broken::Refused(error.to_string())),
            Ok(Err(error)) => Err(state.broke(is_old, failed("sending", &error))),
            Err(error) => Err(state.broke(is_old, error)),
        }
    }

    async fn open(&self, state: &mut State) -> Result<(), String> {
        if let Some((until, error)) = &state.pause
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        match erased(self.attach()).await {
            Ok(open) => {
                state.open = Some(open);
                state.count += 1;
                state.pause = None;
                Ok(())
            }
            Err(error) => {
                let error = error.to_string();
                state.pause = Some((Instant::now() + PAUSE, error.clone()));
                Err(error)
            }
        }
    }

    async fn attach(&self) -> Result<Open, Error> {
        let mut link = Link::open(&self.config).await?;
        let attached = Sender::attach(&mut link.session, "sluicegate", self.config.entity.as_str());
        let sender = amqp("attaching to the target", erased(attached)).await?;
        Ok(Open { link, sender })
    }
}

/// What an outcome says of the message.
fn judged(outcome: Outcome) -> Result<(), Failure> {
    match outcome {
        Outcome::Accepted(_) => Ok(()),
        Outcome::Rejected(rejected) => match rejected.error {
            Some(error) if is_the_message(&error.condition) => Err(Failure::Reject(said(&error))),
            Some(error) => Err(retry(said(&error))),
            None => Err(Failure::Reject(
                "the target rejected the message and does not say why".to_owned(),
            )),
        },
        Outcome::Released(_) => Err(retry("the target released the message".to_owned())),
        Outcome::Modified(_) => Err(retry("the target gave the message back".to_owned())),
    }
}

fn said(error: &Reason) -> String {
    let condition = match &error.condition {
        ErrorCondition::Custom(Symbol(name)) => name.clone(),
        known => format!("{known:?}"),
    };
    let description = error
        .description
        .as_deref()
        .unwrap_or("it does not say why");
    format!("the target rejected the message: {condition}: {description}")
}

/// Whether no other attempt can do better.
fn is_the_message(condition: &ErrorCondition) -> bool {
    matches!(
        condition,
        ErrorCondition::LinkError(LinkError::MessageSizeExceeded)
            | ErrorCondition::AmqpError(
                AmqpError::DecodeError
                    | AmqpError::InvalidField
                    | AmqpError::NotAllowed
                    | AmqpError::NotImplemented
                    | AmqpError::PreconditionFailed
                    | AmqpError::FrameSizeTooSmall
            )
    )
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp::types::messaging::{Accepted, Rejected, Released};

    use super::*;

    fn rejected(condition: ErrorCondition) -> Result<(), Failure> {
        let error = Reason::new(condition, Some("because".to_owned()), None);
        judged(Outcome::Rejected(Rejected { error: Some(error) }))
    }

    #[test]
    fn only_what_the_message_is_to_blame_for_is_given_up() {
        assert!(judged(Outcome::Accepted(Accepted {})).is_ok());
        let released = judged(Outcome::Released(Released {}));
        assert!(matches!(released, Err(Failure::Retry { .. })));
        let too_large = rejected(LinkError::MessageSizeExceeded.into());
        assert!(matches!(too_large, Err(Failure::Reject(_))));
        let busy = Symbol::from("com.microsoft:server-busy");
        match rejected(ErrorCondition::Custom(busy)) {
            Err(Failure::Retry { message, .. }) => {
                assert!(message.contains("server-busy: because"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        let full = rejected(AmqpError::ResourceLimitExceeded.into());
        assert!(matches!(full, Err(Failure::Retry { .. })));
    }
}
