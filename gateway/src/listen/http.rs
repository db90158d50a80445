//! HTTP/1.1 on the TCP port: the routes, and how long a connection may be used.
//!
//! A connection takes a *place* among the clients that have not said who they are. A WebSocket
//! keeps it until its welcome; an HTTP client until it has shown a server's credential, when it
//! takes one of the places for servers instead, which may keep a connection open between requests.
//! A client that shows none must be gone when a hello would have been due.
//!
//! A proxy sends the requests of many over one connection, so a WebSocket may begin on a connection
//! that has carried REST. It then takes a place of its own, and its time for a hello begins.

use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header, uri::PathAndQuery},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use signalbox_protocol::WEBSOCKET_PATH;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tracing::debug;

use super::{
    malformed,
    unread::Unread,
    upgrade::{self, has_token},
};
use crate::{
    admission::{AdmissionControl, AdmissionPermit},
    context::ServerContext,
    lifecycle::Lifecycle,
    rest,
};

/// Bytes that the head of an HTTP request may have; hyper's minimum, and plenty.
const HTTP_BUFFER: usize = 8 * 1024;

/// How long a request of a server may take at least, from its head to the end of its answer: what
/// one that does not read its answer can hold.
const EXCHANGE: Duration = Duration::from_secs(30);

/// Everything that the port answers.
pub(super) fn router(context: &ServerContext) -> Router {
    Router::new()
        .route(WEBSOCKET_PATH, get(upgrade::connect))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(rest::router().with_state(context.services.clone()))
        .fallback(|| async { rest::Error::NoSuchResource })
        .method_not_allowed_fallback(|| async { rest::Error::NoSuchMethod })
        .layer(middleware::from_fn_with_state(context.clone(), keep_or_close))
        .with_state(context.clone())
}

/// `GET /readyz`: whether clients should be sent here.
async fn ready(State(lifecycle): State<Arc<Lifecycle>>) -> (StatusCode, &'static str) {
    if lifecycle.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "going down\n")
    }
}

/// Serves one connection until it ends or becomes a WebSocket.
pub(super) async fn serve(
    context: &ServerContext,
    router: Router,
    carrier: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    visitor: Visitor,
) {
    let remote = visitor.remote();
    let router = TowerToHyperService::new(router);
    let (phase, mut phases) = watch::channel(Phase::New);
    let asking = visitor.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        phase.send_replace(Phase::Exchange { since: Instant::now() });
        request.extensions_mut().insert(asking.clone());
        with_one_slash(request.uri_mut());
        let ended = ExchangeEnd(phase.clone());
        let answering = hyper::service::Service::call(&router, request);
        async move { Ok::<_, Infallible>(answering.await?.map(|body| Answer { body, _ended: ended })) }
    });
    let timeouts = &context.services.policy().timeouts;
    let patience = timeouts.hello();
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // It counts from the end of the answer before, so it is the time between requests, too.
        // A client without a credential has less ([`Visitor::done_by`]).
        .header_read_timeout(timeouts.http_keep_alive())
        .max_buf_size(HTTP_BUFFER)
        .serve_connection(TokioIo::new(carrier), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut closing = false;
    let result = loop {
        // Looked at again when it passes: the visitor may have become a server meanwhile.
        let done_by = visitor.done_by(*phases.borrow_and_update(), patience);
        let too_late = async {
            match done_by {
                Some(done_by) => sleep_until(done_by).await,
                None => pending().await,
            }
        };
        tokio::select! {
            result = connection.as_mut() => break result,
            () = context.lifecycle.drain_begun(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            Ok(()) = phases.changed() => {}
            () = too_late => {
                let done_by = visitor.done_by(*phases.borrow(), patience);
                if done_by.is_some_and(|by| by <= Instant::now()) {
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

/// Takes the slashes away that precede the path's own: a base URL that ends with one makes an SDK
/// ask for paths with two, and nothing here has such a path.
fn with_one_slash(uri: &mut Uri) {
    let Some(path) = uri.path_and_query().map(PathAndQuery::as_str) else { return };
    let rest = path.trim_start_matches('/');
    if path.len() - rest.len() < 2 {
        return;
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("/{rest}")).ok();
    if let Ok(normal) = Uri::from_parts(parts) {
        *uri = normal;
    }
}

/// What a connection does now.
#[derive(Clone, Copy)]
enum Phase {
    /// There has been no request.
    New,
    /// A request is being read or answered.
    Exchange { since: Instant },
    /// The last answer has been handed to the socket.
    Idle,
}

/// Ends an exchange when its answer has been handed over.
struct ExchangeEnd(watch::Sender<Phase>);

impl Drop for ExchangeEnd {
    fn drop(&mut self) {
        self.0.send_replace(Phase::Idle);
    }
}

/// The body of an answer, which hyper drops when all of it is on its way.
struct Answer<B> {
    body: B,
    _ended: ExchangeEnd,
}

impl<B: HttpBody + Unpin> HttpBody for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Says with the answer whether the connection goes on.
async fn keep_or_close(
    State(context): State<ServerContext>,
    axum::Extension(visitor): axum::Extension<Visitor>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    // For the body and for what is left of it together.
    let timeouts = &context.services.policy().timeouts;
    let body_by = Instant::now() + timeouts.hello();
    let last = has_token(request.headers(), header::CONNECTION, "close");
    let checked = malformed::check(&request);
    let (request, unread) = Unread::of(request);
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(malformed) => malformed.into_response(),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    unread.drain(body_by).await;
    // Where one request is not understood, nobody knows where the next one begins.
    if last || checked.is_err() || context.lifecycle.is_draining() || !visitor.may_stay() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else {
        let idle =
            if visitor.has_server_place() { timeouts.http_keep_alive() } else { timeouts.hello() };
        // A little less than the truth, so that a client does not ask in the moment of the end.
        let seconds = idle.as_secs().saturating_sub(1);
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
    /// When a client without a credential must be done.
    hello_by: Instant,
    /// Where a WebSocket takes its place if the connection's own has been given back.
    admission: Arc<AdmissionControl>,
    standing: Mutex<Standing>,
}

enum Standing {
    /// It has not said who it is.
    Unknown(AdmissionPermit),
    /// A server, with a place for itself.
    Server { _place: OwnedSemaphorePermit },
}

impl Visitor {
    pub(super) fn new(
        remote: SocketAddr,
        hello_by: Instant,
        permit: AdmissionPermit,
        admission: Arc<AdmissionControl>,
    ) -> Self {
        let standing = Mutex::new(Standing::Unknown(permit));
        Self(Arc::new(VisitorState { remote, hello_by, admission, standing }))
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.0.remote
    }

    /// The place that a WebSocket takes until its welcome: the connection's own, or one of the
    /// listener's if the connection is a server's. None if no place is free in time.
    pub(super) async fn link_place(&self, by: Instant) -> Option<AdmissionPermit> {
        if let Standing::Unknown(place) = &*self.0.standing.lock() {
            return Some(place.clone());
        }
        let permit =
            timeout_at(by, self.0.admission.tcp().clone().acquire_owned()).await.ok()?.ok()?;
        Some(Arc::new(permit))
    }

    /// It has shown a server's credential: it may stay, if there is a place for a server.
    pub(crate) fn is_server(&self) {
        let mut standing = self.0.standing.lock();
        if let Standing::Unknown(_) = *standing
            && let Ok(place) = self.0.admission.servers().clone().try_acquire_owned()
        {
            *standing = Standing::Server { _place: place };
        }
    }

    /// When the connection must have gone on from this phase. A server has its time, but no other
    /// client holds a place much longer than for a hello.
    fn done_by(&self, phase: Phase, patience: Duration) -> Option<Instant> {
        match (&*self.0.standing.lock(), phase) {
            (Standing::Unknown(_), Phase::New) => Some(self.0.hello_by),
            (Standing::Unknown(_), _) => Some(self.0.hello_by + patience),
            // Twice for what comes before an answer, a wait and the body.
            (Standing::Server { .. }, Phase::Exchange { since }) => {
                Some(since + EXCHANGE.max(3 * patience))
            }
            // hyper bounds it by the time between requests.
            (Standing::Server { .. }, _) => None,
        }
    }

    fn has_server_place(&self) -> bool {
        matches!(*self.0.standing.lock(), Standing::Server { .. })
    }

    fn may_stay(&self) -> bool {
        self.has_server_place() || Instant::now() < self.0.hello_by
    }
}

#[cfg(test)]
mod tests;
