//! HTTP/1.1 on the TCP port: the routes, and the lifetime of a connection.
//!
//! A connection holds an admission permit. A WebSocket keeps it until its welcome. An HTTP client
//! keeps it until it has shown a server's credential; then it holds a server permit instead, with
//! which it may keep the connection open between requests. A client without a credential is
//! disconnected when a hello would have been due.
//!
//! A proxy sends the requests of many clients over one connection, so a WebSocket may begin on a
//! connection that has carried REST requests. It then gets a permit of its own, and its time for a
//! hello begins.

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, Uri, header, uri::PathAndQuery},
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
use signalbox_protocol::{CONNECT_PATH, limits::TOKEN_BYTES};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{drain_body::BodyDrain, malformed, opentok_js, upgrade};
use crate::{
    admission::AddressRate,
    context::ServerContext,
    headers::has_token,
    http_connection::{HttpConnection, Phase, RequestClient},
    metrics, rest,
};

/// Maximum bytes of a request's head: hyper's minimum, and plenty.
const HTTP_BUFFER: usize = 8 * 1024;

/// The same if pages with the vendor's browser SDK are served: it sends a client's token in a header.
const HTTP_BUFFER_WITH_TOKEN: usize = 26 * 1024;

const _: () = assert!(HTTP_BUFFER_WITH_TOKEN >= HTTP_BUFFER + TOKEN_BYTES);

/// All routes of the port.
pub(crate) fn router(context: &ServerContext) -> Router {
    let mut router = Router::new()
        .route(CONNECT_PATH, get(upgrade::connect))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .merge(rest::router(context.services.clone()));
    if let Some(prefix) = &context.services.policy().opentok_js.prefix {
        // A service, so that the fallbacks below do not answer its requests.
        router = router.nest_service(prefix, opentok_js::router(context));
    }
    router
        .fallback(|| async { rest::Error::NoSuchResource })
        .method_not_allowed_fallback(|| async { rest::Error::NoSuchMethod })
        .layer(middleware::from_fn_with_state(context.clone(), keep_or_close))
        .layer(middleware::from_fn_with_state(context.services.clone(), metrics::http::count))
        .with_state(context.clone())
}

/// `GET /healthz`: the process accepts and answers requests.
pub(super) async fn healthy() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: whether load balancers should route clients here.
pub(super) async fn ready(State(context): State<ServerContext>) -> (StatusCode, String) {
    match context.readiness() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// Serves one connection until it ends or becomes a WebSocket.
pub(super) async fn serve(
    context: &ServerContext,
    router: Router,
    carrier: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: HttpConnection,
) {
    let router = TowerToHyperService::new(router);
    let (phase, mut phases) = watch::channel(Phase::New);
    let connection = client.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        phase.send_replace(Phase::Exchange { since: Instant::now() });
        let asking = connection.client_of(request.headers());
        request.extensions_mut().insert(asking);
        request.extensions_mut().insert(connection.clone());
        with_one_slash(request.uri_mut());
        let ended = ExchangeEnd(phase.clone());
        let answering = hyper::service::Service::call(&router, request);
        async move {
            Ok::<_, Infallible>(answering.await?.map(|body| ResponseBody { body, _ended: ended }))
        }
    });
    let timeouts = context.services.policy().timeouts.clone();
    let hello = timeouts.hello();
    let has_pages = context.services.policy().opentok_js.prefix.is_some();
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // Counted from the end of the previous response, so it is the time between requests, too.
        // A client without a credential has less ([`HttpConnection::deadline`]).
        .header_read_timeout(timeouts.http_keep_alive())
        .max_buf_size(if has_pages { HTTP_BUFFER_WITH_TOKEN } else { HTTP_BUFFER })
        .serve_connection(TokioIo::new(carrier), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut evicted = std::pin::pin!(client.evicted());
    let mut closing = false;
    let result = loop {
        // Checked again when it passes: the client may have become a server in the meantime.
        let deadline = client.deadline(*phases.borrow_and_update(), hello);
        let too_late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
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
            () = evicted.as_mut() => return,
            () = too_late => {
                let deadline = client.deadline(*phases.borrow(), hello);
                if deadline.is_some_and(|it| it <= Instant::now()) {
                    debug!("HTTP exchange timed out");
                    return;
                }
            }
        }
    };
    if let Err(error) = result {
        debug!(%error, "HTTP connection failed");
    }
}

/// Reduces leading slashes to one. With a base URL that ends with a slash, SDKs request paths with
/// two, and no route has such a path.
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

/// Ends an exchange when its response has been handed over.
struct ExchangeEnd(watch::Sender<Phase>);

impl Drop for ExchangeEnd {
    fn drop(&mut self) {
        self.0.send_replace(Phase::Idle);
    }
}

/// The body of a response, which hyper drops when all of it has been handed over.
struct ResponseBody<B> {
    body: B,
    _ended: ExchangeEnd,
}

impl<B: HttpBody + Unpin> HttpBody for ResponseBody<B> {
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

/// Drains the request's body, and tells the client with the response whether the connection stays
/// open.
pub(super) async fn keep_or_close(
    State(context): State<ServerContext>,
    axum::Extension(client): axum::Extension<HttpConnection>,
    axum::Extension(asking): axum::Extension<RequestClient>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    // For the body and its rest together.
    let timeouts = context.services.policy().timeouts.clone();
    let body_by = Instant::now() + timeouts.hello();
    let mut last = has_token(request.headers(), header::CONNECTION, "close");
    // An upgrade counts as a link.
    let path = request.uri().path();
    let is_link = path == CONNECT_PATH || {
        let policy = context.services.policy();
        opentok_js::is_socket(policy.opentok_js.prefix.as_deref(), path)
    };
    let is_counted = asking.is_stranger(&client) && !is_link;
    if is_counted && !asking.account.take(AddressRate::Requests) {
        let mut refusal = closing(rest::Error::TooMany(AddressRate::Requests).into_response());
        let policy = context.services.policy();
        if opentok_js::below(policy.opentok_js.prefix.as_deref(), path).is_some() {
            let origin =
                opentok_js::allowed_origin_of(request.headers(), &policy.auth.allowed_origins);
            opentok_js::allow_origin(refusal.headers_mut(), origin);
        }
        return refusal;
    }
    let checked = malformed::check(&request);
    let (request, rest) = BodyDrain::new(request);
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(malformed) => malformed.into_response(),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    last |= response.status() == StatusCode::TOO_MANY_REQUESTS && !client.is_server();
    rest.drain(body_by).await;
    // After a malformed request, the start of the next one is unknown.
    if last || checked.is_err() || context.lifecycle.is_draining() || !client.may_stay_open() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else {
        let idle = if client.is_kept() { timeouts.http_keep_alive() } else { timeouts.hello() };
        // A little less than the real time, so that no request meets the closing connection.
        let seconds = idle.as_secs().saturating_sub(1);
        if let Ok(value) = HeaderValue::try_from(format!("timeout={seconds}")) {
            response.headers_mut().insert("keep-alive", value);
        }
    }
    response
}

/// Closes the connection after the response: a browser would keep it, and with it the permit of a
/// client.
pub(super) fn closing(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.remove(HeaderName::from_static("keep-alive"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests;
