//! `GET /tail`: live events of a session, a connection or a project, one JSON object on each line.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension,
    body::Body,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;

use crate::{
    http_connection::HttpConnection,
    services::Services,
    tail::{FollowError, TailFilter, TailLines},
};

/// Answers with the events from now on, until the client or the gateway ends.
pub(super) async fn follow(
    State(services): State<Arc<Services>>,
    Extension(connection): Extension<HttpConnection>,
    RawQuery(query): RawQuery,
) -> Response {
    let refuse = |status: StatusCode, why: String| (status, why + "\n").into_response();
    let filter = match TailFilter::from_query(&query.unwrap_or_default()) {
        Ok(filter) => filter,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, why),
    };
    match services.tail().follow(filter) {
        Ok(lines) => {
            connection.stream();
            let body = Body::from_stream(stream::unfold(lines, next));
            ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
        }
        Err(error @ FollowError::NoContents) => refuse(StatusCode::FORBIDDEN, error.to_string()),
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

async fn next(mut lines: TailLines) -> Option<(Result<bytes::Bytes, Infallible>, TailLines)> {
    let more = lines.next().await?;
    Some((Ok(more), lines))
}
