//! Light clients: one connection each, as little work as possible between the socket and the book.
//!
//! They carry what is compared, of Signalbox and of other systems, so that all of them are
//! measured with the same clients: no SDK, no queue, no task of its own for writing. A client
//! writes when it is told to and keeps what the system does not take at once; whoever tells it
//! tries again.
//!
//! ```text
//! stream      over TCP or TLS, for every system that has one stream of bytes per client
//! websocket   frames of WebSocket, and its upgrade
//! signalbox   what Signalbox's clients say on a WebSocket
//! quic        Signalbox over QUIC
//! ```

pub(crate) mod quic;
pub(crate) mod signalbox;
pub(crate) mod stream;
pub(crate) mod websocket;

use std::{
    borrow::Cow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use anyhow::{Context as _, bail, ensure};
use parking_lot::Mutex;
use signalbox_protocol::ConnectionId;
use tokio::io::AsyncWrite;

/// What may wait in a client because the system does not take it. More means that it never will.
const MAX_PENDING: usize = 8 * 1024 * 1024;

/// Bytes for which a reading buffer has room from the start.
const READ: usize = 64 * 1024;

/// Where a client can be reached alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address {
    /// By what Signalbox calls it.
    Connection(ConnectionId),
    /// By its number in the room, from 0: for systems in which a client subscribes to a topic of
    /// its own.
    Number(u32),
}

/// How the clients of a system speak on a stream of bytes; one value for each client.
pub(crate) trait Speech: Send + Sync {
    /// What a client says first.
    fn greeting(&mut self) -> Vec<u8>;

    /// Understands what comes before the client is in its room.
    ///
    /// # Errors
    /// If the system refuses it, or says what cannot be understood.
    fn join(&mut self, bytes: &[u8]) -> anyhow::Result<Joining>;

    /// Where the client can be reached, once it has joined.
    fn address(&self) -> Address;

    /// Appends a message with this data to one client, or to all in the room (the sender, too, if
    /// the system does that).
    fn say(&self, to: Option<Address>, data: &str, out: &mut Vec<u8>);

    /// Understands the first message of what has come since. Called again with the rest.
    ///
    /// # Errors
    /// If it cannot be understood, or says that something is lost.
    fn hear<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Heard<'a>>;
}

/// What came of bytes before a client is in its room. Numbers are how many of them are done with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joining {
    /// More is needed.
    Incomplete,
    /// Something was said, and perhaps this is the answer to it.
    Continue(usize, Vec<u8>),
    /// It is in.
    Joined(usize),
}

/// What came of bytes afterwards.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// More is needed.
    Incomplete,
    /// Something that is no signal.
    Nothing(usize),
    /// A signal with this data.
    Signal(usize, Cow<'a, str>),
    /// Something that wants this answer.
    Answer(usize, Vec<u8>),
}

/// What is told of every signal: its data.
pub(crate) type Ear = Arc<dyn Fn(&str) + Send + Sync>;

/// A client that has joined.
pub(crate) struct Client {
    pub(crate) speaker: Speaker,
    pub(crate) listener: Listener,
}

/// Appends a message to one or to all.
type Say = dyn Fn(Option<Address>, &str, &mut Vec<u8>) + Send + Sync;

/// The half that says something.
#[derive(Clone)]
pub(crate) struct Speaker {
    pub(crate) address: Address,
    say: Arc<Say>,
    outgoing: Outgoing,
}

impl Speaker {
    /// Says something to one or to all. What the system does not take at once waits.
    ///
    /// # Errors
    /// If the connection is lost, or far too much waits.
    pub(crate) fn say(&self, to: Option<Address>, data: &str) -> anyhow::Result<()> {
        self.outgoing.write(|pending| (self.say)(to, data, pending))
    }

    /// Tries to write what waits; `true` if nothing does any more.
    ///
    /// # Errors
    /// As [`Speaker::say`].
    pub(crate) fn retry(&self) -> anyhow::Result<bool> {
        self.outgoing.write(|_| {})?;
        Ok(self.outgoing.is_clear())
    }

    pub(crate) fn is_clear(&self) -> bool {
        self.outgoing.is_clear()
    }
}

/// The half that hears.
pub(crate) enum Listener {
    Stream(stream::Listener),
    Quic(quic::Listener),
}

impl Listener {
    /// Hears until the connection ends, which is never good.
    pub(crate) async fn run(self, ear: Ear) -> anyhow::Error {
        let ended = match self {
            Self::Stream(listener) => listener.run(&ear).await,
            Self::Quic(listener) => listener.run(ear).await,
        };
        match ended {
            Ok(()) => anyhow::anyhow!("the other side ended a connection"),
            Err(error) => error,
        }
    }
}

/// The writing half of a connection, and what it did not take yet.
#[derive(Clone)]
struct Outgoing(Arc<Mutex<Writing>>);

struct Writing {
    carrier: Box<dyn AsyncWrite + Send + Unpin>,
    pending: Vec<u8>,
    flushed: bool,
}

impl Outgoing {
    fn new(carrier: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        let carrier = Box::new(carrier);
        Self(Arc::new(Mutex::new(Writing { carrier, pending: Vec::new(), flushed: true })))
    }

    /// Adds to what waits, and writes what is taken at once.
    fn write(&self, add: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<()> {
        let mut writing = self.0.lock();
        let Writing { carrier, pending, flushed } = &mut *writing;
        add(pending);
        // Nobody is woken: whoever has something to say asks again soon.
        let mut cx = Context::from_waker(Waker::noop());
        let mut taken = 0;
        while let Some(rest @ [_, ..]) = pending.get(taken..) {
            match Pin::new(&mut *carrier).poll_write(&mut cx, rest) {
                Poll::Ready(Ok(0)) => bail!("a connection takes nothing any more"),
                Poll::Ready(Ok(count)) => taken += count,
                Poll::Ready(Err(error)) => return Err(error).context("cannot write"),
                Poll::Pending => break,
            }
        }
        pending.drain(..taken);
        ensure!(
            pending.len() <= MAX_PENDING,
            "a sender has {MAX_PENDING} bytes waiting: what it says is not taken"
        );
        *flushed = match Pin::new(carrier).poll_flush(&mut cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => return Err(error).context("cannot write"),
            Poll::Pending => false,
        };
        Ok(())
    }

    fn is_clear(&self) -> bool {
        let writing = self.0.lock();
        writing.pending.is_empty() && writing.flushed
    }
}
