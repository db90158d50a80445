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

use super::{
    unread::Unread,
    upgrade::{self, has_token},
};
use crate::{gateway::Shared, link::Place, rest};

/// Bytes that the head of an HTTP request may have; hyper's minimum, and plenty.
const HTTP_BUFFER: usize = 8 * 1024;

/// How long a request of a server may take at least, from its head to the end of its answer: what
/// one that does not read its answer can hold.
const EXCHANGE: Duration = Duration::from_secs(30);

/// Everything that the port answers.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route(WEBSOCKET_PATH, get(upgrade::connect))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(rest::router())
        .fallback(|| async { rest::Error::NoSuchResource })
        .method_not_allowed_fallback(|| async { rest::Error::NoSuchMethod })
        .layer(middleware::from_fn_with_state(shared.clone(), keep_or_close))
        .with_state(shared.clone())
}

/// `GET /readyz`: whether clients should be sent here.
async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    if shared.leaving.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "going down\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
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
    let (begun, mut begins) = watch::channel(Instant::now());
    let asking = visitor.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        begun.send_replace(Instant::now());
        request.extensions_mut().insert(asking.clone());
        hyper::service::Service::call(&router, request)
    });
    let patience = shared.links.hello_timeout();
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(HTTP_BUFFER)
        .serve_connection(TokioIo::new(carrier), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut closing = false;
    let result = loop {
        // Looked at anew whenever it passes: the visitor may have become a server meanwhile.
        let done_by = visitor.done_by(*begins.borrow_and_update(), patience);
        tokio::select! {
            result = connection.as_mut() => break result,
            () = shared.closing.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            Ok(()) = begins.changed() => {}
            () = sleep_until(done_by) => {
                if visitor.done_by(*begins.borrow(), patience) <= Instant::now() {
                    debug!(%remote, "an HTTP exchange took too long");
                    return;
                }
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
    // For the body and for what is left of it together.
    let body_by = Instant::now() + shared.links.hello_timeout();
    let last = has_token(request.headers(), header::CONNECTION, "close");
    let (request, unread) = Unread::of(request);
    let mut response = next.run(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    unread.drain(body_by).await;
    if last || shared.closing.is_cancelled() || !visitor.may_stay() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else {
        // A little less than the truth, so that a client does not ask in the moment of the end.
        let seconds = shared.links.hello_timeout().as_secs().saturating_sub(1);
        if let Ok(value) = HeaderValue::try_from(format!("timeout={seconds}")) {
            response.headers_mut().insert("keep-alive", value);
        }
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

    /// When the answer to a request that begins at `begun` must be over, or that request be there:
    /// a server has its time, but nobody else holds a place much longer than for a hello.
    fn done_by(&self, begun: Instant, patience: Duration) -> Instant {
        match *self.0.standing.lock() {
            // Twice for what comes before an answer, the idle time and the body.
            Standing::Server { .. } => begun + EXCHANGE.max(3 * patience),
            Standing::Unknown(_) => self.0.hello_by + patience,
        }
    }

    fn may_stay(&self) -> bool {
        matches!(*self.0.standing.lock(), Standing::Server { .. })
            || Instant::now() < self.0.hello_by
    }
}

#[cfg(test)]
mod tests;
