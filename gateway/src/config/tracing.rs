//! Configuration of traces.

use super::{
    MILLION, Problem,
    setting::{Form, number, section},
};
section! {
    /// Traces for OpenTelemetry: spans of REST requests, deliveries, joins, resumes and webhooks.
    pub struct TracingConfig {
        /// URL to which spans are posted over OTLP with protobuf; without it none are recorded.
        endpoint: Option<String> = None, Form::Text("a URL in quotes that begins with https:// or http://"),
            example "\"http://127.0.0.1:4318/v1/traces\"";
        /// One of this number of traces that begin here is recorded. A trace of a request with the
        /// header traceparent is recorded if the header says so.
        sample_one_in: u32 = 1, number("traces", 1, MILLION);
        /// Name of the service in the spans.
        service_name: String = "signalbox".into(), Form::Text("a text in quotes");
    }
}

impl TracingConfig {
    pub(super) fn check(&self) -> Option<Problem> {
        let endpoint = self.endpoint.as_deref()?;
        if !cfg!(feature = "otlp") {
            let missing = "this build exports no traces: build it with the feature otlp";
            return Some(Problem::invalid("endpoint", missing));
        }
        let url: Option<hyper::Uri> = endpoint.parse().ok();
        let is_url = url.is_some_and(|url| {
            matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()
        });
        let reason = "must be a URL that begins with https:// or http:// and names a host";
        (!is_url).then(|| Problem::invalid("endpoint", reason))
    }
}
