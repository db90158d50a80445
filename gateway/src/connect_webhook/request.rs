//! The request to a project's server, and its answer within bounds.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper_util::client::legacy;
use serde::Serialize;
use signalbox_protocol::{ConnectionId, ProjectKey, Role, SessionId, Transport};
use tokio::time::timeout;

use super::{ConnectEndpoint, answer::ConnectAnswer};
use crate::{
    clock::{millis, unix_time},
    error_chain::with_causes,
    https_client::HttpsClient,
    trace::{self, SpanSide, TRACEPARENT, TraceSpan, Tracer},
};

/// Bytes of an answer.
const ANSWER_BYTES: usize = 4096;

/// A client that wants to join.
pub(crate) struct Applicant<'a> {
    pub(crate) session: &'a SessionId,
    pub(crate) connection: ConnectionId,
    pub(crate) data: &'a str,
    pub(crate) role: Role,
    pub(crate) token_id: Option<&'a str>,
    pub(crate) transport: Transport,
    pub(crate) address: IpAddr,
}

/// The fault of a server or the network, for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("the server responded with {0}")]
    Status(StatusCode),
    #[error("the server did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    // Its own text names only the phase that failed.
    #[error("{0}")]
    Failed(String),
    #[error("the answer has more than {ANSWER_BYTES} bytes")]
    TooLarge,
    #[error("the answer is not {{\"allow\":true}} or {{\"allow\":false}}: {0}")]
    Malformed(serde_json::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
}

impl AskError {
    /// The same for the client, which is not told of the project's network.
    pub(super) fn for_client(&self) -> String {
        match self {
            Self::Status(_) | Self::TooLarge | Self::Malformed(_) | Self::Request(_) => {
                "it has not answered as it should".into()
            }
            Self::Timeout(_) => "it has not answered in time".into(),
            Self::Failed(_) => "it cannot be reached".into(),
        }
    }
}

impl From<legacy::Error> for AskError {
    fn from(error: legacy::Error) -> Self {
        Self::Failed(with_causes(&error).to_string())
    }
}

/// Asks, in a span of the client's trace.
pub(super) async fn ask(
    client: &HttpsClient,
    tracer: &Tracer,
    endpoint: &ConnectEndpoint,
    applicant: &Applicant<'_>,
) -> Result<ConnectAnswer, AskError> {
    let mut span = tracer.span("POST connect webhook", SpanSide::Client, trace::current());
    span.set("server.address", endpoint.endpoint.host());
    let exchange = exchange(client, endpoint, applicant, &mut span);
    let answer = timeout(endpoint.timeout, exchange).await;
    let answer = answer.unwrap_or(Err(AskError::Timeout(endpoint.timeout)));
    if let Err(error) = &answer {
        span.fail(error);
    }
    answer
}

async fn exchange(
    client: &HttpsClient,
    endpoint: &ConnectEndpoint,
    applicant: &Applicant<'_>,
    span: &mut TraceSpan,
) -> Result<ConnectAnswer, AskError> {
    let now = unix_time();
    let body = applicant.body(millis(now));
    // Pages choose their connection ids, and may ask again with the same one.
    let id = format!("msg_{}", uuid::Uuid::new_v4());
    let mut request = endpoint.endpoint.request(&id, now.as_secs(), &body);
    if let Some(cause) = span.context() {
        request = request.header(TRACEPARENT, cause.to_string());
    }
    let request = request.body(Full::new(Bytes::from(body)))?;
    let response = client.get().await.request(request).await?;
    span.set("http.response.status_code", response.status().as_u16());
    if response.status() != StatusCode::OK {
        return Err(AskError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
        Ok(_) => AskError::TooLarge,
        Err(error) => AskError::Failed(with_causes(&*error).to_string()),
    })?;
    serde_json::from_slice(&body.to_bytes()).map_err(AskError::Malformed)
}

/// The JSON of a request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectRequestBody<'a> {
    event: &'static str,
    session_id: &'a SessionId,
    project_id: &'a ProjectKey,
    timestamp: u64,
    connection: RequestedConnection<'a>,
    role: &'static str,
    token_id: Option<&'a str>,
    transport: &'static str,
    address: IpAddr,
}

#[derive(Serialize)]
struct RequestedConnection<'a> {
    id: String,
    data: &'a str,
}

impl Applicant<'_> {
    fn body(&self, timestamp: u64) -> Vec<u8> {
        let body = ConnectRequestBody {
            event: "connectionRequested",
            session_id: self.session,
            project_id: self.session.project(),
            timestamp,
            connection: RequestedConnection { id: self.connection.to_string(), data: self.data },
            role: self.role.name(),
            token_id: self.token_id,
            transport: self.transport.as_str(),
            address: self.address.to_canonical(),
        };
        // Strings and numbers always serialise.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}
