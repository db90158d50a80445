//! The TCP listener: TLS, HTTP/1.1, and the upgrade to WebSocket.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::{
    service::service_fn,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use signalbox_certs::Certificates;
use signalbox_protocol::WEBSOCKET_PATH;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};
use tokio_util::either::Either;
use tracing::{debug, info, warn};

use crate::{
    gateway::{BindError, Shared},
    link::{
        self, LinkInfo, Place,
        websocket::{Subprotocol, halves},
    },
};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// How long accepting pauses when the process has run out of something (descriptors, say).
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that the head of an HTTP request may have; hyper's minimum, and plenty.
const HTTP_BUFFER: usize = 8 * 1024;

/// A client's byte stream.
type Carrier = Either<TlsStream<TcpStream>, TcpStream>;

/// The bound socket.
pub(crate) struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    /// For clients that have not joined yet.
    places: Arc<Semaphore>,
    address: SocketAddr,
}

impl Listener {
    pub(crate) fn bind(
        address: SocketAddr,
        certificates: Option<&Certificates>,
        shared: &Shared,
    ) -> Result<Self, BindError> {
        let listen = |source| BindError::Listen { protocol: "tcp", address, source };
        let socket = tcp_socket(address).map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;
        let tls = certificates
            .map(|certificates| Arc::new(signalbox_certs::tcp_server(certificates)))
            .map(TlsAcceptor::from);
        let places = Arc::new(Semaphore::new(shared.limits.handshakes));
        Ok(Self { socket, tls, places, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the gateway closes.
    pub(crate) async fn run(self, shared: Arc<Shared>) {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        info!(address = %self.address, scheme, "listening for WebSocket and HTTP");
        let router = Router::new()
            .route(WEBSOCKET_PATH, get(connect))
            .route("/healthz", get(|| async { "ok\n" }))
            .layer(axum::middleware::map_response(one_request_each))
            .with_state(shared.clone());
        let accepting = async {
            loop {
                // Who finds no place waits in the backlog, where it costs nothing.
                let Ok(permit) = self.places.clone().acquire_owned().await else {
                    break;
                };
                match self.socket.accept().await {
                    Ok((stream, remote)) => {
                        let (tls, router) = (self.tls.clone(), router.clone());
                        let task =
                            serve(shared.clone(), tls, router, stream, remote, Arc::new(permit));
                        shared.tasks.spawn(task);
                    }
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        warn!(%error, "cannot accept; pausing");
                        tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    }
                }
            }
        };
        shared.closing.run_until_cancelled(accepting).await;
    }
}

/// Errors of `accept` that say something about the connection and nothing about us.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// TLS and HTTP for one connection; ends with it or when it becomes a WebSocket.
async fn serve(
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    router: Router,
    stream: TcpStream,
    remote: SocketAddr,
    place: Place,
) {
    let hello_by = Instant::now() + shared.links.hello_timeout();
    // Signals are small and must not wait for the acknowledgement of the ones before.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%remote, %error, "gone before it was served");
        return;
    }
    let carrier: Carrier = match tls {
        None => Either::Right(stream),
        Some(tls) => match timeout_at(hello_by, tls.accept(stream)).await {
            Ok(Ok(stream)) => Either::Left(stream),
            Ok(Err(error)) => {
                debug!(%remote, %error, "TLS handshake failed");
                return;
            }
            Err(_) => {
                debug!(%remote, "TLS handshake took too long");
                return;
            }
        },
    };
    let router = TowerToHyperService::new(router);
    let peer = Peer { remote, hello_by, place };
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        hyper::service::Service::call(&router, request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.links.hello_timeout())
        .max_buf_size(HTTP_BUFFER)
        .serve_connection(TokioIo::new(carrier), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shared.closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%remote, %error, "HTTP connection failed");
    }
}

/// Closes after every answer: a connection that idled between requests would hold its place.
async fn one_request_each(mut response: Response) -> Response {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Where a request comes from, and how long its sender has until its hello.
#[derive(Clone)]
struct Peer {
    remote: SocketAddr,
    hello_by: Instant,
    place: Place,
}

/// Why an HTTP request did not become a WebSocket. The client's fault.
#[derive(Debug, thiserror::Error)]
enum UpgradeError {
    #[error("this is a WebSocket endpoint: connect with a WebSocket client (RFC 6455)")]
    NotWebSocket,
    #[error("only version 13 of the WebSocket protocol is supported")]
    Version,
    #[error(
        "offer the subprotocol signalbox.v1.json or signalbox.v1.postcard \
         (Sec-WebSocket-Protocol)"
    )]
    Subprotocol,
    #[error("pages of this origin may not connect here (setting links.allowed_origins)")]
    Origin,
}

impl IntoResponse for UpgradeError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotWebSocket | Self::Subprotocol => StatusCode::BAD_REQUEST,
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Origin => StatusCode::FORBIDDEN,
        };
        let version = [(header::SEC_WEBSOCKET_VERSION, "13")];
        (status, version, format!("{self}\n")).into_response()
    }
}

/// `GET /v1/connect`: the opening handshake of RFC 6455 §4.2.
async fn connect(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
) -> Result<Response, UpgradeError> {
    let headers = request.headers();
    let upgrade = has_token(headers, header::UPGRADE, "websocket")
        && has_token(headers, header::CONNECTION, "upgrade");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| upgrade);
    let accept = derive_accept_key(key.ok_or(UpgradeError::NotWebSocket)?.as_bytes());
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(UpgradeError::Version);
    }
    if !origin_allowed(headers, &shared.links.allowed_origins) {
        return Err(UpgradeError::Origin);
    }
    let offered = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let subprotocol = Subprotocol::choose(offered).ok_or(UpgradeError::Subprotocol)?;
    let upgrade =
        request.extensions_mut().remove::<OnUpgrade>().ok_or(UpgradeError::NotWebSocket)?;
    shared.tasks.spawn(become_link(shared.clone(), peer, subprotocol, upgrade));
    let headers = [
        (header::UPGRADE, "websocket"),
        (header::CONNECTION, "upgrade"),
        (header::SEC_WEBSOCKET_ACCEPT, &accept),
        (header::SEC_WEBSOCKET_PROTOCOL, subprotocol.name()),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// Takes the socket back from HTTP, in a task of its own so that what HTTP needed is freed.
async fn become_link(
    shared: Arc<Shared>,
    Peer { remote, hello_by, place }: Peer,
    subprotocol: Subprotocol,
    upgrade: OnUpgrade,
) {
    // Boxed, as the state of getting there is larger than that of the link, and would be kept
    // for its whole life.
    let Some(socket) = Box::pin(take_back(upgrade, subprotocol, remote, hello_by)).await else {
        return;
    };
    let (mut reader, mut writer) = halves(socket, subprotocol, shared.links.idle_timeout());
    let info = LinkInfo { transport: subprotocol.name(), remote, hello_by, place };
    link::serve(shared, info, &mut reader, &mut writer).await;
}

async fn take_back(
    upgrade: OnUpgrade,
    subprotocol: Subprotocol,
    remote: SocketAddr,
    hello_by: Instant,
) -> Option<WebSocketStream<Carrier>> {
    let upgraded: Upgraded = match timeout_at(hello_by, upgrade).await {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(error)) => {
            debug!(%remote, %error, "WebSocket upgrade failed");
            return None;
        }
        Err(_) => {
            debug!(%remote, "WebSocket upgrade took too long");
            return None;
        }
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<Carrier>>() else {
        tracing::error!("an upgraded connection is not of the type that was served");
        return None;
    };
    let socket = WebSocketStream::from_partially_read(
        parts.io.into_inner(),
        parts.read_buf.to_vec(),
        Role::Server,
        Some(subprotocol.config()),
    );
    Some(socket.await)
}

/// Whether a header's list of tokens has this one, in any case.
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

/// Whether a page of the request's origin may connect. Only browsers send one; it protects
/// their users from pages that they did not mean to give a token to.
fn origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    match headers.get(header::ORIGIN) {
        None => true,
        Some(origin) => allowed.iter().any(|pattern| {
            pattern == "*" || pattern.as_bytes().eq_ignore_ascii_case(origin.as_bytes())
        }),
    }
}

fn tcp_socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        tokio::net::TcpSocket::new_v4()?
    } else {
        tokio::net::TcpSocket::new_v6()?
    };
    // A restart must not wait until the old connections of the port are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
