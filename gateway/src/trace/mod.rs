//! Traces: spans of REST requests, deliveries, joins, resumes and webhooks, for OpenTelemetry.
//!
//! A trace begins with the `traceparent` of a request, or here. It goes on in the webhooks of the
//! events that a request or a join has caused. Spans are recorded if `tracing.endpoint` is set, and
//! exported over OTLP by a thread of its own ([`otlp`]). Otherwise the trace of a caller is passed on
//! as it came.

#[cfg(feature = "otlp")]
mod deliveries;
#[cfg(feature = "otlp")]
mod otlp;
mod parent;

use std::{fmt, future::Future, time::Duration};

use signalbox_protocol::Transport;

pub(crate) use self::parent::{TRACEPARENT, TraceParent};
use crate::config::TracingConfig;

tokio::task_local! {
    /// The span that causes what happens now.
    static CURRENT: TraceParent;
}

/// The span that causes what this task does now.
pub(crate) fn current() -> Option<TraceParent> {
    CURRENT.try_with(|current| *current).ok()
}

/// Runs work that this span causes.
pub(crate) async fn caused_by<T>(span: Option<TraceParent>, work: impl Future<Output = T>) -> T {
    match span {
        Some(span) => CURRENT.scope(span, work).await,
        None => work.await,
    }
}

/// The side of a request that a span describes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SpanSide {
    /// The one that answers.
    Server,
    /// The one that asks.
    Client,
}

/// Records spans, if that is configured. Clones share the exporter.
#[derive(Clone, Default)]
pub(crate) struct Tracer {
    #[cfg(feature = "otlp")]
    exporter: Option<std::sync::Arc<otlp::Otlp>>,
}

impl Tracer {
    /// Must be called inside a tokio runtime, in which spans are sent.
    #[cfg(feature = "otlp")]
    pub(crate) fn new(config: &TracingConfig) -> Self {
        Self { exporter: otlp::Otlp::start(config).map(std::sync::Arc::new) }
    }

    #[cfg(not(feature = "otlp"))]
    pub(crate) fn new(_: &TracingConfig) -> Self {
        Self {}
    }

    /// Begins a span, which ends when it is dropped.
    pub(crate) fn span(
        &self,
        name: impl fmt::Display,
        side: SpanSide,
        parent: Option<TraceParent>,
    ) -> TraceSpan {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = &self.exporter {
            let span = Some(exporter.span(name.to_string(), side, parent));
            return TraceSpan { parent, span };
        }
        let _ = (name, side);
        TraceSpan {
            parent,
            #[cfg(feature = "otlp")]
            span: None,
        }
    }

    /// Records the deliveries of a signal that the relay is about to accept at this time of its
    /// clock, if `cause` is recorded. Returns whether it is.
    pub(crate) fn expect_deliveries(&self, accepted: Duration, cause: Option<TraceParent>) -> bool {
        #[cfg(feature = "otlp")]
        if let (Some(exporter), Some(cause)) = (&self.exporter, cause) {
            return exporter.deliveries.expect(accepted, cause);
        }
        let _ = (accepted, cause);
        false
    }

    /// A link has written a signal that was accepted at this time, `latency` ago.
    pub(crate) fn delivered(&self, accepted: Duration, latency: Duration, transport: Transport) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = &self.exporter {
            exporter.delivered(accepted, latency, transport);
        }
        let _ = (accepted, latency, transport);
    }

    /// Sends the spans that wait, for a limited time.
    pub(crate) async fn finish(&self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter.clone() {
            exporter.finish().await;
        }
    }
}

/// A span that is being recorded, or the trace of a caller.
pub(crate) struct TraceSpan {
    parent: Option<TraceParent>,
    #[cfg(feature = "otlp")]
    span: Option<opentelemetry_sdk::trace::Span>,
}

impl TraceSpan {
    /// The parent of what this span causes.
    pub(crate) fn context(&self) -> Option<TraceParent> {
        #[cfg(feature = "otlp")]
        if let Some(span) = &self.span {
            return Some(otlp::context(span));
        }
        self.parent
    }

    /// Adds an attribute, by a name of the semantic conventions where they have one.
    pub(crate) fn set(&mut self, name: &'static str, value: impl fmt::Display) {
        #[cfg(feature = "otlp")]
        if let Some(span) = &mut self.span {
            otlp::set(span, name, value.to_string());
        }
        let _ = (name, value);
    }

    /// Marks it as failed, for this reason.
    pub(crate) fn fail(&mut self, reason: impl fmt::Display) {
        #[cfg(feature = "otlp")]
        if let Some(span) = &mut self.span {
            otlp::fail(span, reason.to_string());
        }
        let _ = reason;
    }
}
