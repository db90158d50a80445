//! Minimal clients: one connection each, and as little work as possible between socket and
//! recorder.
//!
//! They are written here, not taken from the client libraries of the compared systems. All systems
//! are measured with the same client code, without an SDK, a queue or a writing task, so that a
//! difference between two rows is a difference between two systems and not between their
//! libraries. A client writes when it is told to and keeps what the system does not take at once;
//! its caller tries again.
//!
//! ```text
//! stream      one stream of bytes over TCP or TLS, for every system
//! websocket   frames of WebSocket, and its upgrade
//! signalbox   Signalbox's messages, and its protocol on a WebSocket
//! opentok     the protocol of the vendor's browser SDK
//! quic        Signalbox over QUIC and WebTransport
//! echo        echoes
//! ```

pub mod echo;
pub mod opentok;
pub mod quic;
pub mod signalbox;
pub mod stream;
pub mod websocket;

use std::{
    borrow::Cow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use parking_lot::Mutex;
use signalbox_protocol::ConnectionId;
use tokio::io::AsyncWrite;

/// Timeout of joining a session.
const JOIN: Duration = Duration::from_secs(20);

/// Unsent bytes that a client keeps. More means that the system will never take them.
const MAX_PENDING: usize = 8 * 1024 * 1024;

/// The identity of a client among those of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// A connection of Signalbox.
    Connection(ConnectionId),
    /// A number from 0: for systems in which each client subscribes to a topic of its own.
    Number(u32),
}

/// The protocol of a system on a stream of bytes; one value for each client.
pub trait ClientProtocol: Send + Sync {
    /// The first bytes of a client.
    fn opening(&mut self) -> Vec<u8>;

    /// Reads bytes that arrive before the client has joined.
    fn join(&mut self, bytes: &[u8]) -> anyhow::Result<HandshakeReply>;

    /// The client's own address, once it has joined.
    fn address(&self) -> Address;

    /// The ticket with which it can resume, if it asked for one.
    fn ticket(&self) -> Option<String> {
        None
    }

    /// Appends a message with this data to one client, or to all (the sender included, if the
    /// system does that).
    fn encode(&self, to: Option<Address>, data: &str, out: &mut Vec<u8>);

    /// Reads the first message of what has arrived since. Called again with the rest.
    fn decode<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Received<'a>>;
}

/// The result of bytes before a client has joined. Numbers are the bytes that were used up.
#[derive(Debug, PartialEq, Eq)]
pub enum HandshakeReply {
    /// More bytes are needed.
    Incomplete,
    /// The handshake goes on, perhaps with these bytes.
    Continue(usize, Vec<u8>),
    /// The client has joined, and sends these bytes.
    Joined(usize, Vec<u8>),
}

/// The result of bytes after a client has joined.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// More bytes are needed.
    Incomplete,
    /// A message that is not a signal.
    Ignored(usize),
    /// A signal with this data.
    Signal(usize, Cow<'a, str>),
    /// A signal with this data, which needs this reply.
    Confirmed(usize, Cow<'a, str>, Vec<u8>),
    /// A message that refuses one of the client's own, for this reason.
    Refused(usize, String),
    /// A message that needs this reply.
    Reply(usize, Vec<u8>),
}

/// A message to a client that has joined.
#[derive(Debug, Clone, Copy)]
pub enum Arrived<'a> {
    /// A signal with this data.
    Signal(&'a str),
    /// One of its own signals was refused, for this reason.
    Refused(&'a str),
}

impl<'a> Arrived<'a> {
    /// The data of a signal.
    ///
    /// # Errors
    /// The refusal of a signal.
    pub fn signal(self) -> anyhow::Result<&'a str> {
        match self {
            Self::Signal(data) => Ok(data),
            Self::Refused(why) => bail!("a signal was refused: {why}"),
        }
    }
}

/// Called with every message. An error ends the client.
pub type OnMessage = Arc<dyn Fn(Arrived<'_>) -> anyhow::Result<()> + Send + Sync>;

/// A client that has joined.
pub struct MinimalClient {
    /// Its sending half.
    pub sender: ClientSender,
    /// Its receiving half.
    pub receiver: ClientReceiver,
    /// The ticket with which it can resume, if it asked for one.
    pub ticket: Option<String>,
}

type Encode = dyn Fn(Option<Address>, &str, &mut Vec<u8>) + Send + Sync;

/// The sending half of a client.
#[derive(Clone)]
pub struct ClientSender {
    /// The client's own address.
    pub address: Address,
    encode: Arc<Encode>,
    buffer: WriteBuffer,
}

impl ClientSender {
    /// Sends data to one or to all. Bytes that the system does not take at once are kept.
    pub fn send(&self, to: Option<Address>, data: &str) -> anyhow::Result<()> {
        self.buffer.write(|pending| (self.encode)(to, data, pending))
    }

    /// Tries to write the bytes that were kept; `true` if none are left.
    pub fn retry(&self) -> anyhow::Result<bool> {
        self.buffer.write(|_| {})?;
        Ok(self.buffer.is_empty())
    }

    /// Whether no bytes are kept.
    pub fn is_drained(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// The receiving half of a client. Dropping it closes the connection.
pub enum ClientReceiver {
    /// On a stream of bytes.
    Stream(stream::StreamReceiver),
    /// Over QUIC.
    Quic(quic::QuicReceiver),
}

impl ClientReceiver {
    /// Receives until the connection ends, which is always an error.
    pub async fn run(self, on_message: OnMessage) -> anyhow::Error {
        let ended = match self {
            Self::Stream(receiver) => receiver.run(&on_message).await,
            Self::Quic(receiver) => receiver.run(on_message).await,
        };
        match ended {
            Ok(()) => anyhow::anyhow!("the other side ended a connection"),
            Err(error) => error,
        }
    }
}

/// The writing half of a connection, and the bytes that it has not taken yet.
#[derive(Clone)]
struct WriteBuffer(Arc<Mutex<WriteState>>);

struct WriteState {
    stream: Box<dyn AsyncWrite + Send + Unpin>,
    pending: Vec<u8>,
    flushed: bool,
}

impl WriteBuffer {
    fn new(stream: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        let stream = Box::new(stream);
        Self(Arc::new(Mutex::new(WriteState { stream, pending: Vec::new(), flushed: true })))
    }

    /// Appends bytes, and writes as many as are taken at once.
    fn write(&self, add: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<()> {
        let mut state = self.0.lock();
        let WriteState { stream, pending, flushed } = &mut *state;
        add(pending);
        // No waker: the caller tries again soon.
        let mut cx = Context::from_waker(Waker::noop());
        let mut taken = 0;
        while let Some(rest @ [_, ..]) = pending.get(taken..) {
            match Pin::new(&mut *stream).poll_write(&mut cx, rest) {
                Poll::Ready(Ok(0)) => bail!("a connection takes no more bytes"),
                Poll::Ready(Ok(count)) => taken += count,
                Poll::Ready(Err(error)) => return Err(error).context("cannot write"),
                Poll::Pending => break,
            }
        }
        pending.drain(..taken);
        ensure!(
            pending.len() <= MAX_PENDING,
            "a sender has more than {MAX_PENDING} unsent bytes: the system does not take them"
        );
        *flushed = match Pin::new(stream).poll_flush(&mut cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => return Err(error).context("cannot write"),
            Poll::Pending => false,
        };
        Ok(())
    }

    fn is_empty(&self) -> bool {
        let state = self.0.lock();
        state.pending.is_empty() && state.flushed
    }
}
