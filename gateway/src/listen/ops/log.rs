//! `/log`: the filter of the log, which can be changed while the gateway runs.

use axum::{
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use http_body_util::{BodyExt as _, Limited};
use tracing::warn;

use super::OpsState;

/// Bytes of a filter.
const MAX_BYTES: usize = 1024;

const NO_FILTER: (StatusCode, &str) =
    (StatusCode::NOT_FOUND, "the log of this program cannot be changed while it runs\n");

/// `GET /log`: the filter in effect.
pub(super) async fn show(State(state): State<OpsState>) -> Response {
    state.log.map_or_else(
        || NO_FILTER.into_response(),
        |log| format!("{}\n", log.current()).into_response(),
    )
}

/// `PUT /log`: another filter, in the form of `SIGNALBOX_LOG`, until the process ends.
pub(super) async fn change(State(state): State<OpsState>, request: Request) -> Response {
    let Some(log) = state.log else { return NO_FILTER.into_response() };
    let Some(wanted) = text(request.into_body()).await else {
        let hint = format!("send a filter of at most {MAX_BYTES} bytes, such as: debug\n");
        return (StatusCode::BAD_REQUEST, hint).into_response();
    };
    match log.set(wanted.trim()) {
        Ok(()) => {
            let filter = log.current();
            // At a level that most filters let through: the log shows why it changed.
            warn!(filter, "log filter changed");
            format!("{filter}\n").into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

/// The body, if it is a short text. The connection's deadline bounds the time.
async fn text(body: Body) -> Option<String> {
    let body = Limited::new(body, MAX_BYTES).collect().await.ok()?;
    String::from_utf8(body.to_bytes().into()).ok()
}
