//! Takes what is read and not settled, gives locks on it that do not end meanwhile.
//!
//! Service Bus alone has them: a message that is not settled in its lock's time comes again,
//! behind what came after it. They are renewed at the node `<queue>/$management` (Azure: *AMQP
//! request/response operations*).

use std::collections::BTreeMap;

use fe2o3_amqp::types::messaging::{AmqpValue, Body, Message};
use fe2o3_amqp::types::primitives::{Array, OrderedMap, Uuid, Value};
use fe2o3_amqp_management::client::MgmtClient;
use fe2o3_amqp_management::error::Error as ManagementError;
use fe2o3_amqp_management::request::Request;
use fe2o3_amqp_management::response::Response;
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::link::{Error, Link, failed, step};
use crate::bridge::erased;
use crate::config::bridge::{Credential, ServiceBus};

/// A delivery is locked under its tag.
pub(super) type Token = [u8; 16];

/// What is read and not settled, by the number of its delivery.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<BTreeMap<u32, Token>>);

impl Held {
    /// A delivery was read. Its tag is the token of its lock where the service has locks.
    pub(super) fn take(&self, delivery: u32, tag: &[u8]) {
        if let Ok(tag) = Token::try_from(tag) {
            self.0.lock().insert(delivery, as_written(tag));
        }
    }

    /// It is settled.
    pub(super) fn give(&self, delivery: u32) {
        self.0.lock().remove(&delivery);
    }

    fn tokens(&self) -> Vec<Token> {
        self.0.lock().values().copied().collect()
    }
}

/// .NET writes the first three fields of a GUID with their lowest byte first.
fn as_written([a, b, c, d, e, f, g, h, rest @ ..]: Token) -> Token {
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

/// Keeps locks, and the token by which the connection is allowed, until something fails.
///
/// # Errors
/// When the connection is of no use any more.
pub(super) async fn keep(
    link: &mut Link,
    config: &ServiceBus,
    held: &Held,
    session: Option<&str>,
) -> Result<(), Error> {
    if !matches!(config.credential, Credential::Key { .. }) {
        return std::future::pending().await;
    }
    let attached = MgmtClient::builder()
        .management_node_address(format!("{}/$management", config.entity))
        .client_node_addr("sluicegate-locks")
        .attach(&mut link.session);
    let step_name = "attaching to $management";
    let attached = step(step_name, erased(attached)).await?;
    let mut management = attached.map_err(|error| failed(step_name, &error))?;
    let mut ticks = interval(config.lock_renewal);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        link.renew_token(config).await?;
        let renewed = match session {
            Some(session) => {
                let request = RenewSession(session.to_owned());
                step(
                    "renewing a session's lock",
                    erased(management.call(request)),
                )
                .await?
            }
            None => {
                let tokens = held.tokens();
                if tokens.is_empty() {
                    continue;
                }
                let request = RenewLocks(tokens);
                step("renewing locks", erased(management.call(request))).await?
            }
        };
        match renewed {
            Ok(Renewed) => {}
            // One of them has ended. That message comes again, and is known then.
            Err(ManagementError::Status(error)) => {
                tracing::debug!(entity = config.entity, error = %error, "locks were not renewed");
            }
            Err(error) => return Err(failed("renewing locks", &error)),
        }
    }
}

/// `com.microsoft:renew-lock`.
struct RenewLocks(Vec<Token>);

/// `com.microsoft:renew-session-lock`.
struct RenewSession(String);

/// Both answer with when the locks end, which nobody needs who renews them anyway.
struct Renewed;

fn map(name: &str, value: Value) -> AmqpValue<Value> {
    let mut map = OrderedMap::new();
    map.insert(Value::String(name.to_owned()), value);
    AmqpValue(Value::Map(map))
}

impl Request for RenewLocks {
    const OPERATION: &'static str = "com.microsoft:renew-lock";
    type Response = Renewed;
    type Body = AmqpValue<Value>;

    fn encode_body(self) -> Self::Body {
        let tokens = self
            .0
            .into_iter()
            .map(|token| Value::Uuid(Uuid::from(token)));
        map("lock-tokens", Value::Array(Array(tokens.collect())))
    }
}

impl Request for RenewSession {
    const OPERATION: &'static str = "com.microsoft:renew-session-lock";
    type Response = Renewed;
    type Body = AmqpValue<Value>;

    fn encode_body(self) -> Self::Body {
        map("session-id", Value::String(self.0))
    }
}

impl Response for Renewed {
    const STATUS_CODE: u16 = 200;
    type Body = Body<Value>;
    type Error = ManagementError;

    fn decode_message(_: Message<Self::Body>) -> Result<Self, Self::Error> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_guid_as_dotnet_writes_it() {
        let tag: Vec<u8> = (0..16).collect();
        let held = Held::default();
        held.take(7, &tag);
        held.take(8, b"of another broker");
        let expected = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!(held.tokens(), [expected]);
        held.give(7);
        assert!(held.tokens().is_empty());
    }

    #[test]
    fn locks_are_renewed_by_their_tokens() {
        let message = RenewLocks(vec![[1; 16]]).into_message();
        let named = message.application_properties.expect("properties");
        let operation = named.as_inner().get("operation");
        let expected = "com.microsoft:renew-lock".to_owned();
        assert_eq!(operation, Some(&expected.into()));
        let AmqpValue(Value::Map(body)) = message.body else {
            panic!("a map");
        };
        let tokens = body.get(&Value::String("lock-tokens".to_owned()));
        let token = Value::Uuid(Uuid::from([1; 16]));
        assert_eq!(tokens, Some(&Value::Array(Array(vec![token]))));
    }
}
