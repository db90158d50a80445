//! The QUIC listener: one endpoint on one UDP port, for QUIC clients and, by ALPN, for WebTransport.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quinn::{Connecting, Endpoint, Incoming, ServerConfig, TransportConfig, VarInt};
use signalbox_certs::Certificates;
use signalbox_protocol::{ALPN, CloseReason, Codec, Transport};
use signalbox_quic::{EndpointRuntime, HandshakeData, QuicTlsConfig};
use signalbox_webtransport::{H3_NO_ERROR, SessionEnd};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info};

use super::webtransport;
use crate::{
    admission::{AddressRate, AdmissionPermit},
    config::TimeoutsConfig,
    context::ServerContext,
    error::BindError,
    failure::RunError,
    keys::Keys,
    link::{
        self, LinkForm, LinkInfo, LinkProtocol,
        quic::{CONNECTION_WINDOW, OpenedConnection, close_code},
    },
    link_id::LinkId,
    metrics::{HandshakeResult, Listener},
    services::{Policy, Services},
    supervise::keep_running,
};

/// The protocols that clients may choose from.
const ALPN_PROTOCOLS: [&[u8]; 2] = [ALPN, signalbox_webtransport::ALPN];

/// The position of WebTransport in them.
const WEBTRANSPORT: u8 = 1;

/// Socket buffers that we ask for, in bytes. The usual 208 KiB hold a few milliseconds of a busy
/// gateway; the system may grant less, which costs only retransmissions.
pub(crate) const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Streams that a client may open. It needs one of each kind; the second is there to be refused
/// with a reason, where the transport itself would just block the client for ever. Slots cost
/// memory up front, so no more than that.
const BIDI_STREAMS: u32 = 2;

/// HTTP/3 has three unidirectional streams in each direction, and Chromium refuses a server that
/// grants fewer at first (RFC 9114 §6.2). More are granted when the client has chosen it.
const UNI_STREAMS: u32 = 3;

/// Bytes that a client may send on one stream before they are read: some longest frames.
const STREAM_WINDOW: u32 = 64 * 1024;

/// Bytes of handshake packets that may wait, for one connection and for all of them.
const INCOMING_BUFFER: u64 = 64 * 1024;
const INCOMING_BUFFERS: u64 = 16 * 1024 * 1024;

/// Clients beside those with a permit whose first packet is kept: those that wait for a permit, and
/// those that have just arrived.
const MAX_INCOMING: usize = 8192;

/// Keep-alives per idle timeout: one may be lost, and its successor too.
const KEEP_ALIVES: u32 = 3;

/// The shortest time between two keep-alives. A client cannot take so short a silence for the end:
/// it waits for three probe timeouts at least (RFC 9000 §10.1).
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_millis(100);

/// The settings of the connections that an endpoint accepts.
pub(crate) struct QuicSettings {
    endpoint: Endpoint,
    /// Its certificates, tickets and keys stay.
    config: ServerConfig,
}

impl QuicSettings {
    /// Applies a changed policy to new connections.
    pub(crate) fn set(&self, policy: &Policy) {
        let mut config = self.config.clone();
        set_policy(&mut config, policy);
        self.endpoint.set_server_config(Some(config));
    }
}

/// The bound endpoint.
pub(crate) struct QuicListener {
    endpoint: Endpoint,
    config: ServerConfig,
    runtime: Arc<EndpointRuntime>,
    address: SocketAddr,
}

impl QuicListener {
    pub(crate) fn bind(
        address: SocketAddr,
        certificates: &Certificates,
        keys: &Keys,
        context: &ServerContext,
    ) -> Result<Self, BindError> {
        let listen = |source| BindError::Listen { protocol: "udp", address, source };
        let mut config = server_config(certificates)?;
        set_policy(&mut config, &context.services.policy());
        keys.tokens(&mut config);
        let socket = udp_socket(address).map_err(listen)?;
        let runtime = Arc::new(EndpointRuntime::new(Arc::new(context.lifecycle.failure().clone())));
        let endpoint =
            Endpoint::new(keys.endpoint(), Some(config.clone()), socket, runtime.clone())
                .map_err(listen)?;
        let address = endpoint.local_addr().map_err(listen)?;
        Ok(Self { endpoint, config, runtime, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// The settings of new connections, to be changed while the listener runs.
    pub(crate) fn settings(&self) -> QuicSettings {
        QuicSettings { endpoint: self.endpoint.clone(), config: self.config.clone() }
    }

    /// Accepts until the gateway closes. From then on it refuses, so that clients look elsewhere,
    /// until the endpoint is closed.
    pub(crate) async fn run(self, context: ServerContext) {
        info!(address = %self.address, "listening for QUIC");
        keep_running("QUIC listener", || self.accept(&context)).await;
        if !context.lifecycle.is_draining() {
            context.lifecycle.failure().report(RunError::Quic);
        }
    }

    async fn accept(&self, context: &ServerContext) {
        while let Some(incoming) = self.endpoint.accept().await {
            if context.lifecycle.is_draining() {
                incoming.refuse();
                continue;
            }
            let (context, runtime) = (context.clone(), self.runtime.clone());
            let remote = incoming.remote_address();
            let id = LinkId::next();
            let client = context.admission.quic_client(remote.ip());
            let lifecycle = context.lifecycle.clone();
            if !incoming.remote_address_validated() {
                // The address may be forged, so it is not charged for anything yet.
                let may_connect = client.has(AddressRate::Links);
                let permit =
                    may_connect.then(|| context.admission.try_enter_unvalidated(client)).flatten();
                match permit {
                    Some(permit) => lifecycle.spawn(
                        id.span(Some(remote)),
                        Box::pin(serve(context, runtime, incoming, id, permit, false)),
                    ),
                    None => {
                        context.services.metrics().retried();
                        validate(incoming);
                    }
                }
            } else if client.take(AddressRate::Links) {
                lifecycle.spawn(id.span(Some(remote)), async move {
                    match context.admission.enter_quic(client).await {
                        // A waiting client must not take the memory of one that is served.
                        Some(permit) => {
                            Box::pin(serve(context, runtime, incoming, id, permit, true)).await;
                        }
                        None => incoming.refuse(),
                    }
                });
            } else {
                incoming.refuse();
            }
        }
    }
}

/// Asks a client to prove that its address is its own. A stateless retry costs us one packet, and an
/// honest client one round trip.
fn validate(incoming: Incoming) {
    if let Err(error) = incoming.retry() {
        error.into_incoming().refuse();
    }
}

/// Performs the handshake of a client, and starts the task of its link.
async fn serve(
    context: ServerContext,
    runtime: Arc<EndpointRuntime>,
    incoming: Incoming,
    id: LinkId,
    permit: AdmissionPermit,
    is_counted: bool,
) {
    let hello_by = Instant::now() + context.services.policy().timeouts.hello();
    let remote = incoming.remote_address();
    let (connecting, driver) = match runtime.accept(incoming) {
        Ok(accepted) => accepted,
        Err(error) => {
            context.services.metrics().handshake(Listener::Quic, HandshakeResult::Failed);
            debug!(%error, "no QUIC handshake");
            return;
        }
    };
    let mut handshake = driver.with(Box::pin(establish(connecting, &context.services, hello_by)));
    let turnstile = context.admission.turnstile().clone();
    let is_known = permit.client().is_known();
    let established = tokio::select! {
        established = turnstile.pass(is_known, || true, &mut handshake) => established,
        () = permit.evicted() => None,
    };
    if let Some((opened, data)) = established {
        // By now the address is known to be the client's.
        if !is_counted && !permit.client().take(AddressRate::Links) {
            let reason = CloseReason::ConnectionLimit;
            let code = close_code(reason, opened.session.is_some());
            opened.connection.close(code, reason.name().as_bytes());
            return;
        }
        let transport = match opened.session {
            Some(_) => Transport::WebTransport,
            None => Transport::Quic,
        };
        let form = LinkForm { transport, protocol: LinkProtocol::Signalbox(Codec::Postcard) };
        let info = LinkInfo { id, form, remote, hello_by, permit };
        let span = info.span();
        let (max_streams, keep_alive) = {
            let policy = context.services.policy();
            (policy.limits.streams_per_client, keep_alive(data, policy.timeouts.idle()))
        };
        let metrics = context.services.metrics();
        let driver = handshake.into_driver();
        let (reader, writer) = link::quic::halves(
            opened,
            driver.turns(),
            max_streams,
            keep_alive,
            data.is_early,
            metrics,
        );
        // In a task of its own: a task stays as large as the largest thing it ever did, and the
        // handshake is larger than the link.
        let link = Box::pin(link::serve(
            context.services.clone(),
            context.lifecycle.clone(),
            info,
            reader,
            writer,
        ));
        context.lifecycle.spawn(span, driver.with(link));
    }
}

/// A connection that has no link yet. If it is dropped, another client got its permit. Its own client is
/// to try again; quinn would close it with code 0, a goodbye.
struct UnservedConnection {
    connection: quinn::Connection,
    is_webtransport: bool,
    is_served: bool,
}

impl UnservedConnection {
    fn new(connection: quinn::Connection, is_webtransport: bool) -> Self {
        Self { connection, is_webtransport, is_served: false }
    }
}

impl Drop for UnservedConnection {
    fn drop(&mut self) {
        // Without effect on one that has been closed already.
        if !self.is_served {
            let reason = CloseReason::NetworkDisconnected;
            let code = close_code(reason, self.is_webtransport);
            self.connection.close(code, reason.name().as_bytes());
        }
    }
}

/// The handshake, as far as it must go, and the control stream, which a client that is known may
/// open with its first packet (0-RTT). The reader knows what may be believed before the handshake
/// is over.
async fn establish(
    mut connecting: Connecting,
    services: &Services,
    hello_by: Instant,
) -> Option<(OpenedConnection, HandshakeData)> {
    let ended = |result| services.metrics().handshake(Listener::Quic, result);
    let data: Box<HandshakeData> = {
        let data = timeout_at(hello_by, connecting.handshake_data()).await;
        if !matches!(data, Ok(Ok(_))) {
            ended(HandshakeResult::of(&data));
        }
        data.ok()?.ok()?.downcast().ok()?
    };
    // On a gateway's side this always succeeds.
    let (connection, handshake) = connecting.into_0rtt().ok()?;
    let is_webtransport = data.alpn == Some(WEBTRANSPORT);
    let mut unserved = UnservedConnection::new(connection.clone(), is_webtransport);
    let mut session = None;
    let opened = async {
        if !is_webtransport {
            return Ok(Some(connection.accept_bi().await?));
        }
        session = webtransport::establish(&connection, services).await;
        let Some(session) = &mut session else {
            connection.close(H3_NO_ERROR, b"");
            return Ok(None);
        };
        Ok::<_, SessionEnd>(Some(session.incoming.accept_bi().await?))
    };
    let opened = timeout_at(hello_by, opened).await;
    ended(match opened {
        // There is a connection, but no WebTransport session in it.
        Ok(Ok(None)) => HandshakeResult::Failed,
        ref opened => HandshakeResult::of(opened),
    });
    match opened {
        Ok(Ok(None)) => None,
        Ok(Ok(Some(control))) => {
            unserved.is_served = true;
            let opened = OpenedConnection { connection, handshake, control, session };
            Some((opened, *data))
        }
        Ok(Err(error)) => {
            debug!(%error, "gone before it opened its control stream");
            None
        }
        Err(_) => {
            debug!("no control stream in time");
            let reason = CloseReason::HelloTimeout;
            if let Some(session) = session {
                webtransport::end(session, &connection, reason).await;
            }
            let code = close_code(reason, is_webtransport);
            connection.close(code, reason.name().as_bytes());
            None
        }
    }
}

/// Interval of keep-alives for a client whose idle timeout is shorter than ours; `None` for all
/// others, for which quinn sends them.
fn keep_alive(data: HandshakeData, idle_timeout: Duration) -> Option<Duration> {
    let timeout = data.idle_timeout?;
    (timeout < idle_timeout).then(|| (timeout / KEEP_ALIVES).max(SHORTEST_KEEP_ALIVE))
}

fn server_config(certificates: &Certificates) -> Result<ServerConfig, BindError> {
    let tls = signalbox_certs::quic_server(certificates, &ALPN_PROTOCOLS);
    let crypto = QuicTlsConfig::new(tls).map_err(BindError::Tls)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFERS)
        .migration(true);
    Ok(config)
}

fn set_policy(config: &mut ServerConfig, policy: &Policy) {
    config
        .max_incoming(policy.limits.pending_handshakes + MAX_INCOMING)
        .transport_config(Arc::new(transport_config(&policy.timeouts)));
}

fn transport_config(timeouts: &TimeoutsConfig) -> TransportConfig {
    let mut transport = signalbox_quic::transport_config();
    transport
        .max_concurrent_bidi_streams(BIDI_STREAMS.into())
        .max_concurrent_uni_streams(UNI_STREAMS.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(link::quic::SEND_WINDOW)
        // Browsers accept no WebTransport server without datagrams. Nobody sends any: there is room
        // for a byte.
        .datagram_receive_buffer_size(Some(1))
        // As on a WebSocket, the gateway asks for signs of life: not every QUIC library does so by
        // itself, and none knows our idle timeout before it has connected.
        .keep_alive_interval(Some(timeouts.idle() / KEEP_ALIVES))
        .max_idle_timeout(Some(VarInt::from_u32(timeouts.idle_ms).into()));
    transport
}

pub(crate) fn udp_socket(address: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // Granted in part, or not at all, they are no reason not to start.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use signalbox_certs::DevAuthority;

    use super::*;
    use crate::Config;

    #[tokio::test]
    async fn an_endpoint_that_ends_before_the_gateway_does_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let authority = DevAuthority::open(dir.path(), SystemTime::now()).unwrap();
        let (certificate, key) = (authority.certificate_path(), authority.key_path());
        let certificates = Certificates::load(certificate.to_owned(), key.to_owned()).unwrap();
        for is_closing in [true, false] {
            let config = Config::default();
            let context = ServerContext::of(&config);
            let address = ([127, 0, 0, 1], 0).into();
            let keys = Keys::of(b"secret");
            let listener = QuicListener::bind(address, &certificates, &keys, &context).unwrap();
            let endpoint = listener.endpoint();
            let running = tokio::spawn(listener.run(context.clone()));
            if is_closing {
                context.lifecycle.begin_drain();
            }
            endpoint.close(0_u32.into(), b"");
            running.await.unwrap();
            assert_eq!(context.lifecycle.failure().take().is_none(), is_closing);
        }
    }
}
