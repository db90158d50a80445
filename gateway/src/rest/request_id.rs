//! The id and the trace of a request, by which its log lines are found, on both sides of the API.

use std::{borrow::Cow, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument as _, debug, error_span};
use uuid::Uuid;

use crate::{
    metrics::http::method_name,
    services::Services,
    trace::{self, SpanSide, TraceParent},
};

/// The header that names a request, as proxies and servers commonly do.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum bytes of an id that a caller chooses.
const REQUEST_ID_BYTES: usize = 128;

/// Runs a request in spans of the log and of its trace, and returns the id to the caller. The level
/// of the span in the log is that of an error, so that every line has it at every level.
pub(super) async fn in_span(
    State(services): State<Arc<Services>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers()).into_owned();
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let caller = TraceParent::of(request.headers());
    let tracer = services.tracer();
    let mut span = tracer.span(format_args!("{method} {route}"), SpanSide::Server, caller);
    span.set("http.request.method", method);
    span.set("http.route", route);
    span.set("signalbox.request_id", &id);
    let cause = span.context();
    let trace_id = cause.map(|it| format!("{:032x}", it.trace_id));
    let log = error_span!("request", id, trace_id, method, route = %route);
    let answering = async {
        let mut response = next.run(request).await;
        let status = response.status();
        let ms = began.elapsed().as_secs_f64() * 1000.0;
        debug!(status = status.as_u16(), ms, "request answered");
        span.set("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            span.fail(status);
        }
        if let Ok(id) = HeaderValue::try_from(id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    };
    trace::caused_by(cause, answering.instrument(log)).await
}

/// The id that the caller has given, if it is one; a new one otherwise.
fn request_id(headers: &HeaderMap) -> Cow<'_, str> {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given.filter(|id| is_id(id)) {
        Some(id) => id.into(),
        None => Uuid::new_v4().to_string().into(),
    }
}

fn is_id(text: &str) -> bool {
    (1..=REQUEST_ID_BYTES).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_does_not_fit_a_log_line_is_replaced() {
        let mut headers = HeaderMap::new();
        assert_ne!(request_id(&headers), request_id(&headers));
        let longest = "x".repeat(REQUEST_ID_BYTES);
        for (given, is_kept) in [
            ("7f3e:1", true),
            (longest.as_str(), true),
            (&format!("{longest}x"), false),
            ("", false),
            ("two words", false),
        ] {
            headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
            assert_eq!(request_id(&headers) == given, is_kept, "{given}");
        }
    }
}
