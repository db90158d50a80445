//! Transaction ids of the gateway's messages, by which a client confirms them.
//!
//! The same message has the same id for every receiver, on every link and every gateway, so it is
//! encoded once, and a client recognises it if it is sent again. The id says what was received, so the
//! gateway keeps no list of unconfirmed messages.
//!
//! ```text
//! {connection}.{number}   a signal of a connection
//! s.{gateway}.{number}    a signal of servers
//! g.1                     the end of the greeting
//! c.{connection}          a connection was created
//! d.{connection}          a connection was destroyed
//! ```
//!
//! Each gateway has an order of presence events of its own. Its number of an event is the address from
//! which the message comes, which the client repeats in its confirmation: `{epoch}.{number}`.

use std::fmt;

use signalbox_protocol::{ConnectionId, Sender};

/// The message that a transaction id names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// A signal.
    Signal {
        /// Its sender.
        from: Sender,
        /// Its sequence number.
        seq: u64,
    },
    /// The end of the greeting: the client knows its own connection, and all that were there.
    Greeting,
    /// A connection was created.
    Created {
        /// The run of the gateway that has counted the event.
        epoch: u64,
        /// Number of the presence event in the session.
        number: u64,
        /// The connection.
        id: ConnectionId,
    },
    /// A connection was destroyed.
    Destroyed {
        /// The run of the gateway that has counted the event.
        epoch: u64,
        /// Number of the presence event in the session.
        number: u64,
        /// The connection.
        id: ConnectionId,
    },
}

/// The number of the greeting. There is one.
const GREETING: &str = "1";

impl Receipt {
    /// The message with this transaction id, which came from this address; `None` if no message has
    /// them.
    pub fn parse(id: &str, address: &str) -> Option<Self> {
        let (kind, rest) = id.split_once('.')?;
        Some(match kind {
            "s" => {
                // The name of a gateway may contain dots.
                let (gateway, seq) = rest.rsplit_once('.')?;
                let from = Sender::Server(gateway.parse().ok()?);
                Self::Signal { from, seq: number(seq)? }
            }
            "g" => return (rest == GREETING).then_some(Self::Greeting),
            "c" | "d" => {
                let (epoch, count) = address.split_once('.')?;
                let (epoch, number, id) = (number(epoch)?, number(count)?, rest.parse().ok()?);
                if kind == "c" {
                    Self::Created { epoch, number, id }
                } else {
                    Self::Destroyed { epoch, number, id }
                }
            }
            connection => {
                let from = Sender::Connection(connection.parse().ok()?);
                Self::Signal { from, seq: number(rest)? }
            }
        })
    }

    /// The address from which the message comes; `None` if it is not a presence event.
    pub fn address(&self) -> Option<String> {
        match self {
            Self::Created { epoch, number, .. } | Self::Destroyed { epoch, number, .. } => {
                Some(format!("{epoch}.{number}"))
            }
            Self::Signal { .. } | Self::Greeting => None,
        }
    }
}

/// A number as it is written here: no sign, no leading zero.
fn number(text: &str) -> Option<u64> {
    let canonical = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| canonical)
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal { from: Sender::Connection(id), seq } => write!(f, "{id}.{seq}"),
            Self::Signal { from: Sender::Server(gateway), seq } => write!(f, "s.{gateway}.{seq}"),
            Self::Greeting => write!(f, "g.{GREETING}"),
            Self::Created { id, .. } => write!(f, "c.{id}"),
            Self::Destroyed { id, .. } => write!(f, "d.{id}"),
        }
    }
}
