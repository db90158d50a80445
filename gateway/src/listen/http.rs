//! HTTP/1.1 on the TCP port: what there is to ask for, and how long a connection may ask.
//!
//! Whoever connects takes a *place* among those that have not said who they are. A WebSocket keeps
//! it until its hello; an HTTP client until it has shown a server's credential, when it takes one
//! of the places for servers instead, which may keep a connection open between requests. Whoever
//! shows none must be gone when a hello would have been due.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use signalbox_protocol::WEBSOCKET_PATH;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{unread::Unread, upgrade};
use crate::{gateway::Shared, link::Place, rest};

/// Bytes that the head of an HTTP request may have; hyper's minimum, and plenty.
const HTTP_BUFFER: usize = 8 * 1024;

/// How long a request may take, from its head to the end of its answer: what a client that does
/// not read its answer can hold.
const EXCHANGE: Duration = Duration::from_secs(30);

/// Everything that the port answers.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route(WEBSOCKET_PATH, get(upgrade::connect))
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(rest::router())
        .fallback(|| async { rest::Error::NoSuchResource })
        .method_not_allowed_fallback(|| async { rest::Error::NoSuchMethod })
        .layer(middleware::from_fn_with_state(shared.clone(), keep_or_close))
        .with_state(shared.clone())
}

/// Serves one connection until it ends or becomes a WebSocket.
pub(super) async fn serve(
    shared: &Shared,
    router: Router,
    carrier: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    visitor: Visitor,
) {
    let remote = visitor.remote();
    let router = TowerToHyperService::new(router);
    let (begun, mut answer_by) = watch::channel(visitor.hello_by() + EXCHANGE);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        begun.send_replace(Instant::now() + EXCHANGE);
        request.extensions_mut().insert(visitor.clone());
        hyper::service::Service::call(&router, request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.links.hello_timeout())
        .max_buf_size(HTTP_BUFFER)
        .serve_connection(TokioIo::new(carrier), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut closing = false;
    let result = loop {
        let deadline = *answer_by.borrow_and_update();
        tokio::select! {
            result = connection.as_mut() => break result,
            () = shared.closing.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            Ok(()) = answer_by.changed() => {}
            () = sleep_until(deadline) => {
                debug!(%remote, "an HTTP exchange took too long");
                return;
            }
        }
    };
    if let Err(error) = result {
        debug!(%remote, %error, "HTTP connection failed");
    }
}

/// Says with the answer whether the connection goes on.
async fn keep_or_close(
    State(shared): State<Arc<Shared>>,
    axum::Extension(visitor): axum::Extension<Visitor>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let (request, unread) = Unread::of(request);
    let mut response = next.run(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    unread.drain(shared.links.hello_timeout()).await;
    if visitor.may_stay() {
        // A little less than the truth, so that a client does not ask in the moment of the end.
        let seconds = shared.links.hello_timeout().as_secs().saturating_sub(1);
        if let Ok(value) = HeaderValue::try_from(format!("timeout={seconds}")) {
            response.headers_mut().insert("keep-alive", value);
        }
    } else {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A connection to the TCP port as its requests see it. Its clones are one.
#[derive(Clone)]
pub(crate) struct Visitor(Arc<VisitorState>);

struct VisitorState {
    remote: SocketAddr,
    /// When its hello is due, if it is to be a WebSocket.
    hello_by: Instant,
    standing: Mutex<Standing>,
}

enum Standing {
    /// It has not said who it is.
    Unknown(Place),
    /// A server, with a place for itself.
    Server { _place: OwnedSemaphorePermit },
}

impl Visitor {
    pub(super) fn new(remote: SocketAddr, hello_by: Instant, place: Place) -> Self {
        let standing = Mutex::new(Standing::Unknown(place));
        Self(Arc::new(VisitorState { remote, hello_by, standing }))
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.0.remote
    }

    pub(super) fn hello_by(&self) -> Instant {
        self.0.hello_by
    }

    /// The place that it takes until its hello; none if it is a server's.
    pub(super) fn place(&self) -> Option<Place> {
        match &*self.0.standing.lock() {
            Standing::Unknown(place) => Some(place.clone()),
            Standing::Server { .. } => None,
        }
    }

    /// It has shown a server's credential: it may stay, if there is a place for a server.
    pub(crate) fn is_server(&self, places: &Arc<Semaphore>) {
        let mut standing = self.0.standing.lock();
        if let Standing::Unknown(_) = *standing
            && let Ok(place) = places.clone().try_acquire_owned()
        {
            *standing = Standing::Server { _place: place };
        }
    }

    fn may_stay(&self) -> bool {
        matches!(*self.0.standing.lock(), Standing::Server { .. })
            || Instant::now() < self.0.hello_by
    }
}

#[cfg(test)]
mod tests;
