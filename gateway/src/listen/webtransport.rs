//! The way from a QUIC connection with HTTP/3 to a WebTransport session (RFC 9114, RFC 9220,
//! draft-ietf-webtrans-http3).

use quinn::Connection;
use signalbox_protocol::{CONNECT_PATH, CloseReason, limits::FAREWELL};
use signalbox_webtransport::{Request, Session, SetupError, StatusCode};
use tokio::time::timeout;
use tracing::debug;

use super::origin::origin_allowed;
use crate::services::Services;

/// Streams that a client may open: those of HTTP/3 (control, and two of QPACK), the client's signals,
/// and spare ones for streams of unknown types, which browsers open to see that they are ignored.
const UNI_STREAMS: u32 = 8;

/// The CONNECT request, the control stream, and spare ones to be rejected with a reason.
const BIDI_STREAMS: u32 = 4;

/// Receives a request for a session, and answers it. `None` if no session was established; the
/// connection can then be closed.
pub(super) async fn establish(connection: &Connection, services: &Services) -> Option<Session> {
    connection.set_max_concurrent_uni_streams(UNI_STREAMS.into());
    connection.set_max_concurrent_bi_streams(BIDI_STREAMS.into());
    let session = async {
        let request = Request::accept(connection).await?;
        if request.path() != CONNECT_PATH {
            return reject(request, StatusCode::NOT_FOUND).await;
        }
        if !origin_allowed(request.headers(), &services.policy().auth.allowed_origins) {
            return reject(request, StatusCode::FORBIDDEN).await;
        }
        request.establish().await.map(Some)
    };
    match session.await {
        Ok(session) => session,
        Err(error) => {
            debug!(%error, "no WebTransport session");
            None
        }
    }
}

/// Ends a session that has no link: gives the client the reason, and a second to read it.
pub(super) async fn end(mut session: Session, connection: &Connection, reason: CloseReason) {
    let farewell = async {
        // A failure here needs no handling: the session has ended.
        let _ = session.closer.close(reason.quic_code(), reason.name()).await;
        connection.closed().await;
    };
    let _ = timeout(FAREWELL, farewell).await;
}

async fn reject(request: Request, status: StatusCode) -> Result<Option<Session>, SetupError> {
    request.reject(status).await?;
    Ok(None)
}
