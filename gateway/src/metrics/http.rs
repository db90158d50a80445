//! Counts of HTTP requests by route. A route is a template of the router (`/session/create`), and
//! never the path of a request.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::Response,
};
use parking_lot::Mutex;
use prometheus_client::metrics::histogram::Histogram;

use crate::services::Services;

/// Bounds of the buckets of a request's time, in seconds.
const DURATION: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The route of requests that no route of the router matches.
const NO_ROUTE: &str = "none";

/// Counts of HTTP requests.
#[derive(Default)]
pub(crate) struct HttpMetrics(Mutex<BTreeMap<String, RouteMetrics>>);

pub(super) struct RouteMetrics {
    pub(super) duration: Histogram,
    /// By method and status.
    pub(super) requests: BTreeMap<(&'static str, u16), u64>,
}

impl HttpMetrics {
    fn count(&self, route: &str, method: &'static str, status: StatusCode, seconds: f64) {
        let mut routes = self.0.lock();
        if !routes.contains_key(route) {
            let new =
                RouteMetrics { duration: Histogram::new(DURATION), requests: BTreeMap::new() };
            routes.insert(route.to_owned(), new);
        }
        let Some(counts) = routes.get_mut(route) else { return };
        counts.duration.observe(seconds);
        *counts.requests.entry((method, status.as_u16())).or_default() += 1;
    }

    /// Calls `visit` for each route.
    pub(super) fn each(&self, mut visit: impl FnMut(&str, &RouteMetrics)) {
        self.0.lock().iter().for_each(|(route, counts)| visit(route, counts));
    }
}

/// Counts a request, as a layer of the router.
pub(crate) async fn count(
    State(services): State<Arc<Services>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let seconds = began.elapsed().as_secs_f64();
    services.metrics().http.count(route, method, response.status(), seconds);
    response
}

/// The method as a label: clients may invent others.
pub(crate) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
