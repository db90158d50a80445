//! The opening handshake of a WebSocket (RFC 6455 §4.2), up to its link.
//!
//! axum's own upgrade is not used because it is built on another version of tungstenite.

use std::net::SocketAddr;

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use base64::{
    Engine as _,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use hyper::{
    body::Body as _,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use signalbox_protocol::{Codec, Transport};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};
use tracing::debug;

use super::{origin::origin_allowed, tcp_socket::ClientStream};
use crate::{
    admission::{AddressRate, AdmissionPermit},
    context::ServerContext,
    headers::{has_token, items},
    http_connection::{HttpConnection, RequestClient},
    link::{self, LinkForm, LinkInfo, LinkProtocol, opentok, socket_url::SocketUrl, websocket},
    link_id::LinkId,
};

/// The fault of a rejected upgrade: the client's.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    #[error("this is a WebSocket endpoint: connect with a WebSocket client (RFC 6455)")]
    NotWebSocket,
    #[error("a WebSocket upgrade must be a GET (RFC 6455)")]
    Method,
    #[error("Sec-WebSocket-Key must be 16 bytes in base64 (RFC 6455, 4.1)")]
    Key,
    #[error("an upgrade request must not have a body")]
    Body,
    #[error("only version 13 of the WebSocket protocol is supported")]
    Version,
    #[error(
        "offer the subprotocol signalbox.v1.json or signalbox.v1.postcard \
         (Sec-WebSocket-Protocol)"
    )]
    Subprotocol,
    #[error("pages of this origin must not connect here (setting auth.allowed_origins)")]
    Origin,
    #[error(
        "too many links from this address: try again later (setting \
         limits.address.links_per_second)"
    )]
    TooMany,
    #[error("too many clients are connecting: try again (setting limits.pending_handshakes)")]
    Busy,
}

impl IntoResponse for UpgradeError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotWebSocket | Self::Key | Self::Body | Self::Subprotocol => {
                StatusCode::BAD_REQUEST
            }
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        let version = [(header::SEC_WEBSOCKET_VERSION, "13")];
        let mut response = (status, version, format!("{self}\n")).into_response();
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        response
    }
}

/// The protocol of a WebSocket, with what its request says about the link.
pub(super) enum SocketProtocol {
    /// Signalbox's own, in this codec.
    Signalbox(Codec),
    /// That of the vendor's browser SDK.
    OpenTok(SocketUrl),
}

/// `GET /v1/connect`: the opening handshake of RFC 6455 §4.2.
pub(super) async fn connect(
    State(context): State<ServerContext>,
    Extension(client): Extension<HttpConnection>,
    request: Request,
) -> Result<Response, UpgradeError> {
    let codec = |headers: &HeaderMap| {
        let mut offered = items(headers, header::SEC_WEBSOCKET_PROTOCOL);
        let codec = offered.find_map(Codec::from_subprotocol).ok_or(UpgradeError::Subprotocol)?;
        Ok(SocketProtocol::Signalbox(codec))
    };
    upgrade(context, client, request, codec).await
}

/// Checks the opening handshake, and lets the connection become a link of the protocol that
/// `protocol` finds.
pub(super) async fn upgrade(
    context: ServerContext,
    client: HttpConnection,
    mut request: Request,
    protocol: impl FnOnce(&HeaderMap) -> Result<SocketProtocol, UpgradeError>,
) -> Result<Response, UpgradeError> {
    // axum routes HEAD requests to GET handlers.
    if request.method() != Method::GET {
        return Err(UpgradeError::Method);
    }
    let headers = request.headers();
    let upgrade = request.version() >= Version::HTTP_11
        && has_token(headers, header::UPGRADE, "websocket")
        && has_token(headers, header::CONNECTION, "upgrade");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| upgrade);
    let key = key.ok_or(UpgradeError::NotWebSocket)?.as_bytes();
    if !is_key(key) {
        return Err(UpgradeError::Key);
    }
    let accept = derive_accept_key(key);
    if !request.body().is_end_stream() {
        return Err(UpgradeError::Body);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(UpgradeError::Version);
    }
    let hello = {
        let policy = context.services.policy();
        if !origin_allowed(headers, &policy.auth.allowed_origins) {
            return Err(UpgradeError::Origin);
        }
        policy.timeouts.hello()
    };
    let protocol = protocol(headers)?;
    let subprotocol = match &protocol {
        SocketProtocol::Signalbox(codec) => Some(codec.subprotocol()),
        SocketProtocol::OpenTok(_) => None,
    };
    let upgrade =
        request.extensions_mut().remove::<OnUpgrade>().ok_or(UpgradeError::NotWebSocket)?;
    let asking = client.client_of(request.headers());
    let RequestClient { remote, account, is_behind_proxy } = asking;
    let permit = if is_behind_proxy {
        if !account.take(AddressRate::Links) {
            return Err(UpgradeError::TooMany);
        }
        context.admission.enter_tcp(account).await
    } else {
        client.link_permit(Instant::now() + hello).await
    };
    let permit = permit.ok_or(UpgradeError::Busy)?;
    // Counted from now, because the connection may have been open for hours.
    let hello_by = Instant::now() + hello;
    let id = client.id();
    let link = become_link(context.clone(), id, remote, hello_by, permit, protocol, upgrade);
    context.lifecycle.spawn(id.span(Some(remote)), link);
    let headers = [
        (header::UPGRADE, "websocket"),
        (header::CONNECTION, "upgrade"),
        (header::SEC_WEBSOCKET_ACCEPT, &accept),
    ];
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    if let Some(subprotocol) = subprotocol {
        let value = HeaderValue::from_static(subprotocol);
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok(response)
}

/// Takes the socket back from hyper and serves the link. Both run in tasks of their own: the first so
/// that hyper's memory is freed, the second because a task keeps its largest size.
async fn become_link(
    context: ServerContext,
    id: LinkId,
    remote: SocketAddr,
    hello_by: Instant,
    permit: AdmissionPermit,
    protocol: SocketProtocol,
    upgrade: OnUpgrade,
) {
    let config = match &protocol {
        SocketProtocol::Signalbox(codec) => websocket::config(*codec),
        SocketProtocol::OpenTok(_) => opentok::config(),
    };
    let Some(socket) = take_back(upgrade, config, hello_by).await else {
        return;
    };
    let ServerContext { services, lifecycle, .. } = context;
    let idle = services.policy().timeouts.idle();
    let transport = Transport::WebSocket;
    let metrics = services.metrics().transport(transport);
    match protocol {
        SocketProtocol::Signalbox(codec) => {
            let (reader, writer) = websocket::halves(socket, codec, idle, metrics);
            let form = LinkForm { transport, protocol: LinkProtocol::Signalbox(codec) };
            let info = LinkInfo { id, form, remote, hello_by, permit };
            let span = info.span();
            let link = link::serve(services, lifecycle.clone(), info, reader, writer);
            lifecycle.spawn(span, link);
        }
        SocketProtocol::OpenTok(url) => {
            let (reader, writer) = opentok::halves(socket, url, idle, metrics);
            let form = LinkForm { transport, protocol: LinkProtocol::OpenTok };
            let info = LinkInfo { id, form, remote, hello_by, permit };
            let span = info.span();
            let link = link::serve(services, lifecycle.clone(), info, reader, writer);
            lifecycle.spawn(span, link);
        }
    }
}

async fn take_back(
    upgrade: OnUpgrade,
    config: WebSocketConfig,
    hello_by: Instant,
) -> Option<WebSocketStream<ClientStream>> {
    let upgraded: Upgraded = match timeout_at(hello_by, upgrade).await {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(error)) => {
            debug!(%error, "WebSocket upgrade failed");
            return None;
        }
        Err(_) => {
            debug!("WebSocket upgrade timed out");
            return None;
        }
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<ClientStream>>() else {
        tracing::error!("upgraded connection has an unexpected type");
        return None;
    };
    let socket = WebSocketStream::from_partially_read(
        parts.io.into_inner(),
        parts.read_buf.to_vec(),
        Role::Server,
        Some(config),
    );
    Some(socket.await)
}

/// Whether this is 16 bytes in base64. Excess bits of the last character are ignored, because some
/// clients choose them at random.
fn is_key(key: &[u8]) -> bool {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let base64 = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    base64.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}
