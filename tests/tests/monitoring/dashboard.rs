//! The dashboard for Grafana: a Prometheus that scrapes busy gateways answers each of its queries.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use signalbox_client::{Event, Role};
use signalbox_gateway::{Config, WebhookConfig};
use signalbox_test_nats::NatsServer;
use signalbox_tests::{
    Member, TIMEOUT, TransportMode, World,
    ops::with_ops,
    raw::{Quic, WebSocket, hello, resume, signal},
    rest::Server,
};

use crate::{
    on_runtime,
    prometheus::{Prometheus, root},
};

/// A query of a panel, with the names of its series in the legend.
struct PanelQuery {
    panel: String,
    query: String,
    legend: String,
}

impl fmt::Display for PanelQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { panel, query, .. } = self;
        write!(f, "{panel}: {query}")
    }
}

pub(crate) fn every_query_has_an_answer() {
    on_runtime(async {
        let nats = NatsServer::start("").await;
        let (world, mut other) = (gateway("gw-1", &nats).await, gateway("gw-2", &nats).await);
        other.share_session(&world);
        let gateways = [&world, &other].map(|gateway| gateway.addresses().ops.unwrap());
        let prometheus = Prometheus::start(&gateways);
        let mut traffic = Traffic::start(&world, &other).await;
        let dashboard = dashboard();
        let mut unanswered = queries(&dashboard);
        assert!(unanswered.len() > 60, "{}", unanswered.len());
        let answering = async {
            while !unanswered.is_empty() {
                traffic.flow(&world).await;
                for query in std::mem::take(&mut unanswered) {
                    if !is_answered(&prometheus, &query).await {
                        unanswered.push(query);
                    }
                }
            }
        };
        let in_time = tokio::time::timeout(TIMEOUT, answering).await;
        let unanswered: Vec<_> = unanswered.iter().map(PanelQuery::to_string).collect();
        assert!(in_time.is_ok(), "these have no answer: {unanswered:#?}");
        // What the list of gateways is filled with.
        let instance = &dashboard["templating"]["list"][1];
        assert_eq!(instance["query"]["query"], "label_values(signalbox_ready, instance)");
        let listed = prometheus.get("/api/v1/label/instance/values?match[]=signalbox_ready").await;
        let mut expected = gateways.map(|address| address.to_string());
        expected.sort();
        assert_eq!(listed, serde_json::json!(expected));
    });
}

/// A gateway of a cluster, with a webhook that fails.
async fn gateway(name: &'static str, nats: &NatsServer) -> World {
    let url = nats.url();
    World::with(move |config: &mut Config| {
        with_ops(config);
        config.name = name.parse().unwrap();
        config.cluster.servers = vec![url];
        config.limits.address.invalid_tokens_per_second = 0;
        let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
        let url = "http://127.0.0.1:9/hook".to_owned();
        config.projects[0].webhook = Some(WebhookConfig { url, secret });
    })
    .await
}

/// Clients on all transports, a server, and clients that do something wrong.
struct Traffic {
    members: Vec<Member>,
    server: Server,
}

impl Traffic {
    async fn start(world: &World, other: &World) -> Self {
        let mut members = vec![other.join(TransportMode::Quic, Role::Publisher).await];
        for mode in TransportMode::ALL {
            members.push(world.join(mode, Role::Publisher).await);
        }
        Self { members, server: Server::of(world).await }
    }

    async fn flow(&mut self, world: &World) {
        for member in &self.members {
            member.say("hello").await;
        }
        assert_eq!(self.server.signal(None, r#"{"data":"hello"}"#).await.status, 204);
        for member in &mut self.members {
            while !matches!(member.next().await, Event::Signal { .. }) {}
        }
        let addresses = world.addresses();
        let token = world.token(Role::Publisher);
        let mut talker = WebSocket::join(addresses.tcp, false, &token).await;
        talker.say(&signal(&"x".repeat(9000))).await;
        while !talker.hear().await.starts_with("Error") {}
        let mut stranger = WebSocket::connect(addresses.tcp, false).await;
        stranger.say(&hello("no token")).await;
        stranger.end().await;
        let mut late = Quic::connect(addresses.quic).await;
        late.say(&resume("no ticket")).await;
        late.end().await;
    }
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(root().join("deploy/grafana/signalbox.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The queries of all panels, with the values that Grafana puts in.
fn queries(dashboard: &Value) -> Vec<PanelQuery> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let queries = panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        targets.iter().map(|target| {
            let text = |name: &str| target[name].as_str().unwrap().to_owned();
            PanelQuery {
                panel: panel["title"].as_str().unwrap().to_owned(),
                query: text("expr").replace("$instance", ".*").replace("$__rate_interval", "5s"),
                legend: text("legendFormat"),
            }
        })
    });
    queries.collect()
}

/// Whether there is a number for each series, and a label for each name in its legend.
async fn is_answered(prometheus: &Prometheus, query: &PanelQuery) -> bool {
    assert!(!query.query.contains('$'), "an unknown variable: {query}");
    let series = prometheus.query(&query.query).await;
    for one in &series {
        for label in query.legend.split("{{").skip(1) {
            let label = label.split("}}").next().unwrap();
            assert!(one["metric"][label].is_string(), "no label {label}: {query}");
        }
    }
    // A quantile of nothing is NaN.
    series.iter().any(|one| one["value"][1] != "NaN")
}
