//! Errors of requests to `/admin/…` and `/reload`: a status and a message in JSON.

use std::borrow::Cow;

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::CHANGES;
use crate::{reload_requests::ReloadError, rest};

/// The fault of a failed request: the caller's, except where it says otherwise.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "send the header {CHANGES}: 1 with a request that changes something; without it, another web \
         page could send it"
    )]
    NoHeader,
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    #[error("there is no session with this id, or it has no connections on this gateway")]
    NoSession,
    #[error("there is no project with this key")]
    NoProject,
    #[error("this program cannot reload its configuration")]
    NoReload,
    #[error(transparent)]
    Reload(#[from] ReloadError),
    /// A fault of a request that the REST API has, too.
    #[error("{}", .0.message())]
    Rest(rest::Error),
}

impl From<rest::Error> for Error {
    fn from(error: rest::Error) -> Self {
        Self::Rest(error)
    }
}

impl Error {
    pub(super) fn invalid(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(what.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoHeader => StatusCode::FORBIDDEN,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NoSession | Self::NoProject | Self::NoReload => StatusCode::NOT_FOUND,
            Self::Reload(ReloadError::Invalid(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Reload(ReloadError::Slow) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Reload(ReloadError::Failed) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Rest(error) => error.status(),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "message": self.to_string() });
        let content_type = [(header::CONTENT_TYPE, "application/json")];
        (self.status(), content_type, format!("{body}\n")).into_response()
    }
}
