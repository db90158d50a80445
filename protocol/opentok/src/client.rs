//! Frames of a client, by what they mean.

use crate::frame::{Frame, FrameFault, FrameKind};

/// Longest transaction id of a client, in bytes. The SDK uses UUIDs, which have 36.
pub const TRANSACTION_BYTES: usize = 64;

/// The header that names a transaction.
pub(crate) const TRANSACTION: &str = "TRANSACTION-ID";
/// The header that names the sender of a message.
pub(crate) const FROM: &str = "X-TB-FROM-ADDRESS";
/// The header with the outcome of a request.
pub(crate) const STATUS: &str = "STATUS";
/// The header with the client's token, in its first request.
const TOKEN: &str = "X-TB-TOKEN-AUTH";
/// The header with the client's connection id, in its first frame.
const UNIQUE_ID: &str = "uniqueId";
/// The header that says whether a client leaves for good.
const RECONNECT: &str = "reconnect";

/// The frame is not one that a client may send. This is the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientFault {
    /// It is not a frame.
    #[error(transparent)]
    Frame(#[from] FrameFault),
    /// Only a gateway sends frames of this kind.
    #[error("malformed frame: a client sends no frame of the kind {0:?}")]
    Kind(FrameKind),
    /// Its transaction id is empty or too long.
    #[error(
        "malformed frame: a transaction id has {0} bytes, from 1 to {TRANSACTION_BYTES} are allowed"
    )]
    Transaction(usize),
}

/// A frame of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// The first frame of a new connection.
    Connect {
        /// The connection id that the client has chosen.
        id: &'a str,
    },
    /// A request, which the gateway must answer.
    Request(Request<'a>),
    /// The client has received the message with this transaction id.
    Confirmation {
        /// The transaction id, as the gateway has chosen it.
        transaction: &'a str,
        /// The address from which the message came, empty if it had none.
        address: &'a str,
    },
    /// The client leaves this WebSocket.
    Disconnect {
        /// Whether it resumes on another one.
        resumes: bool,
    },
    /// A ping, which the gateway must answer with a pong.
    Ping,
    /// A frame that needs no answer and has no effect.
    Ignored,
}

/// A request of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its transaction id. After a lost link the client sends it again with the same one.
    pub transaction: &'a str,
    /// The client's connection id.
    pub from: &'a str,
    /// The client's token, if the request has one.
    pub token: Option<&'a str>,
    /// What is requested, as JSON: see [`Request::action`].
    pub body: &'a str,
}

impl<'a> ClientFrame<'a> {
    /// Reads the frame in a message of the WebSocket.
    ///
    /// # Errors
    /// The first [`ClientFault`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ClientFault> {
        let frame = Frame::decode(bytes)?;
        Ok(match frame.kind {
            FrameKind::Ping => Self::Ping,
            FrameKind::Subscribe | FrameKind::Unsubscribe => Self::Ignored,
            FrameKind::Connect => Self::Connect { id: frame.required(UNIQUE_ID)? },
            FrameKind::Disconnect => {
                Self::Disconnect { resumes: !frame.required(RECONNECT)?.is_empty() }
            }
            FrameKind::Status => Self::Confirmation {
                transaction: transaction(&frame)?,
                address: frame.addresses().next().unwrap_or_default(),
            },
            FrameKind::Message => Self::Request(Request {
                transaction: transaction(&frame)?,
                from: frame.required(FROM)?,
                token: frame.header(TOKEN)?,
                body: frame.body,
            }),
            FrameKind::Pong => return Err(ClientFault::Kind(frame.kind)),
        })
    }
}

/// The transaction id of a frame. The gateway's own are longer than those of clients.
fn transaction<'a>(frame: &Frame<'a>) -> Result<&'a str, ClientFault> {
    let id = frame.required(TRANSACTION)?;
    let fits = frame.kind == FrameKind::Status || id.len() <= TRANSACTION_BYTES;
    if !fits || id.is_empty() {
        return Err(ClientFault::Transaction(id.len()));
    }
    Ok(id)
}
