//! A client's link over QUIC: connecting and writing. What comes back is read in `reading.rs`.

mod reading;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, SendStream, TokioRuntime,
    TransportConfig, WriteError, crypto::rustls::QuicClientConfig,
};
use rustls::RootCertStore;
use signalbox_protocol::{
    ALPN, ClientMessage, ClientStream, CloseReason, GatewayMessage, binary, frame,
    frame::FrameError, message::Welcome,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tracing::debug;

use reading::{Frames, Reading};

use super::{BATCH, Driver, End};
use crate::{
    client::Command,
    connector::{ConnectOptions, tls_config},
    error::ConnectError,
    target::Target,
};

/// Streams that the gateway may have open, one per sender; slots cost memory up front. With more
/// senders than this the quiet ones share, in turn.
const SENDER_STREAMS: u32 = 128;

/// Bytes that may wait unread, per stream and in all.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Socket buffers that we ask for, in bytes; one socket serves all connections of a connector.
const SOCKET_BUFFER: usize = 2 * 1024 * 1024;

/// First guess of the round trip. quinn's 333 ms delay the first probe to about a second.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// One UDP socket per address family, opened when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    v4: Mutex<Option<Endpoint>>,
    v6: Mutex<Option<Endpoint>>,
}

impl Endpoints {
    fn towards(&self, address: SocketAddr) -> std::io::Result<Endpoint> {
        let (slot, local) = match address {
            SocketAddr::V4(_) => (&self.v4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (&self.v6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        let mut slot = slot.lock();
        if let Some(endpoint) = &*slot {
            return Ok(endpoint.clone());
        }
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        // The system may grant less, which costs only retransmissions.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        socket.bind(&local.into())?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket.into(), runtime)?;
        Ok(slot.insert(endpoint).clone())
    }
}

/// A connection whose hello was accepted.
pub(crate) struct QuicLink {
    connection: Connection,
    control_out: SendStream,
    control_in: Frames,
}

/// Connects to one address and says hello.
pub(crate) async fn connect(
    endpoints: &Endpoints,
    roots: Arc<RootCertStore>,
    target: &Target,
    address: SocketAddr,
    options: &ConnectOptions,
) -> Result<(Welcome, QuicLink), ConnectError> {
    let unreachable = |detail: String| ConnectError::Unreachable {
        address: format!("{} ({address}, UDP)", target.address()),
        detail,
    };
    let endpoint = endpoints.towards(address).map_err(|error| unreachable(error.to_string()))?;
    let crypto = QuicClientConfig::try_from(tls_config(roots, ALPN))
        .map_err(|error| ConnectError::Protocol(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport_config(options)));
    let connection = endpoint
        .connect_with(config, address, &target.host)
        .map_err(|error| unreachable(error.to_string()))?
        .await
        .map_err(|error| unreachable(error.to_string()))?;

    let lost = |End { message, .. }: End| unreachable(message);
    let (mut control_out, control_in) =
        connection.open_bi().await.map_err(|error| lost(ended(error)))?;
    let hello = frame::encode(&options.hello());
    control_out.write_all(&hello).await.map_err(|error| lost(write_error(&error)))?;
    let mut control_in = Frames::new(control_in);
    while !control_in.buffer.is_ready() {
        match control_in.fill().await {
            Ok(true) => {}
            Ok(false) => return Err(unreachable("no answer to the hello".into())),
            Err(End { reason: CloseReason::NetworkDisconnected, message }) => {
                return Err(unreachable(message));
            }
            // A gateway that could not say bye says it by its close.
            Err(End { reason, message }) => return Err(ConnectError::Refused { reason, message }),
        }
    }
    let frame = control_in.buffer.next_frame().map_err(|error| lost(frame_error(error)))?;
    match binary::decode(frame.unwrap_or_default()) {
        Ok(Some(GatewayMessage::Welcome(welcome))) => {
            Ok((welcome, QuicLink { connection, control_out, control_in }))
        }
        Ok(Some(GatewayMessage::Bye { reason, message, .. })) => {
            let message = message.into_string();
            close(&connection);
            Err(ConnectError::Refused { reason, message })
        }
        _ => Err(ConnectError::Protocol("the answer to the hello is no welcome".into())),
    }
}

fn transport_config(options: &ConnectOptions) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0u32.into())
        .max_concurrent_uni_streams(SENDER_STREAMS.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .datagram_receive_buffer_size(None)
        .initial_rtt(INITIAL_RTT)
        .keep_alive_interval(Some(options.keep_alive));
    transport
}

/// Carries a connection to its end.
pub(crate) async fn run(link: QuicLink, driver: Driver) {
    let QuicLink { connection, control_out, control_in } = link;
    let (mut teller, commands) = driver.split();
    let end = {
        let reading = Reading::new(&connection, control_in).run(&mut teller);
        let writing = async {
            if let Err(End { message, .. }) = write(&connection, control_out, commands).await {
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
    close(&connection);
    teller.end(end).await;
}

fn close(connection: &Connection) {
    let reason = CloseReason::ClientDisconnected;
    connection.close(reason.quic_code().into(), reason.name().as_bytes());
}

/// Writes commands until a goodbye, which is also said when all clients have been dropped.
async fn write(
    connection: &Connection,
    mut control: SendStream,
    mut commands: mpsc::Receiver<Command>,
) -> Result<(), End> {
    let mut signals: Option<SendStream> = None;
    let mut sent = 0;
    let mut batch = Vec::new();
    let mut bytes = Vec::new();
    loop {
        let mut goodbye = commands.recv_many(&mut batch, BATCH).await == 0;
        for command in batch.drain(..) {
            match command {
                Command::Signal(signal) => {
                    if signals.is_none() && bytes.is_empty() {
                        frame::encode_to(&ClientStream::Signals {}, &mut bytes);
                    }
                    frame::encode_to(&ClientMessage::Signal(signal), &mut bytes);
                    sent += 1;
                }
                Command::ForceDisconnect(id) => {
                    let message = frame::encode(&ClientMessage::ForceDisconnect { id });
                    control.write_all(&message).await.map_err(|error| write_error(&error))?;
                }
                Command::Goodbye => {
                    goodbye = true;
                    break;
                }
            }
        }
        if !bytes.is_empty() {
            let stream = match &mut signals {
                Some(stream) => stream,
                none => none.insert(connection.open_uni().await.map_err(ended)?),
            };
            stream.write_all(&bytes).await.map_err(|error| write_error(&error))?;
            bytes.clear();
        }
        if goodbye {
            if let Some(mut stream) = signals {
                let _ = stream.finish();
            }
            let message = frame::encode(&ClientMessage::Goodbye { signals: sent });
            return control.write_all(&message).await.map_err(|error| write_error(&error));
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
