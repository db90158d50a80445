//! `GET /metrics`: the metrics, for Prometheus and everything that reads its formats.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::OpsState;
use crate::{headers::has_media_type, metrics::Exposition};

/// Answers in the format that the client accepts.
pub(super) async fn metrics(State(state): State<OpsState>, headers: HeaderMap) -> Response {
    let openmetrics = has_media_type(&headers, header::ACCEPT, "application/openmetrics-text");
    let format = if openmetrics { Exposition::OpenMetrics } else { Exposition::Prometheus };
    let samples = state.scraper.scrape(&state.sources).await;
    match samples.text(format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        // Writing to memory does not fail.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
