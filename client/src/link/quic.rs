//! A client's link over QUIC.
//!
//! Every sender has a stream of its own. They are read as they become readable, never one after
//! the other, so that bytes which are late for one sender do not hold up the rest.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, ReadError, RecvStream,
    SendStream, TokioRuntime, TransportConfig, WriteError, crypto::rustls::QuicClientConfig,
};
use rustls::RootCertStore;
use signalbox_protocol::{
    ALPN, ClientMessage, ClientStream, CloseReason, GatewayMessage, GatewayStream, SenderMessage,
    Signal, binary, frame,
    frame::{FrameBuffer, FrameError},
    limits::GATEWAY_FRAME_BYTES,
    message::Welcome,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tracing::debug;

use super::{BATCH, Driver, End, FAREWELL, Teller};
use crate::{
    client::Command,
    connector::{ConnectOptions, Target, tls_config},
    error::ConnectError,
    order::StreamKey,
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

/// Bytes taken from a stream at once.
const CHUNK: usize = 16 * 1024;

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
    let endpoint = endpoints
        .towards(address)
        .map_err(|error| unreachable(error.to_string()))?;
    let crypto = QuicClientConfig::try_from(tls_config(roots, ALPN))
        .map_err(|error| ConnectError::Protocol(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport_config(options)));
    let connection = endpoint
        .connect_with(config, address, &target.host)
        .map_err(|error| unreachable(error.to_string()))?
        .await
        .map_err(|error| unreachable(error.to_string()))?;

    let greeting = async {
        let (mut control_out, control_in) = connection.open_bi().await.map_err(lost)?;
        let hello = frame::encode(&options.hello());
        control_out
            .write_all(&hello)
            .await
            .map_err(|error| write_error(&error))?;
        let mut control_in = Frames::new(control_in);
        while !control_in.buffer.is_ready() {
            if !control_in.fill().await? {
                return Err(End::protocol("no answer to the hello"));
            }
        }
        let frame = control_in
            .buffer
            .next_frame()
            .map_err(frame_error)?
            .unwrap_or_default();
        match binary::decode(frame) {
            Ok(Some(GatewayMessage::Welcome(welcome))) => Ok((welcome, control_out, control_in)),
            Ok(Some(GatewayMessage::Bye { reason, message })) => {
                Err(End::new(reason, message.into_string()))
            }
            _ => Err(End::protocol("the answer to the hello is no welcome")),
        }
    };
    match greeting.await {
        Ok((welcome, control_out, control_in)) => Ok((
            welcome,
            QuicLink {
                connection,
                control_out,
                control_in,
            },
        )),
        Err(End {
            reason: CloseReason::ProtocolError,
            message,
        }) => Err(ConnectError::Protocol(message)),
        Err(End {
            reason: CloseReason::NetworkDisconnected,
            message,
        }) => Err(unreachable(message)),
        Err(End { reason, message }) => {
            close(&connection);
            Err(ConnectError::Refused { reason, message })
        }
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
    let QuicLink {
        connection,
        control_out,
        control_in,
    } = link;
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
                    control
                        .write_all(&message)
                        .await
                        .map_err(|error| write_error(&error))?;
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
                none => none.insert(connection.open_uni().await.map_err(lost)?),
            };
            stream
                .write_all(&bytes)
                .await
                .map_err(|error| write_error(&error))?;
            bytes.clear();
        }
        if goodbye {
            if let Some(mut stream) = signals {
                let _ = stream.finish();
            }
            let message = frame::encode(&ClientMessage::Goodbye { signals: sent });
            return control
                .write_all(&message)
                .await
                .map_err(|error| write_error(&error));
        }
    }
}

/// The reading half: the control stream and all senders' streams.
struct Reading<'a> {
    connection: &'a Connection,
    control: Frames,
    /// Streams opened so far; the next one's key.
    opened: StreamKey,
    /// Streams whose sender's signals must wait for something else to come first.
    parked: HashMap<StreamKey, SenderStream>,
}

/// A sender's stream.
struct SenderStream {
    key: StreamKey,
    frames: Frames,
    /// Whether the header has been read.
    known: bool,
}

/// What reading from a sender's stream came to: more, its end, or a failure.
type Progress = (SenderStream, Result<bool, End>);

async fn read_more(mut stream: SenderStream) -> Progress {
    let result = stream.frames.fill().await;
    (stream, result)
}

impl<'a> Reading<'a> {
    fn new(connection: &'a Connection, control: Frames) -> Self {
        Self {
            connection,
            control,
            opened: 0,
            parked: HashMap::new(),
        }
    }

    async fn run(mut self, teller: &mut Teller) -> End {
        let mut reads = FuturesUnordered::new();
        // What came in one packet with the welcome waits already.
        let mut end = self.control_frames(teller);
        while end.is_none() {
            teller.tell().await;
            let free = |key: &StreamKey| !teller.order.is_held(*key);
            let free: Vec<_> = self.parked.keys().copied().filter(free).collect();
            for stream in free.iter().filter_map(|key| self.parked.remove(key)) {
                reads.push(read_more(stream));
            }
            end = tokio::select! {
                more = self.control.fill() => match more {
                    Ok(true) => self.control_frames(teller),
                    Ok(false) => Some(End::protocol("the control stream ended")),
                    Err(end) => Some(end),
                },
                stream = self.connection.accept_uni() => match stream {
                    Ok(stream) => {
                        reads.push(read_more(self.accept(stream)));
                        None
                    }
                    Err(error) => Some(lost(error)),
                },
                Some(progress) = reads.next(), if !reads.is_empty() => {
                    self.progress(progress, teller, |stream| reads.push(read_more(stream)))
                }
            };
        }
        // The gateway has finished its streams; what is in them is still ours.
        let rest = async {
            while let Some(progress) = reads.next().await {
                self.progress(progress, teller, |stream| reads.push(read_more(stream)));
                teller.tell().await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, rest).await;
        end.unwrap_or_else(|| End::lost("reading ended"))
    }

    fn accept(&mut self, stream: RecvStream) -> SenderStream {
        let key = self.opened;
        self.opened += 1;
        SenderStream {
            key,
            frames: Frames::new(stream),
            known: false,
        }
    }

    /// Takes what the control stream has brought.
    fn control_frames(&mut self, teller: &mut Teller) -> Option<End> {
        loop {
            let frame = match self.control.buffer.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) => return Some(frame_error(error)),
            };
            match binary::decode(frame) {
                Ok(Some(GatewayMessage::Bye { reason, message })) => {
                    return Some(End::new(reason, message.into_string()));
                }
                Ok(Some(message)) => teller.order.control(message),
                // A gateway may be newer than we are.
                Ok(None) => {}
                Err(error) => return Some(End::protocol(error.to_string())),
            }
        }
    }

    /// Takes what a sender's stream has brought, and reads on unless it must wait.
    fn progress(
        &mut self,
        (mut stream, result): Progress,
        teller: &mut Teller,
        read_on: impl FnOnce(SenderStream),
    ) -> Option<End> {
        match stream.take(teller) {
            Ok(true) => {}
            // A kind of stream that we do not know: dropping it tells the gateway to stop.
            Ok(false) => return None,
            Err(end) => return Some(end),
        }
        match result {
            Ok(false) => teller.order.end(stream.key, false),
            Ok(true) if teller.order.is_held(stream.key) => {
                self.parked.insert(stream.key, stream);
            }
            Ok(true) => read_on(stream),
            Err(End {
                reason: CloseReason::NetworkDisconnected,
                ..
            }) => {
                teller.order.end(stream.key, true);
            }
            Err(end) => return Some(end),
        }
        None
    }
}

impl SenderStream {
    /// Hands all complete frames on. `false` if the stream is of a kind that we do not know.
    fn take(&mut self, teller: &mut Teller) -> Result<bool, End> {
        while let Some(frame) = self.frames.buffer.next_frame().map_err(frame_error)? {
            let malformed = |error: binary::DecodeError| End::protocol(error.to_string());
            if self.known {
                if let Some(SenderMessage::Signal(signal)) =
                    binary::decode(frame).map_err(malformed)?
                {
                    let seq = signal.seq;
                    let signal = Signal {
                        signal_type: signal.signal_type,
                        data: signal.data,
                    };
                    teller.order.signal(self.key, seq, signal.into_owned());
                }
            } else {
                match binary::decode(frame).map_err(malformed)? {
                    Some(GatewayStream::Sender { from, after }) => {
                        teller.order.open(self.key, from, after);
                        self.known = true;
                    }
                    None => return Ok(false),
                }
            }
        }
        Ok(true)
    }
}

/// The frames of one stream.
struct Frames {
    stream: RecvStream,
    buffer: FrameBuffer,
}

impl Frames {
    fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            buffer: FrameBuffer::new(GATEWAY_FRAME_BYTES),
        }
    }

    /// Reads more into the buffer; `false` at the end of the stream. May be dropped at its await.
    async fn fill(&mut self) -> Result<bool, End> {
        self.buffer.shrink();
        match self.stream.read_chunk(CHUNK, true).await {
            Ok(Some(chunk)) => {
                self.buffer.push(&chunk.bytes);
                Ok(true)
            }
            Ok(None) => self.buffer.finish().map_err(frame_error).map(|()| false),
            Err(ReadError::ConnectionLost(error)) => Err(lost(error)),
            Err(error) => Err(End::lost(error.to_string())),
        }
    }
}

/// What the end of the connection says. A gateway that could not say bye says it here.
fn lost(error: ConnectionError) -> End {
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
        WriteError::ConnectionLost(error) => lost(error.clone()),
        error => End::lost(error.to_string()),
    }
}

fn frame_error(error: FrameError) -> End {
    End::protocol(error.to_string())
}
