//! Where every link begins, authenticates and ends, whatever its transport.
//!
//! A transport brings a [`Reader`] and a [`Writer`] of whole messages and nothing else; the steps
//! are all in [`serve`], so that no transport can skip one:
//!
//! ```text
//! hello (in time) → token → join → welcome ┬─ read messages        (never waits for writing)
//!                                          ├─ pump the outbox      (never waits for reading)
//!                                          ├─ the bell: somebody ended the connection
//!                                          ├─ the token expires
//!                                          ├─ the carrier, if it has to be watched
//!                                          └─ the gateway goes down, and asks the client to go
//!                   leave → what still waits, bye, close (all of it in at most a second)
//! ```

mod admit;
pub(crate) mod quic;
mod resume;
mod ticket;
pub(crate) mod websocket;

use std::{
    future::{Future, pending, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use signalbox_protocol::{
    ClientMessage, CloseReason, Codec, ErrorCode, GatewayMessage, Streams, Transport,
    limits::FAREWELL, message::SendSignal,
};
use signalbox_relay::{Connection, Encoding, Outbox, SignalError};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument, debug, debug_span, field, trace};

use crate::{
    admission::AdmissionPermit, lifecycle::Lifecycle, services::Services, woken::when_woken,
};

#[cfg(test)]
mod tests;

/// After how many messages in a row the reading half lets other tasks run, so that a sender
/// that never pauses cannot keep receivers from being served.
const BURST: u32 = 32;

/// The receiving half of a link.
pub(crate) trait Reader: Send {
    /// Whether a goodbye can overtake signals that were sent before it.
    const OVERTAKES: bool;

    /// The next message. Not until the first has been taken does the transport accept anything
    /// but a hello's place on the wire.
    fn next(&mut self) -> impl Future<Output = Result<Incoming<'_>, LinkError>> + Send;

    /// Waits until the client has closed the carrier, discarding what still comes.
    fn closed(&mut self) -> impl Future<Output = ()> + Send;
}

/// The sending half of a link.
pub(crate) trait Writer: Send {
    /// Learns what the client wants; answers in which form it takes its frames.
    fn accept(&mut self, presence: bool, streams: Streams) -> Encoding;

    /// The answer alone, for a client of whom it is not yet known whether it wants presence.
    fn encoding(&self, streams: Streams) -> Encoding;

    /// Sends one message before or after the outbox is pumped.
    fn send(
        &mut self,
        message: &GatewayMessage<'_>,
    ) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Writes what the outbox brings until it has ended and all is written; then its reason.
    /// May be dropped at any await and called again.
    fn pump(
        &mut self,
        outbox: &Outbox,
    ) -> impl Future<Output = Result<CloseReason, LinkError>> + Send;

    /// Says that nothing follows, by the means of the carrier.
    fn finish(&mut self, reason: CloseReason)
    -> impl Future<Output = Result<(), LinkError>> + Send;

    /// What the carrier needs and may bring while nothing is written: a future that yields when the
    /// carrier turns out to be of no more use. It is polled beside [`Writer::pump`].
    fn watch(&self) -> impl Future<Output = LinkError> + Send + use<Self>;

    /// Streams that it has opened so far, as a bye tells.
    fn streams(&self) -> u64;

    /// Ends the carrier at once.
    fn abort(&mut self, reason: CloseReason);
}

/// What a reader yields.
pub(crate) enum Incoming<'a> {
    /// A message where it may be.
    Message(ClientMessage<'a>),
    /// A kind of message that this version does not know.
    Unknown,
    /// The client has closed the carrier, cleanly and on purpose.
    Closed,
}

/// Why a carrier is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// It broke or fell silent.
    #[error("link lost: {0}")]
    Lost(String),
    /// The client closed it on purpose.
    #[error("closed by the client")]
    Closed,
    /// The client closed it in good form, but says that something is wrong on its side.
    #[error("closed by the client with code {0}")]
    ClosedBadly(u16),
    /// The client did what it may not do. Ours to end, with this reason.
    #[error("{detail}")]
    Violation {
        /// The reason that the client is told.
        reason: CloseReason,
        /// What it did.
        detail: String,
    },
}

impl LinkError {
    pub(crate) fn protocol(detail: impl Into<String>) -> Self {
        Self::Violation { reason: CloseReason::ProtocolError, detail: detail.into() }
    }

    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::Violation { reason: CloseReason::FrameTooLarge, detail: detail.into() }
    }
}

/// How a link ended.
struct End {
    reason: CloseReason,
    /// For the client and the log; never holds contents or tokens.
    detail: String,
    /// Whether the carrier still carries a farewell.
    alive: bool,
    /// Until when the farewell must be over.
    farewell_by: Instant,
}

impl End {
    fn new(reason: CloseReason, detail: impl Into<String>) -> Self {
        let farewell_by = Instant::now() + FAREWELL;
        Self { reason, detail: detail.into(), alive: true, farewell_by }
    }

    fn by(reason: CloseReason) -> Self {
        Self::new(reason, reason.hint())
    }

    /// The same, with a carrier that carries nothing any more.
    fn dead(self) -> Self {
        Self { alive: false, ..self }
    }
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Lost(detail) => Self::new(CloseReason::NetworkDisconnected, detail).dead(),
            // The reason is for the others; to the client there is nothing left to say, but a
            // carrier with a closing handshake still has to finish it.
            LinkError::Closed => Self::by(CloseReason::ClientDisconnected),
            LinkError::ClosedBadly(_) => {
                Self::new(CloseReason::NetworkDisconnected, error.to_string())
            }
            LinkError::Violation { reason, detail } => Self::new(reason, detail),
        }
    }
}

/// What is known of a link before its hello.
pub(crate) struct LinkInfo {
    /// Its transport, for the log and for servers.
    pub(crate) transport: Transport,
    /// Its codec, for the log.
    pub(crate) codec: Codec,
    /// The client's address.
    pub(crate) remote: SocketAddr,
    /// Until when the hello must be here.
    pub(crate) hello_by: Instant,
    /// Held until the client has been welcomed.
    pub(crate) permit: AdmissionPermit,
}

/// Serves a link from its hello to its end.
///
/// The future is what an idle link costs, and a future has room for all that it will ever hold at
/// once, and for its arguments a second time if it is an `async fn`. So this is none, and what is
/// rare and large in it is boxed.
pub(crate) fn serve(
    services: Arc<Services>,
    lifecycle: Arc<Lifecycle>,
    info: LinkInfo,
    mut reader: impl Reader,
    mut writer: impl Writer,
) -> impl Future<Output = ()> + Send {
    let LinkInfo { transport, codec, remote, hello_by, permit } = info;
    let span = debug_span!(
        "link",
        transport = transport.as_str(),
        codec = codec.as_str(),
        %remote,
        session = field::Empty,
        connection = field::Empty,
    );
    let life = async move {
        let (reader, writer) = (&mut reader, &mut writer);
        let admission =
            Box::pin(admit::admit(&services, &lifecycle, transport, hello_by, reader, writer));
        let end = match admission.await {
            Ok(admitted) => {
                drop(permit);
                carry(&services, &lifecycle, admitted, reader, writer).await
            }
            Err(end) => end,
        };
        debug!(reason = %end.reason, detail = end.detail, "link ended");
        if end.alive {
            let farewell = Box::pin(async {
                let message = end.detail.as_str().into();
                let streams = writer.streams();
                let bye = GatewayMessage::Bye { reason: end.reason, message, streams };
                // Whatever fails here, the carrier ends next. If the client has closed it, there
                // is nothing left to say, but its closing handshake is still to be answered.
                if writer.send(&bye).await.is_ok() {
                    let _ = writer.finish(end.reason).await;
                }
                reader.closed().await;
            });
            let _ = timeout_at(end.farewell_by, farewell).await;
        }
        writer.abort(end.reason);
    };
    life.instrument(span)
}

/// A connection that a link carries from now on.
struct Admitted {
    connection: Connection,
    outbox: Outbox,
    /// How long its token is still good.
    expires_in: Duration,
    /// Whether it has come back, and has not yet shown that it knows its new ticket.
    resumed: bool,
}

/// Carries a connection until something ends it.
fn carry(
    services: &Services,
    lifecycle: &Lifecycle,
    admitted: Admitted,
    reader: &mut impl Reader,
    writer: &mut impl Writer,
) -> impl Future<Output = End> + Send {
    let Admitted { mut connection, outbox, expires_in, resumed } = admitted;
    async move {
        let expired = async {
            if services.policy().auth.end_on_token_expiry {
                Box::pin(tokio::time::sleep(expires_in)).await;
            } else {
                pending::<()>().await;
            }
        };
        let going_down = async {
            lifecycle.drain_begun().await;
            let within = lifecycle.schedule().next();
            // If all are ended in one moment, none of them has been spread by us.
            if !within.is_zero() {
                outbox.go_away(u32::try_from(within.as_millis()).unwrap_or(u32::MAX));
            }
            tokio::time::sleep(within).await;
        };
        let watch = writer.watch();
        let end = async {
            let reading = pin!(read(services, &mut connection, (expires_in, resumed), reader));
            let pumping = pin!(writer.pump(&outbox));
            let ending = pin!(async {
                tokio::select! {
                    reason = poll_fn(|cx| outbox.poll_ended(cx)) => End::by(reason),
                    () = expired => End::by(CloseReason::TokenExpired),
                    () = going_down => End::by(CloseReason::ShuttingDown),
                    error = watch => error.into(),
                }
            });
            tokio::select! {
                end = when_woken(reading) => end,
                result = when_woken(pumping) => match result {
                    Ok(reason) => End::by(reason),
                    Err(error) => error.into(),
                },
                end = when_woken(ending) => end,
            }
        };
        let end = end.await;
        depart(services, lifecycle, connection, end.reason);
        if end.alive && end.reason != CloseReason::SlowConsumer {
            // The outbox has ended now; what waits in it is still the client's.
            let _ = timeout_at(end.farewell_by, writer.pump(&outbox)).await;
        }
        end
    }
}

/// The connection leaves its link: for good, or until it comes back.
fn depart(services: &Services, lifecycle: &Lifecycle, connection: Connection, reason: CloseReason) {
    let now = services.uptime();
    // Of one that is ended because the gateway goes down the others need not hear before they go.
    if !matches!(reason, CloseReason::NetworkDisconnected | CloseReason::ShuttingDown) {
        connection.leave(reason, now);
        return;
    }
    let window = services.resume_window(connection.session_id().project());
    if let Some(away) = connection.lost(now) {
        lifecycle.expire_after(window, away, services.uptime());
    }
}

/// Hands what the client sends to the relay, until the client or a fault of its ends it.
async fn read<R: Reader>(
    services: &Services,
    connection: &mut Connection,
    (expires_in, mut resumed): (Duration, bool),
    reader: &mut R,
) -> End {
    let since = Instant::now();
    let mut burst = Burst(0);
    loop {
        burst.breathe().await;
        let message = match reader.next().await {
            Ok(Incoming::Message(message)) => message,
            Ok(Incoming::Unknown) => {
                connection.tell_error(
                    None,
                    ErrorCode::Unsupported,
                    "this gateway does not know that kind of message",
                );
                continue;
            }
            Ok(Incoming::Closed) => return LinkError::Closed.into(),
            Err(error) => return error.into(),
        };
        if std::mem::take(&mut resumed) {
            // Whatever it says, it says it after it has read its new ticket.
            connection.has_ticket();
        }
        match message {
            ClientMessage::Signal(send) => signal(services, connection, send).await,
            ClientMessage::ForceDisconnect { id } => {
                if let Err(refused) = connection.force_disconnect(id, services.uptime()) {
                    connection.tell_error(None, refused.code(), &refused.to_string());
                }
            }
            ClientMessage::Goodbye { signals } => {
                if R::OVERTAKES {
                    let rest = Box::pin(overtaken(services, connection, reader, signals));
                    let _ = timeout(FAREWELL, rest).await;
                }
                // Only now: the farewell has a second of its own, however long the signals took.
                return End::by(CloseReason::ClientDisconnected);
            }
            ClientMessage::Keep {} => {
                resume::keep(services, connection, expires_in.saturating_sub(since.elapsed()));
            }
            ClientMessage::Hello(_) | ClientMessage::Resume(_) | ClientMessage::Heard { .. } => {
                return LinkError::protocol("a second hello").into();
            }
        }
    }
}

/// Counts messages that were handled without a pause.
struct Burst(u32);

impl Burst {
    /// Lets other tasks run, and timers fire, after every [`BURST`] messages.
    async fn breathe(&mut self) {
        self.0 += 1;
        if self.0 == BURST {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

async fn signal(services: &Services, connection: &mut Connection, send: SendSignal<'_>) {
    let to = send.to;
    match connection.signal(to, send.into_signal(), services.uptime()) {
        Ok(()) => trace!(seq = connection.sent(), "signal"),
        Err(SignalError::Refused { seq, refused }) => {
            connection.tell_error(Some(seq), refused.code(), &refused.to_string());
        }
        // The bell is about to ring.
        Err(SignalError::Ended) => pending().await,
    }
}

/// After a goodbye: the signals that it has overtaken.
async fn overtaken(
    services: &Services,
    connection: &mut Connection,
    reader: &mut impl Reader,
    signals: u64,
) {
    let mut burst = Burst(0);
    while connection.sent() < signals {
        burst.breathe().await;
        match reader.next().await {
            Ok(Incoming::Message(ClientMessage::Signal(send))) => {
                signal(services, connection, send).await;
            }
            // It may end its control stream after the goodbye.
            Ok(Incoming::Closed | Incoming::Unknown) => {}
            _ => return,
        }
    }
}
