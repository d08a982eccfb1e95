//! Takes AMQP 1.0, gives both ends of a bridge to Azure Service Bus: a queue that is read, one that is written.
//!
//! | file | takes → gives |
//! |---|---|
//! | `read`, `write` | an AMQP message → headers and body, as the gateway knows them; an event → an AMQP message. Pure |
//! | `format` | a body in one of Dataverse's message formats → JSON. Pure |
//! | `token` | a shared access key → a token. Pure |
//! | `link` | an address → a connection on which the queue may be used |
//! | `locks` | what is not settled → locks that do not end |
//! | `inward` | a queue → an intake |
//! | `out` | an event → the word of a queue or topic |

mod format;
mod inward;
mod link;
mod locks;
mod out;
mod read;
mod token;
mod write;

pub use inward::Receives;
pub use out::Sends;
