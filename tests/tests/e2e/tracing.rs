//! Traces: spans with their parents, as a collector receives them over OTLP.

use std::time::Instant;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;
use signalbox_client::Role;
use signalbox_gateway::WebhookConfig;
use signalbox_tests::{
    PROJECT, TIMEOUT, TransportMode, World,
    background::BackgroundTraffic,
    credential,
    endpoint::Endpoint,
    rest::{Answer, ask, session_path},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A collector of spans.
struct Collector {
    endpoint: Endpoint,
    spans: Vec<Span>,
}

impl Collector {
    async fn new() -> Self {
        Self { endpoint: Endpoint::at("/v1/traces").await, spans: Vec::new() }
    }

    async fn world(&self) -> World {
        World::with(|config| config.tracing.endpoint = Some(self.endpoint.url.clone())).await
    }

    /// Receives one request.
    async fn receive(&mut self) {
        let posted = self.endpoint.next(200).await;
        assert_eq!(posted.headers["content-type"], "application/x-protobuf");
        let request = ExportTraceServiceRequest::decode(&*posted.body).unwrap();
        for resource in request.resource_spans {
            let attributes = &resource.resource.unwrap().attributes;
            let name = attributes.iter().find(|it| it.key == "service.name").unwrap();
            assert!(format!("{name:?}").contains("\"signalbox\""), "{name:?}");
            self.spans.extend(resource.scope_spans.into_iter().flat_map(|it| it.spans));
        }
    }

    /// Receives until there are this many spans of this name, and returns them.
    async fn spans(&mut self, name: &str, count: usize) -> Vec<Span> {
        loop {
            let found: Vec<_> = self.spans.iter().filter(|it| it.name == name).cloned().collect();
            if found.len() >= count {
                assert_eq!(found.len(), count, "{found:?}");
                return found;
            }
            self.receive().await;
        }
    }

    /// The only span of this name.
    async fn span(&mut self, name: &str) -> Span {
        self.spans(name, 1).await.remove(0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A request of the project's server, with this flag of its trace.
async fn request(world: &World, method: &str, path: &str, body: &str, flag: &str) -> Answer {
    let (credential, session) = (credential(PROJECT), session_path(world));
    let request = format!(
        "{method} {session}{path} HTTP/1.1\r\nHost: x\r\nX-OPENTOK-AUTH: {credential}\r\n\
         traceparent: 00-{TRACE}-{CALLER}-{flag}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    ask(world, request).await
}

/// The `traceparent` of the webhook of a client that a server has disconnected.
async fn disconnected(world: &World, webhook: &mut Endpoint) -> String {
    let member = world.join(TransportMode::Quic, Role::Publisher).await;
    webhook.next(200).await;
    let path = format!("/connection/{}", member.id());
    assert_eq!(request(world, "DELETE", &path, "", "01").await.status, 204);
    webhook.next(200).await.headers.remove("traceparent").unwrap()
}

fn setting(webhook: &Endpoint) -> Option<WebhookConfig> {
    // 32 bytes in base64.
    let secret = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=".into();
    Some(WebhookConfig { url: webhook.url.clone(), secret })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_part_of_the_trace_that_has_caused_it() {
    let mut webhook = Endpoint::at("/hook").await;
    let mut collector = Collector::new().await;
    let world = World::with(|config| {
        config.tracing.endpoint = Some(collector.endpoint.url.clone());
        config.projects[0].webhook = setting(&webhook);
    })
    .await;
    let header = disconnected(&world, &mut webhook).await;
    // Of the join, and of the request.
    let posts = collector.spans("POST webhook", 2).await;
    let name = "DELETE /v2/project/{project}/session/{session}/connection/{connection}";
    let request = collector.span(name).await;
    let post = posts.iter().find(|it| it.trace_id == request.trace_id).unwrap();
    assert_eq!(post.parent_span_id, request.span_id);
    assert_eq!(post.kind(), SpanKind::Client);
    assert_eq!(header, format!("00-{TRACE}-{}-01", hex(&post.span_id)));
    let join = collector.span("join").await;
    let created = posts.iter().find(|it| it.trace_id == join.trace_id).unwrap();
    assert_eq!(created.parent_span_id, join.span_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_the_trace_of_a_caller_is_passed_on() {
    let mut webhook = Endpoint::at("/hook").await;
    let world = World::with(|config| config.projects[0].webhook = setting(&webhook)).await;
    let header = disconnected(&world, &mut webhook).await;
    assert_eq!(header, format!("00-{TRACE}-{CALLER}-01"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_delays_nobody() {
    let mut collector = Collector::new().await;
    let mut world = collector.world().await;
    let background = BackgroundTraffic::start(&world).await;
    let held = collector.endpoint.hold().await;
    // More spans than the queue holds.
    for _ in 0..50 {
        world.join(TransportMode::WebSocketJson, Role::Publisher).await.client.disconnect().await;
    }
    for _ in 0..100 {
        assert_eq!(request(&world, "GET", "/connection", "", "01").await.status, 200);
    }
    background.assert_undisturbed().await;
    let started = Instant::now();
    world.stop().await;
    assert!(started.elapsed() < TIMEOUT / 2, "{:?}", started.elapsed());
    drop(held);
}
