//! The TCP listener: accepting and TLS. HTTP follows in [`super::http`].

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use parking_lot::Mutex;
use signalbox_certs::{ACME_TLS_ALPN, Certificates};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tracing::{Span, debug, field, info, warn};

use super::{
    http,
    outage::Outage,
    proxy_header,
    tcp_socket::{self, ClientSocket, ClientStream},
};
use crate::{
    admission::AddressRate,
    context::ServerContext,
    error::BindError,
    failure::RunError,
    http_connection::HttpConnection,
    link_id::LinkId,
    metrics::{HandshakeResult, Listener},
    supervise::keep_running,
};

/// Pause of accepting after the process has run out of a resource, such as file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// The routes of a listener. New connections get those that were set last.
#[derive(Clone)]
pub(crate) struct SharedRouter(Arc<Mutex<Router>>);

impl SharedRouter {
    pub(crate) fn new(router: Router) -> Self {
        Self(Arc::new(Mutex::new(router)))
    }

    pub(crate) fn set(&self, router: Router) {
        *self.0.lock() = router;
    }

    fn current(&self) -> Router {
        self.0.lock().clone()
    }
}

/// The bound socket.
pub(crate) struct HttpListener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
    serves: &'static str,
}

impl HttpListener {
    /// Binds the address. `serves` is for the log.
    pub(crate) fn bind(
        serves: &'static str,
        address: SocketAddr,
        certificates: Option<&Certificates>,
    ) -> Result<Self, BindError> {
        let listen = |source| BindError::Listen { protocol: "tcp", address, source };
        let socket = tcp_socket::listen(address).map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;
        let tls = certificates
            .map(|certificates| Arc::new(signalbox_certs::tcp_server(certificates)))
            .map(TlsAcceptor::from);
        Ok(Self { socket, tls, address, serves })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves these routes until the gateway drains.
    pub(crate) async fn run(self, context: ServerContext, router: SharedRouter) {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        info!(address = %self.address, scheme, "listening for {}", self.serves);
        let accepting = keep_running("TCP listener", || self.accept(&context, &router));
        context.lifecycle.until_drain(accepting).await;
    }

    async fn accept(&self, context: &ServerContext, router: &SharedRouter) {
        let mut outage = Outage::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = outage.over() => continue,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, remote)) => {
                    let serving = (context.clone(), self.tls.clone(), router.current());
                    let id = LinkId::next();
                    context.lifecycle.spawn(id.span(None), admit(serving, stream, remote, id));
                }
                Err(error) if concerns_one_connection(&error) => {}
                // The socket no longer listens.
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

/// Whether an error of `accept` concerns the connection and not the listener.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Serves a connection once it has a permit.
async fn admit(
    (context, tls, router): (ServerContext, Option<TlsAcceptor>, Router),
    mut stream: TcpStream,
    peer: SocketAddr,
    id: LinkId,
) {
    let mut remote = peer;
    if context.admission.proxies().sends_proxy_header(peer.ip()) {
        let patience = context.services.policy().timeouts.hello();
        match timeout(patience, proxy_header::read(&mut stream)).await {
            Ok(Ok(named)) => remote = named.unwrap_or(peer),
            Ok(Err(error)) => {
                warn!(proxy = %peer, %error, "connection of a proxy refused");
                return;
            }
            Err(_) => {
                debug!(proxy = %peer, "no header of the proxy in time");
                return;
            }
        }
    }
    Span::current().record("remote", field::display(remote));
    let client = context.admission.tcp_client(remote.ip());
    // A reset tells the client at once, and leaves nothing to the kernel to remember.
    if !client.take(AddressRate::Links) {
        let _ = stream.set_zero_linger();
        return;
    }
    match context.admission.enter_tcp(client).await {
        Some(permit) => {
            let hello_by = Instant::now() + context.services.policy().timeouts.hello();
            let turnstile = context.admission.turnstile().clone();
            let is_known = permit.client().is_known();
            let client = HttpConnection::new(id, remote, hello_by, permit);
            let waits = {
                let client = client.clone();
                move || !client.is_kept()
            };
            // A waiting connection must not take the memory of one that is served.
            let serving = Box::pin(serve(context, tls, router, stream, client, hello_by));
            turnstile.pass(is_known, waits, serving).await;
        }
        None => {
            let _ = stream.set_zero_linger();
        }
    }
}

/// TLS and HTTP for one connection.
async fn serve(
    context: ServerContext,
    tls: Option<TlsAcceptor>,
    router: Router,
    stream: TcpStream,
    client: HttpConnection,
    hello_by: Instant,
) {
    let socket = match ClientSocket::new(stream) {
        Ok(socket) => socket,
        Err(error) => {
            debug!(%error, "client disconnected before it was served");
            return;
        }
    };
    let stream: ClientStream = match tls {
        None => Either::Right(socket),
        Some(tls) => {
            let accepted = tokio::select! {
                accepted = timeout_at(hello_by, tls.accept(socket)) => accepted,
                () = client.evicted() => return,
            };
            let result = HandshakeResult::of(&accepted);
            context.services.metrics().handshake(Listener::Tcp, result);
            match accepted {
                // A certificate authority, which has seen the answer to its challenge.
                Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS_ALPN) => {
                    debug!("ACME challenge answered");
                    return;
                }
                Ok(Ok(stream)) => Either::Left(stream),
                Ok(Err(error)) => {
                    debug!(%error, "TLS handshake failed");
                    return;
                }
                Err(_) => {
                    debug!("TLS handshake timed out");
                    return;
                }
            }
        }
    };
    http::serve(&context, router, stream, client).await;
}
