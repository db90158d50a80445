//! A client's link over QUIC or WebTransport: connecting and writing. `incoming.rs` reads.

mod config;
mod incoming;

use std::net::SocketAddr;

use quinn::{Connection, ConnectionError, RecvStream, SendStream, WriteError};
use signalbox_protocol::{
    ClientMessage, ClientStream, CloseReason, binary, frame, frame::FrameError,
};
use signalbox_webtransport::{
    Closer, Incoming, Session, SessionEnd, SessionId, from_http3, to_http3,
};
use tracing::debug;
use url::Url;

pub(crate) use config::QuicConfig;
use incoming::{GatewayFrames, IncomingStreams};

use super::{Disconnection, EventDispatcher, HandshakeReply, OutgoingMessages, ReplyAssembler};
use crate::{
    endpoints::Endpoints,
    error::{ConnectError, UnreachableCause as Cause},
    gateway_url::{GatewayUrl, Scheme},
    opening::Opening,
};

/// A QUIC connection before the gateway has answered the opening.
pub(crate) struct PendingQuicLink {
    connection: Connection,
    /// The WebTransport session to which the streams belong, if any.
    session: Option<Session>,
    /// The control stream, once the opening has been sent on it. If that was before the reply,
    /// they were taken, too.
    opening_sent: Option<(SendStream, Option<RecvStream>)>,
    /// A `resume` may have been sent. If its reply is abandoned, the link counts as lost.
    resumes: bool,
    /// For errors.
    address: String,
}

impl Drop for PendingQuicLink {
    fn drop(&mut self) {
        // quinn would close it with code 0 and finish the stream, and either is a goodbye: the
        // connection that another attempt is to resume would be destroyed.
        if self.resumes {
            let is_session = self.session.is_some();
            close(&self.connection, is_session, CloseReason::NetworkDisconnected);
        }
    }
}

/// A QUIC connection on which the gateway has accepted the client.
pub(crate) struct QuicLink {
    connection: Connection,
    session: Option<Session>,
    control_out: SendStream,
    control_in: GatewayFrames,
}

/// Connects to one address. If the gateway is known, `early` is sent in the first packet; but only
/// a `resume`, as early data can be captured and replayed.
pub(crate) async fn dial(
    endpoints: &Endpoints,
    config: &QuicConfig,
    target: &GatewayUrl,
    address: SocketAddr,
    early: Option<Opening<'_>>,
) -> Result<PendingQuicLink, ConnectError> {
    let name = format!("{} ({address}, UDP)", target.address());
    let failed = |cause, detail: String| {
        let address = name.clone();
        ConnectError::Unreachable { address, cause, detail }
    };
    let unreachable = |detail: String| failed(Cause::Other, detail);
    let endpoint =
        endpoints.for_address(address).map_err(|error| unreachable(error.to_string()))?;
    let connecting = endpoint
        .connect_with(config.of(target.scheme), address, &target.host)
        .map_err(|error| unreachable(error.to_string()))?;
    if target.scheme == Scheme::Https {
        let connection =
            connecting.await.map_err(|error| failed(cause(&error), error.to_string()))?;
        let url = format!("https://{}{}", target.address(), target.path);
        let url = Url::parse(&url).map_err(|error| unreachable(error.to_string()))?;
        let session = signalbox_webtransport::connect(&connection, url)
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        return Ok(PendingQuicLink::new(connection, Some(session), name));
    }
    let early = early.filter(|early| early.is_resume());
    let known = match early {
        Some(early) => connecting.into_0rtt().map(|known| (early, known)),
        None => Err(connecting),
    };
    match known {
        Ok((early, (connection, accepted))) => {
            let mut pending = PendingQuicLink::new(connection, None, name.clone());
            // Before the first wait, in which this attempt may be abandoned.
            pending.resumes = true;
            let opening_sent = send_opening(&pending.connection, None, &early.messages()).await;
            pending.opening_sent = opening_sent.ok().map(|(out, incoming)| (out, Some(incoming)));
            let accepted = accepted.await;
            if let Some(error) = pending.connection.close_reason() {
                return Err(unreachable(error.to_string()));
            }
            if !accepted {
                pending.opening_sent = None;
                pending.resumes = false;
            }
            Ok(pending)
        }
        Err(connecting) => {
            let connection =
                connecting.await.map_err(|error| failed(cause(&error), error.to_string()))?;
            Ok(PendingQuicLink::new(connection, None, name))
        }
    }
}

/// The cause of a failed handshake. The client's own TLS alerts tell what it found wrong with the
/// certificate (RFC 8446 §6.2, RFC 9001 §4.8).
fn cause(error: &ConnectionError) -> Cause {
    let ConnectionError::TransportError(error) = error else { return Cause::Other };
    match u64::from(error.code).checked_sub(0x100) {
        // 51 is a wrong signature: an authority of the same name with another key.
        Some(48 | 51) => Cause::UntrustedAuthority,
        Some(42..=46) => Cause::Certificate,
        _ => Cause::Other,
    }
}

impl PendingQuicLink {
    fn new(connection: Connection, session: Option<Session>, address: String) -> Self {
        Self { connection, session, opening_sent: None, resumes: false, address }
    }

    fn session_id(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.id)
    }

    /// Sends the opening, unless it was sent early, and receives the reply.
    pub(super) async fn open(
        mut self,
        opening: Opening<'_>,
    ) -> Result<(HandshakeReply, QuicLink), ConnectError> {
        let address = self.address.clone();
        let lost = |Disconnection { message: detail, .. }: Disconnection| {
            ConnectError::Unreachable { address: address.clone(), cause: Cause::Other, detail }
        };
        if self.opening_sent.is_none() {
            self.resumes = opening.is_resume();
            let opening_sent =
                send_opening(&self.connection, self.session_id(), &opening.messages())
                    .await
                    .map_err(lost)?;
            self.opening_sent = Some((opening_sent.0, Some(opening_sent.1)));
        }
        let control_in = self.opening_sent.as_mut().and_then(|(_, control_in)| control_in.take());
        let mut control_in = GatewayFrames::new(
            control_in.ok_or_else(|| lost(Disconnection::lost("no opening was sent")))?,
        );
        let mut assembler = ReplyAssembler::default();
        loop {
            let frame = control_in.buffer.next_frame().map_err(|error| lost(frame_error(error)))?;
            if let Some(frame) = frame {
                let message = binary::decode(frame)
                    .map_err(|error| ConnectError::Protocol(error.to_string()))?;
                // A newer gateway may send messages that this client does not know.
                let Some(message) = message else { continue };
                match assembler.push(message) {
                    Ok(None) => continue,
                    Ok(Some(reply)) => {
                        let Some((control_out, _)) = self.opening_sent.take() else { continue };
                        self.resumes = false;
                        let connection = self.connection.clone();
                        let session = self.session.take();
                        let link = QuicLink { connection, session, control_out, control_in };
                        return Ok((reply, link));
                    }
                    Err(error) => {
                        let is_session = self.session.is_some();
                        close(&self.connection, is_session, CloseReason::ClientDisconnected);
                        return Err(error);
                    }
                }
            }
            let end = match control_in.fill().await {
                Ok(true) => continue,
                Ok(false) => Disconnection::lost("the gateway did not answer"),
                Err(broken) => broken.into(),
            };
            return Err(match end.reason {
                // With the code of a goodbye: nobody has said more, so this is no answer. Many
                // libraries close a connection that is dropped with this code.
                CloseReason::NetworkDisconnected | CloseReason::ClientDisconnected => lost(end),
                // A gateway that could not send a bye closes with its reason.
                reason => ConnectError::Refused { reason, message: end.message },
            });
        }
    }
}

/// Opens the control stream and writes the first messages.
async fn send_opening(
    connection: &Connection,
    session: Option<SessionId>,
    messages: &[ClientMessage<'_>],
) -> Result<(SendStream, RecvStream), Disconnection> {
    let (mut control_out, control_in) = connection.open_bi().await.map_err(ended)?;
    let mut bytes = session.map(SessionId::bidi_prefix).unwrap_or_default();
    for message in messages {
        frame::encode_to(message, &mut bytes);
    }
    control_out.write_all(&bytes).await.map_err(|error| write_error(&error))?;
    Ok((control_out, control_in))
}

impl QuicLink {
    /// Carries the connection until the link ends.
    pub(super) async fn run(
        self,
        dispatcher: &mut EventDispatcher,
        outgoing: &mut OutgoingMessages,
    ) -> Disconnection {
        let Self { connection, session, control_out, control_in } = self;
        let (id, incoming, closer): (_, Option<Incoming>, Option<Closer>) = match session {
            Some(Session { id, incoming, closer }) => (Some(id), Some(incoming), Some(closer)),
            None => (None, None, None),
        };
        let end = {
            let reading = IncomingStreams::new(&connection, incoming, control_in).run(dispatcher);
            let writing = async {
                if let Err(Disconnection { message, .. }) =
                    write(&connection, id, control_out, outgoing).await
                {
                    // The reading half fails, too, and knows the reason.
                    debug!(message, "write failed");
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                end = reading => end,
                () = writing => Disconnection::lost("writing ended"),
            }
        };
        close(&connection, id.is_some(), end.closing_reason());
        // Dropped earlier, it would say goodbye.
        drop(closer);
        end
    }
}

fn close(connection: &Connection, is_session: bool, reason: CloseReason) {
    let code = reason.quic_code();
    let code = if is_session { to_http3(code) } else { code.into() };
    connection.close(code, reason.name().as_bytes());
}

/// Writes outgoing messages up to a goodbye.
async fn write(
    connection: &Connection,
    session: Option<SessionId>,
    mut control: SendStream,
    outgoing: &mut OutgoingMessages,
) -> Result<(), Disconnection> {
    let mut signals: Option<SendStream> = None;
    let mut control_bytes = Vec::new();
    let mut signal_bytes = Vec::new();
    loop {
        let begun = signals.is_some();
        let more = outgoing
            .next(|message| match message {
                ClientMessage::Signal(_) => {
                    if !begun && signal_bytes.is_empty() {
                        signal_bytes = session.map(SessionId::uni_prefix).unwrap_or_default();
                        frame::encode_to(&ClientStream::Signals {}, &mut signal_bytes);
                    }
                    frame::encode_to(&message, &mut signal_bytes);
                }
                message => frame::encode_to(&message, &mut control_bytes),
            })
            .await;
        if !signal_bytes.is_empty() {
            let stream = match &mut signals {
                Some(stream) => stream,
                none => none.insert(connection.open_uni().await.map_err(ended)?),
            };
            stream.write_all(&signal_bytes).await.map_err(|error| write_error(&error))?;
            signal_bytes.clear();
        }
        if !more && let Some(stream) = &mut signals {
            let _ = stream.finish();
        }
        if !control_bytes.is_empty() {
            control.write_all(&control_bytes).await.map_err(|error| write_error(&error))?;
            control_bytes.clear();
        }
        if !more {
            return Ok(());
        }
    }
}

/// The reason for which a connection has ended. A gateway that could not send a bye closes with
/// its reason.
fn ended(error: ConnectionError) -> Disconnection {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let code = from_http3(close.error_code).map(u64::from);
            closed(code.unwrap_or(close.error_code.into_inner()))
        }
        error => Disconnection::lost(error.to_string()),
    }
}

fn closed(code: u64) -> Disconnection {
    let reason = CloseReason::from_quic_code(code);
    Disconnection::new(reason, reason.hint())
}

/// The reason for which a WebTransport session has ended.
fn session_ended(end: SessionEnd) -> Disconnection {
    match end {
        SessionEnd::Closed { code, .. } => closed(code.into()),
        SessionEnd::Lost(error) => ended(error),
        end @ SessionEnd::Capsule(_) => Disconnection::protocol(end.to_string()),
    }
}

fn write_error(error: &WriteError) -> Disconnection {
    match error {
        WriteError::ConnectionLost(error) => ended(error.clone()),
        error => Disconnection::lost(error.to_string()),
    }
}

fn frame_error(error: FrameError) -> Disconnection {
    Disconnection::protocol(error.to_string())
}
