//! REST error responses, with the vendor's statuses, codes and texts where SDKs and applications look
//! at them.

use std::borrow::Cow;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use signalbox_protocol::ErrorCode;
use signalbox_relay::RejectionReason;

use crate::{
    admission::{AddressRate, RefusalCause},
    revocation::ListFull,
};

/// The fault of a failed request. Each text says whose fault it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Error {
    /// There is no credential, or more than one.
    NoCredential,
    /// The credential's project is not configured here.
    UnknownIssuer,
    /// The credential is invalid, for this reason.
    Unauthorized(&'static str),
    /// The credential is valid, but for another project.
    WrongProject,
    /// Part of the request is malformed.
    Invalid(Cow<'static, str>),
    /// A signal without data.
    DataMissing,
    /// The body is too long.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// The session to list has no connection.
    SessionNotFound,
    /// The project has no revocation with this id.
    RevocationNotFound,
    /// The project has too many revocations.
    RevocationsFull(ListFull),
    /// The address has used up this rate.
    TooMany(AddressRate),
    /// The relay rejected it.
    Refused(RejectionReason),
    /// The connections on other gateways are not known, for this reason.
    Unavailable(String),
    /// Unknown path.
    NoSuchResource,
    /// Unsupported method of a known path.
    NoSuchMethod,
    /// A fault of the gateway, which is logged.
    Internal,
}

impl Error {
    pub(super) fn invalid(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(what.into())
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoCredential
            | Self::UnknownIssuer
            | Self::Unauthorized(_)
            | Self::WrongProject => StatusCode::FORBIDDEN,
            Self::Invalid(_) | Self::DataMissing => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::SessionNotFound | Self::RevocationNotFound | Self::NoSuchResource => {
                StatusCode::NOT_FOUND
            }
            Self::RevocationsFull(_) => StatusCode::CONFLICT,
            Self::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Refused(refused) => StatusCode::from_u16(refused.code().http_status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The vendor's number, if it is known; otherwise the status.
    fn code(&self) -> i32 {
        match self {
            Self::NoCredential | Self::UnknownIssuer | Self::WrongProject => -1,
            Self::Unauthorized(_) => 10002,
            Self::DataMissing => 15202,
            _ => self.status().as_u16().into(),
        }
    }

    /// A sentence for people.
    pub(crate) fn message(&self) -> Cow<'static, str> {
        match self {
            Self::NoCredential => "No suitable authentication found".into(),
            Self::UnknownIssuer => "Issuer not found".into(),
            Self::Unauthorized(_) => "Unauthorized token".into(),
            Self::WrongProject => "Id in the token does not match the one in the url".into(),
            Self::Invalid(what) => what.clone(),
            Self::DataMissing => "Signal payload 'data' must be set".into(),
            Self::TooLarge => "The body has more than 65536 bytes".into(),
            Self::TooSlow => "The body did not arrive in time".into(),
            Self::SessionNotFound => "Session not found".into(),
            Self::RevocationNotFound => "Revocation not found".into(),
            Self::RevocationsFull(full) => full.to_string().into(),
            Self::TooMany(rate) => too_many(*rate).into(),
            Self::Refused(RejectionReason::EmptySession) => {
                "Not found. No clients are actively connected to the OpenTok session.".into()
            }
            Self::Refused(RejectionReason::NotFound(_)) => {
                "Not found. The connection is not in the session.".into()
            }
            Self::Refused(RejectionReason::NoneReached) => {
                "Not found. None of the connections is in the session and receives signals.".into()
            }
            Self::Refused(refused) => refused.to_string().into(),
            Self::Unavailable(why) => {
                format!("The connections on other gateways are not known: {why}. Try again").into()
            }
            Self::NoSuchResource => {
                "Unknown path: Signalbox has sessions, signals, connections and \
                 revocations, see /openapi.yaml; it has no media (streams, archives, broadcasts)"
                    .into()
            }
            Self::NoSuchMethod => "This path does not support the method; see /openapi.yaml".into(),
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

    /// The response to clients that do not accept JSON, on the one path where the vendor uses XML.
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

impl From<RejectionReason> for Error {
    fn from(refused: RejectionReason) -> Self {
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
        let is_temporary = match &self {
            Self::Refused(refused) => refused.code() == ErrorCode::RateLimited,
            other => matches!(other, Self::Unavailable(_) | Self::TooMany(_)),
        };
        if is_temporary {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The fault of a client whose address has used up a rate.
fn too_many(rate: AddressRate) -> String {
    let what = match rate {
        AddressRate::Links => "connections",
        AddressRate::Requests => "requests without a valid credential",
        AddressRate::InvalidTokens => "invalid credentials",
    };
    let setting = RefusalCause::from(rate).setting();
    format!("Too many {what} from this address; try again later (setting {setting})")
}

/// Escapes text between two XML tags.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
