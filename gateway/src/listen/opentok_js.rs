//! Routes of the vendor's browser SDK: its configuration, the session of a token, the reports of its
//! events, and the WebSocket.
//!
//! The SDK puts the URL of the gateway before the URLs of the vendor, without their scheme, so each
//! path begins with a host, which is not looked at. All requests come from pages of other origins, and
//! each answer needs the headers of CORS: without them the SDK sees no answer.

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::json;
use signalbox_protocol::{ConnectionId, SessionId};
use signalbox_token::{Grant, verify_client_token};
use tokio::time::sleep;

use super::{
    origin::origin_allowed,
    upgrade::{SocketProtocol, UpgradeError, upgrade},
};
use crate::{
    admission::{AddressRate, ClientAccount},
    clock::unix_time,
    context::ServerContext,
    http_connection::HttpConnection,
    lifecycle::Lifecycle,
    link::{opentok::RETRY_PAUSE, socket_url::SocketUrl},
    revocation::{Presented, token_identity},
    services::Services,
};

/// The host in the URL of the WebSocket. The SDK puts the gateway's URL before it.
const HOST: &str = "signalbox";

/// The request headers of the SDK.
const REQUEST_HEADERS: &str = "accept, content-type, x-opentok-auth, x-tb-version, \
     x-tb-client-version, x-tb-connectionid, x-tb-token-auth";

/// Seconds for which a browser remembers the answer to a preflight request.
const PREFLIGHT_SECONDS: &str = "7200";

/// All routes below the prefix.
pub(super) fn router(context: &ServerContext) -> Router {
    Router::new()
        .route("/{host}/project/{project}/config.json", get(configuration))
        .route("/{host}/session/{session}", get(session_info))
        .route("/{host}/prod/logging/{kind}", post(report))
        .route("/{host}/rumor/{session}/{connection}", get(connect))
        .fallback(|| async { (StatusCode::NOT_FOUND, "the SDK has no such resource here\n") })
        .layer(middleware::from_fn_with_state(context.clone(), cross_origin))
        .with_state(context.clone())
}

/// Whether this is the path of the SDK's WebSocket.
pub(super) fn is_socket(prefix: Option<&str>, path: &str) -> bool {
    below(prefix, path).and_then(|path| path.split('/').nth(2)) == Some("rumor")
}

/// The part of a path that follows the prefix, if the path is below it.
pub(super) fn below<'a>(prefix: Option<&str>, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(prefix?).filter(|rest| rest.starts_with('/'))
}

/// Answers preflight requests, and lets pages of allowed origins read all other answers.
async fn cross_origin(
    State(services): State<Arc<Services>>,
    request: Request,
    next: Next,
) -> Response {
    let policy = services.policy();
    let origin = allowed_origin_of(request.headers(), &policy.auth.allowed_origins);
    let preflight = request.method() == Method::OPTIONS;
    let mut response =
        if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    allow_origin(headers, origin);
    if preflight {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// The origin whose pages may read the answer to a request with these headers.
pub(super) fn allowed_origin_of(request: &HeaderMap, allowed: &[String]) -> Option<HeaderValue> {
    if allowed.iter().any(|pattern| pattern == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    request.get(header::ORIGIN).filter(|_| origin_allowed(request, allowed)).cloned()
}

/// Lets pages of this origin read an answer.
pub(super) fn allow_origin(answer: &mut HeaderMap, origin: Option<HeaderValue>) {
    let Some(origin) = origin else { return };
    if origin != "*" {
        answer.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
}

/// The configuration of a project: nothing, as the SDK then asks here for all else.
async fn configuration() -> Response {
    json_response(&json!({}))
}

/// The report of an event in the page. It is read and dropped (see [`super::drain_body`]).
async fn report() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// The answer about a session.
#[derive(Serialize)]
struct SessionInfo<'a> {
    session_id: &'a str,
    partner_id: &'a str,
    messaging_url: String,
    messaging_server_url: &'a str,
    symphony_address: &'a str,
    /// Without it the SDK asks the vendor, and shows it the token.
    ice_servers: [(); 0],
    properties: SessionProperties,
}

#[derive(Serialize)]
struct SessionProperties {
    reconnection: bool,
}

/// Why a client gets no answer about a session. The SDK reads codes from a successful response only.
struct SessionRefusal {
    code: u16,
    message: String,
}

impl SessionRefusal {
    fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// `GET …/session/{session}`: where and how to connect, for a token.
async fn session_info(
    State(services): State<Arc<Services>>,
    State(lifecycle): State<Arc<Lifecycle>>,
    Extension(client): Extension<HttpConnection>,
    Path((_, session)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let asking = client.client_of(&headers);
    let answer = check(&services, &lifecycle, &asking.account, &session, &headers);
    let answer = answer.map(|(session, connection)| {
        client.keep_for_page(&asking);
        json!([info_of(&services, &session, connection)])
    });
    let body = answer.unwrap_or_else(|SessionRefusal { code, message }| {
        json!([{ "error": { "code": code, "errorMessage": { "message": message } } }])
    });
    json_response(&body)
}

fn json_response(body: &serde_json::Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, body.to_string()).into_response()
}

/// The session of a client's token, and the connection id that the client has chosen.
fn check(
    services: &Services,
    lifecycle: &Lifecycle,
    account: &ClientAccount,
    session: &str,
    headers: &HeaderMap,
) -> Result<(SessionId, ConnectionId), SessionRefusal> {
    let text = |name: &'static str| {
        headers.get(HeaderName::from_static(name)).and_then(|value| value.to_str().ok())
    };
    if lifecycle.is_draining() {
        return Err(SessionRefusal::new(503, "the gateway is going down"));
    }
    let session: SessionId =
        session.parse().map_err(|_| SessionRefusal::new(404, "this is not the id of a session"))?;
    let token = text("x-opentok-auth");
    let token = token.ok_or_else(|| SessionRefusal::new(403, "the token is missing"))?;
    if !account.check(AddressRate::InvalidTokens) {
        return Err(SessionRefusal::new(429, "too many invalid tokens from this address"));
    }
    let now = unix_time();
    let legacy = services.policy().auth.legacy_t1_tokens;
    let grant = verify_client_token(&**services.projects(), token, legacy, now);
    let grant = grant.map_err(|error| {
        account.charge(AddressRate::InvalidTokens);
        SessionRefusal::new(403, error.to_string())
    })?;
    let Grant { session: granted, connection_data, token_id, issued_at, .. } = grant;
    if granted != session {
        return Err(SessionRefusal::new(403, "the token is for another session"));
    }
    let token = token_identity(token_id.as_deref(), issued_at);
    let presented = Presented { session: &session, data: &connection_data, token };
    let is_revoked =
        |list: &crate::revocation::Revocations| list.is_revoked(&presented, now.as_secs());
    if services.revocations().read(is_revoked) {
        return Err(SessionRefusal::new(403, "the token has been revoked"));
    }
    let connection = text("x-tb-connectionid").and_then(|id| id.parse().ok());
    let connection = connection
        .ok_or_else(|| SessionRefusal::new(400, "X-TB-CONNECTIONID must be a connection id"))?;
    Ok((session, connection))
}

fn info_of(
    services: &Services,
    session: &SessionId,
    connection: ConnectionId,
) -> serde_json::Value {
    let info = SessionInfo {
        session_id: session.as_str(),
        partner_id: session.project().as_str(),
        // To resume, the SDK shows nothing else, so the URL names the connection.
        messaging_url: format!("wss://{HOST}/rumor/{session}/{connection}"),
        messaging_server_url: HOST,
        symphony_address: HOST,
        ice_servers: [],
        properties: SessionProperties {
            reconnection: services.resume_window_ms(session.project()) > 0,
        },
    };
    json!(info)
}

/// `GET …/rumor/{session}/{connection}`: the WebSocket.
async fn connect(
    State(context): State<ServerContext>,
    Extension(client): Extension<HttpConnection>,
    Path((_, session, connection)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, UpgradeError> {
    let url = SocketUrl::new(&session, &connection, request.uri().query().unwrap_or_default());
    let response = upgrade(context, client, request, |_| Ok(SocketProtocol::OpenTok(url))).await;
    if matches!(response, Err(UpgradeError::TooMany | UpgradeError::Busy)) {
        // The SDK repeats a refused upgrade without a pause: a hundred times per second.
        sleep(RETRY_PAUSE).await;
    }
    response
}
