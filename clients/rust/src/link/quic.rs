//! A client's link over QUIC: connecting and writing. What comes back is read in `reading.rs`.

mod reading;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    ClientConfig, Connection, ConnectionError, RecvStream, SendStream, TransportConfig, WriteError,
    crypto::rustls::QuicClientConfig,
};
use rustls::{RootCertStore, client::Resumption};
use signalbox_protocol::{
    ALPN, ClientMessage, ClientStream, CloseReason, binary, frame, frame::FrameError,
};
use tracing::debug;

use reading::{GatewayFrames, Reading};

use super::{Answer, End, Hearing, Sending, Teller};
use crate::{
    endpoints::Endpoints,
    error::{ConnectError, UnreachableCause as Cause},
    opening::Opening,
    target::Target,
};

/// Streams that the gateway may have open, one per sender; slots cost memory up front. With more
/// senders than this the quiet ones share, in turn.
const SENDER_STREAMS: u32 = 128;

/// Bytes that may wait unread, per stream and in all.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// First guess of the round trip. quinn's 333 ms delay the first probe to about a second.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// TLS sessions that a client remembers: those of one gateway (rustls counts in eights).
const SESSIONS: usize = 8;

/// How a client connects: TLS, which remembers the gateway, and the transport.
#[derive(Debug)]
pub(crate) struct Settings(ClientConfig);

impl Settings {
    /// `early_data` allows to speak before the handshake is over.
    pub(crate) fn new(
        roots: &Arc<RootCertStore>,
        keep_alive: Duration,
        early_data: bool,
    ) -> Result<Self, ConnectError> {
        let mut tls = signalbox_certs::client(roots.clone(), &[ALPN]);
        if early_data {
            tls.enable_early_data = true;
            tls.resumption = Resumption::in_memory_sessions(SESSIONS);
        }
        let crypto = QuicClientConfig::try_from(tls)
            .map_err(|error| ConnectError::Protocol(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport_config(keep_alive)));
        Ok(Self(config))
    }
}

/// A connection that the gateway has answered, and nothing said on it, or not answered yet.
pub(crate) struct Dialled {
    connection: Connection,
    /// The control stream, once the first messages have been said. If that was before the answer,
    /// they were taken, too.
    said: Option<(SendStream, Option<RecvStream>)>,
    /// A resumption may have been said. If nobody waits for its answer any more, the link is lost.
    resumes: bool,
    /// For errors.
    address: String,
}

impl Drop for Dialled {
    fn drop(&mut self) {
        // quinn would close it with code 0 and end the stream, and either is a goodbye: the
        // connection that another attempt is to come back to would be no more.
        if self.resumes {
            close(&self.connection, CloseReason::NetworkDisconnected);
        }
    }
}

/// A connection on which the gateway has answered.
pub(crate) struct QuicLink {
    connection: Connection,
    control_out: SendStream,
    control_in: GatewayFrames,
}

/// Connects to one address. To a gateway that is known it says `early` with its first packet, if
/// that is a resumption: what could be played again by whoever captures it is not said early.
pub(crate) async fn dial(
    endpoints: &Endpoints,
    settings: &Settings,
    target: &Target,
    address: SocketAddr,
    early: Option<Opening<'_>>,
) -> Result<Dialled, ConnectError> {
    let name = format!("{} ({address}, UDP)", target.address());
    let failed = |cause, detail: String| {
        let address = name.clone();
        ConnectError::Unreachable { address, cause, detail }
    };
    let unreachable = |detail: String| failed(Cause::Other, detail);
    let endpoint =
        endpoints.for_address(address).map_err(|error| unreachable(error.to_string()))?;
    let connecting = endpoint
        .connect_with(settings.0.clone(), address, &target.host)
        .map_err(|error| unreachable(error.to_string()))?;
    let early = early.filter(|early| early.is_resume());
    let known = match early {
        Some(early) => connecting.into_0rtt().map(|known| (early, known)),
        None => Err(connecting),
    };
    match known {
        Ok((early, (connection, accepted))) => {
            let said = say(&connection, &early.messages()).await.ok();
            let said = said.map(|(control_out, control_in)| (control_out, Some(control_in)));
            let mut dialled = Dialled { connection, said, resumes: true, address: name.clone() };
            let accepted = accepted.await;
            if let Some(error) = dialled.connection.close_reason() {
                return Err(unreachable(error.to_string()));
            }
            if !accepted {
                dialled.said = None;
                dialled.resumes = false;
            }
            Ok(dialled)
        }
        Err(connecting) => {
            let connection =
                connecting.await.map_err(|error| failed(cause(&error), error.to_string()))?;
            Ok(Dialled { connection, said: None, resumes: false, address: name })
        }
    }
}

/// What a failed handshake says. Its own alerts tell what it found wrong with the certificate
/// (RFC 8446 §6.2, RFC 9001 §4.8).
fn cause(error: &ConnectionError) -> Cause {
    let ConnectionError::TransportError(error) = error else { return Cause::Other };
    match u64::from(error.code).checked_sub(0x100) {
        // The second is a wrong signature: an authority of the same name with another key.
        Some(48 | 51) => Cause::UntrustedAuthority,
        Some(42..=46) => Cause::Certificate,
        _ => Cause::Other,
    }
}

impl Dialled {
    /// Says the first messages and takes the answer.
    pub(super) async fn open(
        mut self,
        opening: Opening<'_>,
    ) -> Result<(Answer, QuicLink), ConnectError> {
        let address = self.address.clone();
        let lost = |End { message: detail, .. }: End| ConnectError::Unreachable {
            address: address.clone(),
            cause: Cause::Other,
            detail,
        };
        if self.said.is_none() {
            self.resumes = opening.is_resume();
            let said = say(&self.connection, &opening.messages()).await.map_err(lost)?;
            self.said = Some((said.0, Some(said.1)));
        }
        let control_in = self.said.as_mut().and_then(|(_, control_in)| control_in.take());
        let mut control_in =
            GatewayFrames::new(control_in.ok_or_else(|| lost(End::lost("nothing was said")))?);
        let mut hearing = Hearing::default();
        loop {
            let frame = control_in.buffer.next_frame().map_err(|error| lost(frame_error(error)))?;
            if let Some(frame) = frame {
                let message = binary::decode(frame)
                    .map_err(|error| ConnectError::Protocol(error.to_string()))?;
                // A gateway may be newer than we are.
                let Some(message) = message else { continue };
                match hearing.hear(message) {
                    Ok(None) => continue,
                    Ok(Some(answer)) => {
                        let Some((control_out, _)) = self.said.take() else { continue };
                        self.resumes = false;
                        let connection = self.connection.clone();
                        return Ok((answer, QuicLink { connection, control_out, control_in }));
                    }
                    Err(error) => {
                        close(&self.connection, CloseReason::ClientDisconnected);
                        return Err(error);
                    }
                }
            }
            let end = match control_in.fill().await {
                Ok(true) => continue,
                Ok(false) => End::lost("no answer came"),
                Err(broken) => broken.into(),
            };
            return Err(match end {
                End { reason: CloseReason::NetworkDisconnected, .. } => lost(end),
                // A gateway that could not say bye says it by its close.
                End { reason, message, .. } => ConnectError::Refused { reason, message },
            });
        }
    }
}

/// Opens the control stream with these messages.
async fn say(
    connection: &Connection,
    messages: &[ClientMessage<'_>],
) -> Result<(SendStream, RecvStream), End> {
    let (mut control_out, control_in) = connection.open_bi().await.map_err(ended)?;
    let mut bytes = Vec::new();
    for message in messages {
        frame::encode_to(message, &mut bytes);
    }
    control_out.write_all(&bytes).await.map_err(|error| write_error(&error))?;
    Ok((control_out, control_in))
}

fn transport_config(keep_alive: Duration) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0u32.into())
        .max_concurrent_uni_streams(SENDER_STREAMS.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .datagram_receive_buffer_size(None)
        .initial_rtt(INITIAL_RTT)
        .keep_alive_interval(Some(keep_alive));
    transport
}

impl QuicLink {
    /// Carries the connection until the link ends.
    pub(super) async fn run(self, teller: &mut Teller, sending: &mut Sending) -> End {
        let Self { connection, control_out, control_in } = self;
        let end = {
            let reading = Reading::new(&connection, control_in).run(teller);
            let writing = async {
                if let Err(End { message, .. }) = write(&connection, control_out, sending).await {
                    // The reading half learns of it, too, and better.
                    debug!(message, "writing failed");
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                end = reading => end,
                () = writing => End::lost("writing ended"),
            }
        };
        close(&connection, end.closing_reason());
        end
    }
}

fn close(connection: &Connection, reason: CloseReason) {
    connection.close(reason.quic_code().into(), reason.name().as_bytes());
}

/// Writes what there is to be sent until a goodbye.
async fn write(
    connection: &Connection,
    mut control: SendStream,
    sending: &mut Sending,
) -> Result<(), End> {
    let mut signals: Option<SendStream> = None;
    let mut of_control = Vec::new();
    let mut of_signals = Vec::new();
    loop {
        let begun = signals.is_some();
        let more = sending
            .next(|message| match message {
                ClientMessage::Signal(_) => {
                    if !begun && of_signals.is_empty() {
                        frame::encode_to(&ClientStream::Signals {}, &mut of_signals);
                    }
                    frame::encode_to(&message, &mut of_signals);
                }
                message => frame::encode_to(&message, &mut of_control),
            })
            .await;
        if !of_signals.is_empty() {
            let stream = match &mut signals {
                Some(stream) => stream,
                none => none.insert(connection.open_uni().await.map_err(ended)?),
            };
            stream.write_all(&of_signals).await.map_err(|error| write_error(&error))?;
            of_signals.clear();
        }
        if !more && let Some(stream) = &mut signals {
            let _ = stream.finish();
        }
        if !of_control.is_empty() {
            control.write_all(&of_control).await.map_err(|error| write_error(&error))?;
            of_control.clear();
        }
        if !more {
            return Ok(());
        }
    }
}

/// What the end of the connection says. A gateway that could not say bye says it here.
fn ended(error: ConnectionError) -> End {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let reason = CloseReason::from_quic_code(close.error_code.into_inner());
            End::new(reason, reason.hint())
        }
        error => End::lost(error.to_string()),
    }
}

fn write_error(error: &WriteError) -> End {
    match error {
        WriteError::ConnectionLost(error) => ended(error.clone()),
        error => End::lost(error.to_string()),
    }
}

fn frame_error(error: FrameError) -> End {
    End::protocol(error.to_string())
}
