//! The receiving side of a session: streams that the peer opens, and the end of the session.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, future::BoxFuture};
use quinn::{ConnectionError, RecvStream, SendStream};
use web_transport_proto::{Capsule, CapsuleError, Http3CapsuleReader};

use crate::{
    code::from_http3,
    peer::{Opened, PeerStreams},
    session_id::SessionId,
};

/// A stream that the peer has opened in the session. Its prefix has been read.
#[derive(Debug)]
pub enum PeerStream {
    /// A unidirectional stream.
    Uni(RecvStream),
    /// A bidirectional stream.
    Bidi(SendStream, RecvStream),
}

/// How a session has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionEnd {
    /// The peer has closed the session with a code and a reason; with 0 and "" if it gave none.
    #[error("closed with code {code}: {reason}")]
    Closed {
        /// The application's code.
        code: u32,
        /// The application's reason, for people.
        reason: String,
    },
    /// The peer has violated the protocol on the CONNECT stream.
    #[error("invalid capsule: {0}")]
    Capsule(String),
    /// The connection is lost, or was closed by this side.
    #[error(transparent)]
    Lost(ConnectionError),
}

impl From<ConnectionError> for SessionEnd {
    fn from(error: ConnectionError) -> Self {
        if let ConnectionError::ApplicationClosed(close) = &error
            && let Some(code) = from_http3(close.error_code)
        {
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            return Self::Closed { code, reason };
        }
        Self::Lost(error)
    }
}

/// The receiving side of a session.
pub struct Incoming {
    session: SessionId,
    peer: PeerStreams,
    /// Streams that arrived before the session was established.
    early: VecDeque<PeerStream>,
    /// Completes with the end of the session; `None` if its stream ended without a close.
    capsules: BoxFuture<'static, Option<SessionEnd>>,
    ended: Option<SessionEnd>,
}

impl Incoming {
    /// `early` are things that were opened before the session was established.
    pub(crate) fn new(
        session: SessionId,
        peer: PeerStreams,
        early: Vec<Opened>,
        connect: RecvStream,
    ) -> Self {
        let early = early.into_iter().filter_map(|opened| belonging(session, opened)).collect();
        Self { session, peer, early, capsules: closing(connect).boxed(), ended: None }
    }

    /// The next stream of the peer, or the end of the session. Cancel safe.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<PeerStream, SessionEnd>> {
        if let Some(stream) = self.early.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        if let Some(end) = &self.ended {
            return Poll::Ready(Err(end.clone()));
        }
        if let Poll::Ready(end) = self.capsules.poll_unpin(cx) {
            let end = end.unwrap_or_else(|| {
                // A lost connection ends the CONNECT stream as well, but only it has the cause.
                let unexplained = SessionEnd::Closed { code: 0, reason: String::new() };
                self.peer.connection().close_reason().map_or(unexplained, Into::into)
            });
            self.ended = Some(end.clone());
            return Poll::Ready(Err(end));
        }
        loop {
            match ready!(self.peer.poll_next(cx)) {
                Ok(opened) => {
                    if let Some(stream) = belonging(self.session, opened) {
                        return Poll::Ready(Ok(stream));
                    }
                }
                Err(error) => {
                    let end = SessionEnd::from(error);
                    self.ended = Some(end.clone());
                    return Poll::Ready(Err(end));
                }
            }
        }
    }

    /// The next stream of the peer, or the end of the session. Cancel safe.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub async fn next(&mut self) -> Result<PeerStream, SessionEnd> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next bidirectional stream. Unidirectional ones that come before it are not lost. Not cancel
    /// safe.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub async fn accept_bi(&mut self) -> Result<(SendStream, RecvStream), SessionEnd> {
        let mut others = VecDeque::new();
        loop {
            match self.next().await? {
                PeerStream::Bidi(send, recv) => {
                    others.append(&mut self.early);
                    self.early = others;
                    return Ok((send, recv));
                }
                other => others.push_back(other),
            }
        }
    }

    /// Waits for the end of the session, and discards streams that the peer opens.
    pub async fn closed(&mut self) -> SessionEnd {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }
}

/// The stream if it belongs to the session; all else is rejected.
fn belonging(session: SessionId, opened: Opened) -> Option<PeerStream> {
    match opened {
        Opened::Uni(id, recv) if id == session => Some(PeerStream::Uni(recv)),
        Opened::Bidi(id, send, recv) if id == session => Some(PeerStream::Bidi(send, recv)),
        other => {
            PeerStreams::reject(other);
            None
        }
    }
}

/// Reads the CONNECT stream up to the end of the session. `None` if the stream ends, or is reset,
/// without a code.
async fn closing(connect: RecvStream) -> Option<SessionEnd> {
    let mut capsules = Http3CapsuleReader::new(connect);
    loop {
        match capsules.read().await {
            Ok(Some(Capsule::CloseWebTransportSession { code, reason })) => {
                return Some(SessionEnd::Closed { code, reason });
            }
            // Capsules of a kind that is unknown are ignored (RFC 9297 §3.2).
            Ok(Some(_)) => {}
            Ok(None) | Err(CapsuleError::Io(_) | CapsuleError::UnexpectedEnd) => return None,
            Err(error) => return Some(SessionEnd::Capsule(error.to_string())),
        }
    }
}
