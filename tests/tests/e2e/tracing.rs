//! Traces: spans with their parents, as a collector receives them over OTLP.

use std::time::Instant;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use signalbox_client::Role;
use signalbox_gateway::WebhookConfig;
use signalbox_tests::{
    PROJECT, TIMEOUT, TransportMode, World,
    background::BackgroundTraffic,
    credential,
    endpoint::Endpoint,
    raw::{Quic, WebSocket, hello, resume, ticket_in},
    rest::{Answer, ask, session_path},
};

use super::resume_messages::hear_until;

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

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|it| it.key == key);
    let value = found.unwrap_or_else(|| panic!("no {key}: {span:?}")).value.clone().unwrap();
    match value.value.unwrap() {
        opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_of_a_server_is_traced_from_its_request_to_its_deliveries() {
    let mut collector = Collector::new().await;
    let world = collector.world().await;
    let mut members = Vec::new();
    for transport in [TransportMode::Quic, TransportMode::WebSocketJson] {
        members.push(world.join(transport, Role::Subscriber).await);
    }
    let body = r#"{"type":"news","data":"hello"}"#;
    members[0].sees_created().await;
    members[1].sees_present().await;
    // The callers of these do not record their traces.
    for _ in 0..20 {
        assert_eq!(request(&world, "POST", "/signal", body, "00").await.status, 204);
        for member in &mut members {
            assert_eq!(member.hear_data().await, "hello");
        }
    }
    assert_eq!(request(&world, "POST", "/signal", body, "01").await.status, 204);
    let name = "POST /v2/project/{project}/session/{session}/signal";
    let signal = collector.span(name).await;
    assert_eq!((hex(&signal.trace_id), hex(&signal.parent_span_id)), (TRACE.into(), CALLER.into()));
    assert_eq!(signal.kind(), SpanKind::Server);
    assert_eq!(attribute(&signal, "http.response.status_code"), "204");
    let mut transports = Vec::new();
    for delivery in collector.spans("signal delivery", 2).await {
        assert_eq!(delivery.trace_id, signal.trace_id);
        assert_eq!(delivery.parent_span_id, signal.span_id);
        assert!(delivery.start_time_unix_nano <= delivery.end_time_unix_nano);
        transports.push(attribute(&delivery, "signalbox.transport"));
    }
    transports.sort();
    assert_eq!(transports, ["quic", "websocket"]);
    let joins = collector.spans("join", 2).await;
    assert_ne!(joins[0].trace_id, joins[1].trace_id);
    for join in joins {
        assert_eq!(attribute(&join, "signalbox.session"), world.session().as_str());
        assert!(join.parent_span_id.is_empty(), "{join:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_join_and_a_resume_are_spans() {
    let mut collector = Collector::new().await;
    let world = collector.world().await;
    let mut refused = Quic::connect(world.addresses().quic).await;
    refused.say(&hello("no token")).await;
    let join = collector.span("join").await;
    let status = join.status.clone().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "invalidToken"));
    let mut refused = Quic::connect(world.addresses().quic).await;
    refused.say(&resume("no ticket")).await;
    let refused = collector.span("resume").await.status.unwrap();
    assert_eq!((refused.code(), refused.message.as_str()), (StatusCode::Error, "invalidTicket"));
    let token = world.token(Role::Publisher);
    let mut link = WebSocket::join_resumable(world.addresses().tcp, false, &token).await;
    let ticket = ticket_in(&hear_until(&mut link, "Ticket").await);
    // Without a goodbye.
    drop(link);
    let mut link = Quic::connect(world.addresses().quic).await;
    link.say(&resume(&ticket)).await;
    let resumed = collector.spans("resume", 2).await.remove(1);
    let joined = collector.spans("join", 2).await;
    let id = attribute(&joined[1], "signalbox.connection");
    assert_eq!(attribute(&resumed, "signalbox.connection"), id);
    assert_eq!(attribute(&resumed, "signalbox.transport"), "quic");
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
