//! Monitoring with the real Prometheus: the format of the metrics, the alerts and their tests, the
//! queries of the dashboard, and a drill in which failures of a gateway fire the alerts that the
//! runbook explains.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's panic is its answer"
)]

mod dashboard;
mod drill;
mod prometheus;

use std::process::ExitCode;

use signalbox_client::Role;
use signalbox_gateway::{ConnectWebhookConfig, WebhookConfig};
use signalbox_test_harness::{Requirement, run, trials};
use signalbox_test_nats::NatsServer;
use signalbox_tests::{
    TransportMode, World, on_runtime,
    ops::{Scrape, with_ops},
    rest::Server,
};

const PROMETHEUS: Requirement = Requirement {
    name: "prometheus",
    unavailable: || {
        let missing = prometheus::is_missing() || NatsServer::is_missing();
        missing.then(|| "needs prometheus, promtool and nats-server".to_owned())
    },
};

const WEBHOOK_SECRET: &str = "whsec_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo";

/// The metrics of a gateway of a cluster that has served traffic.
fn promtool_accepts_the_metrics() {
    on_runtime(async {
        let nats = NatsServer::start("").await;
        let start = |name: &'static str| {
            let url = nats.url();
            World::with(move |config| {
                with_ops(config);
                config.name = name.parse().unwrap();
                config.cluster.servers = vec![url];
                // Of a project without clients.
                let (url, secret) = ("http://127.0.0.1:9/".to_owned(), WEBHOOK_SECRET.to_owned());
                let project = &mut config.projects[1];
                project.connect_webhook = Some(ConnectWebhookConfig::new(&url, &secret));
                project.webhook = Some(WebhookConfig { url, secret });
            })
        };
        let (world, _other) = (start("gw-1").await, start("gw-2").await);
        for mode in TransportMode::ALL {
            let mut member = world.join(mode, Role::Publisher).await;
            member.say("hello").await;
            assert_eq!(member.hear_data().await, "hello");
            member.client.disconnect().await;
        }
        Server::of(&world).await.ask("GET", "/connection", None).await;
        let scrape = Scrape::until(&world, "the other gateway is a peer", |scrape| {
            scrape.sum("signalbox_cluster_peers", &[]) == 1.0
                && scrape.sum("signalbox_cluster_settled", &[]) == 1.0
                && scrape.sum("signalbox_bus_rtt_seconds", &[]) > 0.0
        })
        .await;
        let peer = ["peer=\"gw-2\""];
        assert!(scrape.sum("signalbox_cluster_lease_age_seconds", &peer) < 2.0);
        assert!(scrape.sum("signalbox_cluster_channel_sent", &peer) > 0.0);
        assert!(scrape.sum("signalbox_bus_messages_total", &["event=\"published\""]) > 0.0);
        let declared = signalbox_gateway::metric_names();
        let missing: Vec<_> =
            declared.iter().filter(|name| !scrape.names().contains(*name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let said = prometheus::promtool(&["check", "metrics"], &scrape.text);
        assert_eq!(said, "", "promtool has nothing to say");
    });
}

fn promtool_accepts_the_alerts_and_their_tests() {
    prometheus::promtool(&["check", "rules", prometheus::ALERTS], "");
    prometheus::promtool(&["test", "rules", "deploy/prometheus/alerts.test.yml"], "");
}

fn main() -> ExitCode {
    run(trials![
        PROMETHEUS;
        promtool_accepts_the_metrics,
        promtool_accepts_the_alerts_and_their_tests,
        dashboard::every_query_has_an_answer,
        drill::a_healthy_gateway_fires_nothing,
        drill::a_slow_consumer,
        drill::a_certificate_that_expires_soon,
        drill::a_webhook_that_is_down,
        drill::a_lost_bus,
        drill::a_flood,
    ])
}
