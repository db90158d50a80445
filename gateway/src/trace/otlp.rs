//! Export of spans over OTLP/HTTP with protobuf.
//!
//! Spans wait in a bounded queue. A thread of the OpenTelemetry SDK encodes them, and the runtime
//! sends them, so an endpoint that is slow or hangs holds up that thread alone: spans beyond the queue
//! are dropped.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response};
use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{
        Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, TraceState, Tracer as _,
        TracerProvider as _,
    },
};
use opentelemetry_http::{HttpClient as ExportClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span},
};
use signalbox_protocol::Transport;
use tokio::{runtime::Handle, time::timeout};
use tracing::{info, warn};

use super::{SpanSide, TraceParent, deliveries::Deliveries};
use crate::{config::TracingConfig, https_client::HttpsClient, supervise::blocking};

/// Spans that wait for export. More are dropped.
const QUEUE: usize = 2048;

/// Spans of one request, and the time after which they are sent although there are fewer.
const BATCH: usize = 512;
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// Time for one request, its repetitions included.
const EXPORT: Duration = Duration::from_secs(10);

/// Time for the spans that wait when the gateway ends.
const FINISH: Duration = Duration::from_secs(2);

/// Bytes of a response; it says at most how many spans were rejected.
const RESPONSE_BYTES: usize = 64 * 1024;

/// The exporter, and the sampling of new traces.
pub(super) struct Otlp {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    pub(super) deliveries: Deliveries,
}

impl Otlp {
    /// `None` without an endpoint.
    pub(super) fn start(config: &TracingConfig) -> Option<Self> {
        let endpoint = config.endpoint.as_ref()?;
        let client = SpanSender {
            client: HttpsClient::new("traces"),
            runtime: Handle::current(),
            is_failing: AtomicBool::default(),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(EXPORT)
            .build();
        let exporter = exporter
            .inspect_err(|error| warn!(%error, "spans are not exported: check tracing.endpoint"))
            .ok()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(BATCH_DELAY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let ratio = 1.0 / f64::from(config.sample_one_in);
        // A caller that records its trace wants the rest of it, too.
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
        let service = Resource::builder().with_service_name(config.service_name.clone());
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(sampler)
            .with_resource(service.with_attribute(version).build())
            .build();
        let tracer = provider.tracer("signalbox");
        Some(Self { provider, tracer, deliveries: Deliveries::default() })
    }

    /// Begins a span.
    pub(super) fn span(&self, name: String, side: SpanSide, parent: Option<TraceParent>) -> Span {
        let kind = match side {
            SpanSide::Server => SpanKind::Server,
            SpanSide::Client => SpanKind::Client,
        };
        let builder = self.tracer.span_builder(name).with_kind(kind);
        self.tracer.build_with_context(builder, &within(parent))
    }

    /// Records a delivery, if its signal was expected.
    pub(super) fn delivered(&self, accepted: Duration, latency: Duration, transport: Transport) {
        let Some(cause) = self.deliveries.next(accepted) else { return };
        let now = SystemTime::now();
        let transport = KeyValue::new("signalbox.transport", transport.as_str());
        let builder = self
            .tracer
            .span_builder("signal delivery")
            .with_kind(SpanKind::Producer)
            .with_start_time(now - latency)
            .with_attributes([transport]);
        self.tracer.build_with_context(builder, &within(Some(cause))).end_with_timestamp(now);
    }

    /// Sends the spans that wait. The thread waits for the runtime, so the runtime must not wait for
    /// it.
    pub(super) async fn finish(&self) {
        let provider = self.provider.clone();
        blocking("export of the last spans", move || {
            // A failure has been logged by the sender.
            let _ = provider.shutdown_with_timeout(FINISH);
        })
        .await;
    }
}

fn within(parent: Option<TraceParent>) -> Context {
    let Some(TraceParent { trace_id, span_id, is_sampled }) = parent else {
        return Context::new();
    };
    let flags = if is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace_id, span_id) = (TraceId::from(trace_id), SpanId::from(span_id));
    let parent = SpanContext::new(trace_id, span_id, flags, true, TraceState::default());
    Context::new().with_remote_span_context(parent)
}

/// A span as the parent of others.
pub(super) fn context(span: &Span) -> TraceParent {
    let context = span.span_context();
    TraceParent {
        trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(context.span_id().to_bytes()),
        is_sampled: context.is_sampled(),
    }
}

pub(super) fn set(span: &mut Span, name: &'static str, value: String) {
    span.set_attribute(KeyValue::new(name, value));
}

pub(super) fn fail(span: &mut Span, reason: String) {
    span.set_status(Status::error(reason));
}

/// Sends the requests of the exporter in the runtime.
struct SpanSender {
    client: HttpsClient,
    runtime: Handle,
    /// Whether the last request failed, so that only the first of many failures is logged.
    is_failing: AtomicBool,
}

impl fmt::Debug for SpanSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpanSender")
    }
}

#[async_trait::async_trait]
impl ExportClient for SpanSender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The thread of the exporter has no timers.
        let sending = send(self.client.clone(), request);
        let sending = self.runtime.spawn(async { timeout(EXPORT, sending).await });
        let result = match sending.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(format!("the endpoint did not answer within {EXPORT:?}").into()),
            Err(error) => Err(error.into()),
        };
        let failure = match &result {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("the endpoint responded with {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        let was_failing = self.is_failing.swap(failure.is_some(), Relaxed);
        match failure {
            Some(error) if !was_failing => {
                warn!(error, "spans not exported; those beyond the queue are dropped");
            }
            None if was_failing => info!("spans exported again"),
            _ => {}
        }
        result
    }
}

async fn send(client: HttpsClient, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let response = client.get().await.request(request.map(Full::new)).await?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, RESPONSE_BYTES).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}
