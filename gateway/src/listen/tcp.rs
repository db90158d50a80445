//! The TCP listener: accepting and TLS. What is said then is HTTP's ([`super::http`]).

use std::{
    io,
    io::IoSlice,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use signalbox_certs::Certificates;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;
use tracing::{debug, info, warn};

use super::http::{self, Visitor};
use crate::{
    gateway::{BindError, Shared},
    link::Place,
};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// How long accepting pauses when the process has run out of something (descriptors, say).
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A client's byte stream.
pub(super) type Carrier = Either<TlsStream<Sender>, TcpStream>;

/// A socket to which TLS writes what it has, which is nearly always in one piece. Writing that as
/// a list of one costs the system noticeably more.
pub(super) struct Sender(TcpStream);

impl AsyncRead for Sender {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Sender {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match pieces {
            [piece] => Pin::new(&mut self.0).poll_write(cx, piece),
            pieces => Pin::new(&mut self.0).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

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
        let router = http::router(&shared);
        let accepting = async {
            loop {
                match self.socket.accept().await {
                    Ok((stream, remote)) => {
                        // A client that finds no place holds up those in the backlog, where they
                        // cost nothing. The place is taken after accepting, or the last one would
                        // be held while nobody comes, and a WebSocket on a kept connection could
                        // not have it.
                        let Ok(permit) = self.places.clone().acquire_owned().await else {
                            break;
                        };
                        let visitor = Accepted {
                            stream,
                            remote,
                            place: Arc::new(permit),
                            places: self.places.clone(),
                        };
                        let task = serve(shared.clone(), self.tls.clone(), router.clone(), visitor);
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

/// A connection that has been accepted.
struct Accepted {
    stream: TcpStream,
    remote: SocketAddr,
    place: Place,
    /// Where the place is from.
    places: Arc<Semaphore>,
}

/// TLS and HTTP for one connection.
async fn serve(shared: Arc<Shared>, tls: Option<TlsAcceptor>, router: Router, accepted: Accepted) {
    let Accepted { stream, remote, place, places } = accepted;
    let hello_by = Instant::now() + shared.links.hello_timeout();
    // Signals are small and must not wait for the acknowledgement of the ones before.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%remote, %error, "gone before it was served");
        return;
    }
    let carrier: Carrier = match tls {
        None => Either::Right(stream),
        Some(tls) => match timeout_at(hello_by, tls.accept(Sender(stream))).await {
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
    http::serve(&shared, router, carrier, Visitor::new(remote, hello_by, place, places)).await;
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
