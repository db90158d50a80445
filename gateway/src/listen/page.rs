//! Routes of the page's listener: the files of the page, the WebSocket of the page, and the session
//! that the page joins by itself.
//!
//! The listener has no TLS, so a browser needs no trust in a certificate. Other programs and users of
//! the machine reach it too. So the session with its tokens is given for a key only, and a name that
//! somebody else points at this machine (DNS rebinding) is not served.

use std::{net::SocketAddr, sync::Arc};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use signalbox_certs::Certificates;
use signalbox_protocol::CONNECT_PATH;

use super::{
    host::own_host,
    http::{self, closing},
    page_policy::restrict,
    upgrade,
};
use crate::{
    context::ServerContext,
    page::{PageFile, PageSession, SESSION_PAGE},
};

/// Path of the session that the page joins.
const SESSION_PATH: &str = "/session.json";

/// All routes of the page's listener.
pub(crate) fn router(
    context: &ServerContext,
    session: Option<PageSession>,
    certificates: &Certificates,
) -> Router {
    let mut router = Router::new().route(CONNECT_PATH, get(upgrade::connect));
    for file in SESSION_PAGE {
        router = router.route(file.path, get(|| async { file.into_response() }));
    }
    let web_transport = session.as_ref().map(|session| format!(" https://{}", session.quic));
    if let Some(session) = session {
        let joined = JoinableSession { session, certificates: certificates.clone() };
        let answer = get(session_document).with_state(Arc::new(joined));
        router = router.route(SESSION_PATH, answer);
    }
    router
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is no such page\n") })
        .layer(middleware::from_fn_with_state(context.clone(), http::keep_or_close))
        .layer(middleware::from_fn_with_state(web_transport.map(Into::into), protect))
        .with_state(context.clone())
}

/// Origins of the page when it is served on this address.
pub(crate) fn origins(address: SocketAddr) -> Vec<String> {
    let port = address.port();
    vec![format!("http://localhost:{port}"), format!("http://{address}")]
}

impl IntoResponse for &PageFile {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, self.content_type)], self.contents).into_response()
    }
}

/// The session to join, and the certificate by whose hash a browser accepts the gateway.
struct JoinableSession {
    session: PageSession,
    certificates: Certificates,
}

/// The answer to [`SESSION_PATH`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionDocument<'a> {
    #[serde(flatten)]
    session: &'a PageSession,
    web_transport: WebTransportEndpoint,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WebTransportEndpoint {
    url: String,
    /// SHA-256 of the certificate, in base64.
    certificate_hash: Option<String>,
}

async fn session_document(
    State(joinable): State<Arc<JoinableSession>>,
    headers: HeaderMap,
) -> Response {
    let JoinableSession { session, certificates } = &*joinable;
    let given = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
    if verify_slices_are_equal(given, session.key.as_bytes()).is_err() {
        let scheme = [(header::WWW_AUTHENTICATE, "Bearer")];
        let hint = "open the page by the address that the gateway has printed\n";
        return (StatusCode::UNAUTHORIZED, scheme, hint).into_response();
    }
    let web_transport = WebTransportEndpoint {
        url: format!("https://{}", session.quic),
        // Read for each answer, because the certificate is replaced while the gateway runs.
        certificate_hash: certificates.leaf_sha256().map(|hash| STANDARD.encode(hash)),
    };
    let document = SessionDocument { session, web_transport };
    let body = serde_json::to_string(&document).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Rejects foreign names of this machine, and restricts what the page can do in a browser.
async fn protect(
    State(web_transport): State<Option<Arc<str>>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(host) = own_host(request.headers()) else {
        let hint = "this is the page of a gateway: open it by localhost or by an IP address\n";
        return closing((StatusCode::MISDIRECTED_REQUEST, hint).into_response());
    };
    let connect = format!(" ws://{host}{}", web_transport.as_deref().unwrap_or_default());
    let response = next.run(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    let mut response = closing(response);
    restrict(&mut response, &connect);
    response
}
