//! The TCP listener: accepting and TLS. What is said then is HTTP's ([`super::http`]).

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use signalbox_certs::Certificates;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;
use tracing::{debug, info};

use super::{
    http::{self, Visitor},
    outage::Outage,
    tcp_socket::{self, ClientSocket},
};
use crate::{
    admission::AdmissionPermit, context::ServerContext, error::BindError, failure::RunError,
    supervise::keep_running,
};

/// How long accepting pauses when the process has run out of something (descriptors, say).
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A client's byte stream.
pub(super) type Carrier = Either<TlsStream<ClientSocket>, ClientSocket>;

/// The bound socket.
pub(crate) struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    /// For clients that have not joined yet.
    address: SocketAddr,
}

impl Listener {
    pub(crate) fn bind(
        address: SocketAddr,
        certificates: Option<&Certificates>,
    ) -> Result<Self, BindError> {
        let listen = |source| BindError::Listen { protocol: "tcp", address, source };
        let socket = tcp_socket::listen(address).map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;
        let tls = certificates
            .map(|certificates| Arc::new(signalbox_certs::tcp_server(certificates)))
            .map(TlsAcceptor::from);
        Ok(Self { socket, tls, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the gateway closes.
    pub(crate) async fn run(self, context: ServerContext) {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        info!(address = %self.address, scheme, "listening for WebSocket and HTTP");
        let router = http::router(&context);
        let accepting = keep_running("TCP listener", || self.accept(&context, &router));
        context.lifecycle.until_drain(accepting).await;
    }

    async fn accept(&self, context: &ServerContext, router: &Router) {
        let mut outage = Outage::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = outage.over() => continue,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, remote)) => {
                    // A client that finds no place holds up those in the backlog, where they
                    // cost nothing. The place is taken after accepting, or the last one would
                    // be held while nobody comes, and a WebSocket on a kept connection could
                    // not have it.
                    let Ok(permit) = context.admission.tcp().clone().acquire_owned().await else {
                        break;
                    };
                    let visitor = Accepted { stream, remote, permit: Arc::new(permit) };
                    let task = serve(context.clone(), self.tls.clone(), router.clone(), visitor);
                    context.lifecycle.spawn(remote, task);
                }
                Err(error) if is_of_one_connection(&error) => {}
                // The socket does not listen any more.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    context.lifecycle.failure().report(RunError::Tcp(error));
                    return;
                }
                Err(error) => {
                    outage.failed(&error);
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
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
    permit: AdmissionPermit,
}

/// TLS and HTTP for one connection.
async fn serve(
    context: ServerContext,
    tls: Option<TlsAcceptor>,
    router: Router,
    accepted: Accepted,
) {
    let Accepted { stream, remote, permit } = accepted;
    let hello_by = Instant::now() + context.services.policy().timeouts.hello();
    let socket = match ClientSocket::new(stream) {
        Ok(socket) => socket,
        Err(error) => {
            debug!(%remote, %error, "gone before it was served");
            return;
        }
    };
    let carrier: Carrier = match tls {
        None => Either::Right(socket),
        Some(tls) => match timeout_at(hello_by, tls.accept(socket)).await {
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
    let visitor = Visitor::new(remote, hello_by, permit, context.admission.clone());
    http::serve(&context, router, carrier, visitor).await;
}
