//! The way to a session: settings, then an extended CONNECT (RFC 9220).

use std::future::poll_fn;

use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::io::AsyncWriteExt;
use url::Url;
use web_transport_proto::{ConnectError, ConnectRequest, ConnectResponse};

use crate::{
    HeaderMap, StatusCode,
    code::{H3_GENERAL_PROTOCOL_ERROR, H3_NO_ERROR},
    incoming::Incoming,
    peer::{Opened, PeerStreams},
    session::{Closer, Session, send_settings},
    session_id::SessionId,
};

/// Why no session was established.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The connection is lost.
    #[error(transparent)]
    Lost(#[from] ConnectionError),
    /// Writing failed, because the connection is lost or the peer refuses the stream.
    #[error("cannot write: {0}")]
    Write(#[from] std::io::Error),
    /// The peer violates HTTP/3. The connection has been closed.
    #[error("invalid HTTP/3: {0}")]
    Protocol(String),
    /// The peer is an HTTP/3 client or server without support for WebTransport.
    #[error("the peer does not support WebTransport")]
    Unsupported,
    /// The request is not one for a WebTransport session. It has been answered.
    #[error("not a WebTransport request: {0}")]
    Request(String),
    /// The server has rejected the request.
    #[error("the server answered with HTTP status {0}")]
    Rejected(StatusCode),
}

/// A client's request for a session, for the server to [establish](Self::establish) or to
/// [reject](Self::reject).
pub struct Request {
    peer: PeerStreams,
    early: Vec<Opened>,
    control: SendStream,
    connect: (SendStream, RecvStream),
    request: ConnectRequest,
}

impl Request {
    /// Exchanges settings, and receives the first request on a new connection. There is no timeout
    /// here.
    ///
    /// # Errors
    ///
    /// See [`SetupError`]. An HTTP request for something else is answered with 405 or 400.
    pub async fn accept(connection: &Connection) -> Result<Self, SetupError> {
        let control = send_settings(connection).await?;
        let mut peer = PeerStreams::new(connection.clone());
        let (mut supported, mut requested, mut early) = (None, None, Vec::new());
        let (request, connect) = loop {
            match poll_fn(|cx| peer.poll_next(cx)).await? {
                Opened::Settings(settings) => {
                    let settings = settings.map_err(|error| violation(connection, &error))?;
                    supported = Some(settings.supports_webtransport() > 0);
                }
                Opened::Request(request, send, recv) if requested.is_none() => {
                    requested = Some((request, (send, recv)));
                }
                other => early.push(other),
            }
            // The request may overtake the settings, which decide whether it can be served.
            if supported.is_some()
                && let Some(requested) = requested.take()
            {
                break requested;
            }
        };
        match *request {
            Ok(_) if supported == Some(false) => {
                answer(connect.0, StatusCode::BAD_REQUEST).await?;
                Err(SetupError::Unsupported)
            }
            Ok(request) => Ok(Self { peer, early, control, connect, request }),
            Err(error) => {
                let Some(status) = status_of(&error) else {
                    return Err(violation(connection, &error));
                };
                answer(connect.0, status).await?;
                Err(SetupError::Request(error.to_string()))
            }
        }
    }

    /// The path of the request, without its query.
    pub fn path(&self) -> &str {
        self.request.url.path()
    }

    /// The header fields of the request, without pseudo-header fields. Browsers send `origin`.
    pub fn headers(&self) -> &HeaderMap {
        &self.request.headers
    }

    /// Answers with 200, and so establishes the session.
    ///
    /// # Errors
    ///
    /// The answer cannot be written.
    pub async fn establish(mut self) -> Result<Session, SetupError> {
        respond(&mut self.connect.0, StatusCode::OK).await?;
        let Self { peer, early, control, connect: (send, recv), .. } = self;
        let id = SessionId::of(&send);
        let incoming = Incoming::new(id, peer, early, recv);
        Ok(Session { id, incoming, closer: Closer::new(send, control) })
    }

    /// Answers with an error status, and waits until the client has received it. The connection can
    /// then be closed.
    ///
    /// # Errors
    ///
    /// The answer cannot be written.
    pub async fn reject(self, status: StatusCode) -> Result<(), SetupError> {
        answer(self.connect.0, status).await
    }
}

/// Requests a session at `url` (`https://…`) on a new connection. There is no timeout here.
///
/// # Errors
///
/// See [`SetupError`].
pub async fn connect(connection: &Connection, url: Url) -> Result<Session, SetupError> {
    let control = send_settings(connection).await?;
    let mut peer = PeerStreams::new(connection.clone());
    let mut early = Vec::new();
    // A client must know that the server supports WebTransport before it sends a request.
    loop {
        match poll_fn(|cx| peer.poll_next(cx)).await? {
            Opened::Settings(settings) => {
                let settings = settings.map_err(|error| violation(connection, &error))?;
                if settings.supports_webtransport() == 0 {
                    connection.close(H3_NO_ERROR, b"");
                    return Err(SetupError::Unsupported);
                }
                break;
            }
            other => early.push(other),
        }
    }
    let (mut send, mut recv) = connection.open_bi().await?;
    let mut request = Vec::new();
    ConnectRequest::new(url)
        .encode(&mut request)
        .map_err(|error| SetupError::Request(error.to_string()))?;
    AsyncWriteExt::write_all(&mut send, &request).await?;
    if let Err(error) = ConnectResponse::read(&mut recv).await {
        return Err(match (error, connection.close_reason()) {
            (ConnectError::WrongStatus(Some(status)), _) => SetupError::Rejected(status),
            (_, Some(lost)) => lost.into(),
            (error, None) => violation(connection, &error),
        });
    }
    let id = SessionId::of(&send);
    let incoming = Incoming::new(id, peer, early, recv);
    Ok(Session { id, incoming, closer: Closer::new(send, control) })
}

/// The answer to a request that is valid HTTP, but not for a WebTransport session.
fn status_of(error: &ConnectError) -> Option<StatusCode> {
    match error {
        ConnectError::WrongMethod(_) => Some(StatusCode::METHOD_NOT_ALLOWED),
        ConnectError::WrongProtocol(_) => Some(StatusCode::NOT_IMPLEMENTED),
        ConnectError::WrongScheme(_)
        | ConnectError::WrongAuthority
        | ConnectError::WrongPath
        | ConnectError::InvalidMethod
        | ConnectError::InvalidUrl(_) => Some(StatusCode::BAD_REQUEST),
        _ => None,
    }
}

async fn respond(stream: &mut SendStream, status: StatusCode) -> Result<(), SetupError> {
    let mut bytes = Vec::new();
    ConnectResponse::new(status)
        .encode(&mut bytes)
        .map_err(|error| SetupError::Request(error.to_string()))?;
    Ok(AsyncWriteExt::write_all(stream, &bytes).await?)
}

/// Sends a final response, and waits until it has arrived.
async fn answer(mut stream: SendStream, status: StatusCode) -> Result<(), SetupError> {
    respond(&mut stream, status).await?;
    // Both fail only if the stream has ended, and then there is nothing to wait for.
    let _ = stream.finish();
    let _ = stream.stopped().await;
    Ok(())
}

fn violation(connection: &Connection, error: &impl std::error::Error) -> SetupError {
    let error = error.to_string();
    connection.close(H3_GENERAL_PROTOCOL_ERROR, error.as_bytes());
    SetupError::Protocol(error)
}
