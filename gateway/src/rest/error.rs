//! What a server is told that asked for something it cannot have: the vendor's statuses, codes
//! and texts, as SDKs and applications look at them.

use std::borrow::Cow;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use signalbox_protocol::ErrorCode;
use signalbox_relay::Refused;

/// Why a request was not served. Each names whose fault it is in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Error {
    /// There is no credential, or more than one.
    NoCredential,
    /// The credential is of a project that is not configured here.
    UnknownIssuer,
    /// The credential is no good, for this reason.
    Unauthorized(&'static str),
    /// The credential is good, but for another project.
    WrongProject,
    /// Something in the request is not what it must be.
    Invalid(Cow<'static, str>),
    /// A signal without data.
    DataMissing,
    /// The body is longer than bodies may be.
    TooLarge,
    /// The body did not come in time.
    TooSlow,
    /// Nobody is in the session that is to be listed.
    SessionNotFound,
    /// The relay did not do it.
    Refused(Refused),
    /// There is nothing at that path.
    NoSuchResource,
    /// There is something at that path, but not for that method.
    NoSuchMethod,
    /// The gateway's fault; its log says which.
    Internal,
}

impl Error {
    pub(super) fn invalid(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(what.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoCredential
            | Self::UnknownIssuer
            | Self::Unauthorized(_)
            | Self::WrongProject => StatusCode::FORBIDDEN,
            Self::Invalid(_) | Self::DataMissing => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::SessionNotFound | Self::NoSuchResource => StatusCode::NOT_FOUND,
            Self::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Refused(refused) => StatusCode::from_u16(refused.code().http_status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The vendor's number, where one was ever seen; else the status.
    fn code(&self) -> i32 {
        match self {
            Self::NoCredential | Self::UnknownIssuer | Self::WrongProject => -1,
            Self::Unauthorized(_) => 10002,
            Self::DataMissing => 15202,
            _ => self.status().as_u16().into(),
        }
    }

    fn message(&self) -> Cow<'static, str> {
        match self {
            Self::NoCredential => "No suitable authentication found".into(),
            Self::UnknownIssuer => "Issuer not found".into(),
            Self::Unauthorized(_) => "Unauthorized token".into(),
            Self::WrongProject => "Id in the token does not match the one in the url".into(),
            Self::Invalid(what) => what.clone(),
            Self::DataMissing => "Signal payload 'data' must be set".into(),
            Self::TooLarge => "The body has more than 65536 bytes".into(),
            Self::TooSlow => "The body did not come in time".into(),
            Self::SessionNotFound => "Session not found".into(),
            Self::Refused(Refused::NobodyThere) => {
                "Not found. No clients are actively connected to the OpenTok session.".into()
            }
            Self::Refused(Refused::NotFound(_)) => {
                "Not found. The connection is not in the session.".into()
            }
            Self::Refused(Refused::NoneReached) => {
                "Not found. None of the connections is in the session and receives signals.".into()
            }
            Self::Refused(refused) => refused.to_string().into(),
            Self::NoSuchResource => "There is nothing here: Signalbox has sessions, signals and \
                 connections, see /openapi.yaml; it has no media (streams, archives, broadcasts)"
                .into(),
            Self::NoSuchMethod => "Not with this method; see /openapi.yaml".into(),
            Self::Internal => "The gateway failed; its log says why".into(),
        }
    }

    fn body(&self) -> Body {
        let message = self.message();
        let description = match self {
            Self::Unauthorized(why) => (*why).into(),
            _ => message.clone(),
        };
        Body { code: self.code(), message, description }
    }

    /// The answer for whoever did not ask for JSON, on the one path where the vendor has XML.
    pub(super) fn into_xml(self) -> Response {
        let Body { code, message, description } = self.body();
        let (message, description) = (escape(&message), escape(&description));
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><errorPayload>\
             <code>{code}</code><message>{message}</message>\
             <description>{description}</description></errorPayload>"
        );
        (self.status(), [(header::CONTENT_TYPE, "application/xml")], body).into_response()
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

#[derive(Serialize)]
struct Body {
    code: i32,
    message: Cow<'static, str>,
    description: Cow<'static, str>,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = serde_json::to_string(&self.body()).unwrap_or_default();
        let mut response =
            (self.status(), [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if matches!(&self, Self::Refused(refused) if refused.code() == ErrorCode::RateLimited) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Text for between two XML tags.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
