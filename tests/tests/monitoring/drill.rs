//! The failure drill: each failure fires its alert, and the alert's section of the runbook names the
//! cause.

use std::{net::SocketAddr, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use signalbox_client::{Event, Role};
use signalbox_gateway::{Config, WebhookConfig};
use signalbox_test_nats::NatsServer;
use signalbox_tests::{TransportMode, World, ops::with_ops, raw::Quic, within_timeout};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::{
    on_runtime,
    prometheus::{Prometheus, root},
};

async fn world_with(change: impl FnOnce(&mut Config)) -> (World, Prometheus) {
    let world = World::with(|config| {
        with_ops(config);
        change(config);
    })
    .await;
    let ops: SocketAddr = world.addresses().ops.unwrap();
    let prometheus = Prometheus::start(&[ops]);
    let firing = prometheus.settled().await;
    assert!(firing.is_empty(), "before the failure: {firing:?}");
    (world, prometheus)
}

/// Waits for the alert, and checks that its section of the runbook says these words.
async fn leads_to(prometheus: &Prometheus, alert: &str, cause: &[&str]) {
    let firing = prometheus.fires(alert).await;
    let link = firing["annotations"]["runbook"].as_str().unwrap();
    assert_eq!(link, format!("docs/runbook.md#{}", alert.to_lowercase()));
    let runbook = std::fs::read_to_string(root().join("docs/runbook.md")).unwrap();
    let (_, section) = runbook.split_once(&format!("\n## {alert}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    // Lines are wrapped.
    let section = section.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in cause {
        assert!(section.contains(words), "{alert}: the runbook does not say {words:?}");
    }
}

pub(crate) fn a_healthy_gateway_fires_nothing() {
    on_runtime(async {
        let (world, prometheus) = world_with(|_| {}).await;
        let mut member = world.join(TransportMode::Quic, Role::Publisher).await;
        for _ in 0..100 {
            member.say("hello").await;
            member.hear().await;
        }
        member.client.disconnect().await;
        let firing = prometheus.settled().await;
        assert!(firing.is_empty(), "{firing:?}");
    });
}

pub(crate) fn a_slow_consumer() {
    on_runtime(async {
        let (world, prometheus) = world_with(|_| {}).await;
        let mut talker = world.join(TransportMode::WebSocketPostcard, Role::Publisher).await;
        let words = "w".repeat(8000);
        let failing = async {
            loop {
                let _silent =
                    Quic::join(world.addresses().quic, &world.token(Role::Subscriber)).await;
                loop {
                    talker.say(words.clone()).await;
                    if matches!(talker.next().await, Event::ConnectionDestroyed { .. }) {
                        break;
                    }
                }
            }
        };
        let cause =
            ["their outbox overflowed", "Is it one burst?", "link ended reason=slowConsumer"];
        tokio::select! {
            () = failing => {}
            () = leads_to(&prometheus, "SignalboxSlowConsumers", &cause) => {}
        }
    });
}

pub(crate) fn a_certificate_that_expires_soon() {
    on_runtime(async {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        // Of 90 days, 80 have passed: it begins in the past only for a clock that was set back.
        let made = Command::new("faketime")
            .args(["-f", "-80d", "openssl", "req", "-x509", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .arg("-keyout")
            .arg(path("key.pem"))
            .arg("-out")
            .arg(path("cert.pem"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let world = World::with(|config| {
            with_ops(config);
            config.tls.certificate = Some(path("cert.pem"));
            config.tls.key = Some(path("key.pem"));
        })
        .await;
        let prometheus = Prometheus::start(&[world.addresses().ops.unwrap()]);
        let cause = ["certificate reload failed", "The files have not been renewed"];
        leads_to(&prometheus, "SignalboxCertificateExpiresSoon", &cause).await;
    });
}

pub(crate) fn a_webhook_that_is_down() {
    on_runtime(async {
        // A port that nothing listens on.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (world, prometheus) = world_with(|config| {
            let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
            let url = format!("http://{closed}/hook");
            config.projects[0].webhook = Some(WebhookConfig { url, secret });
            config.limits.webhook_queue_bytes = 2000;
        })
        .await;
        for _ in 0..10 {
            let member = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
            member.client.disconnect().await;
        }
        let cause = ["`webhook failed` with the host and the error", "Is the endpoint up?"];
        leads_to(&prometheus, "SignalboxWebhookFailing", &cause).await;
    });
}

pub(crate) fn a_lost_bus() {
    on_runtime(async {
        let mut nats = NatsServer::start("").await;
        let url = nats.url();
        let (_world, prometheus) = world_with(move |config| {
            config.name = "gw-1".parse().unwrap();
            config.cluster.servers = vec![url];
        })
        .await;
        nats.kill().await;
        let cause = ["does not reach NATS", "signalbox cluster status", "NATS is down"];
        leads_to(&prometheus, "SignalboxBusLost", &cause).await;
        nats.restart().await;
        let recovering = async { while !prometheus.firing().await.is_empty() {} };
        within_timeout("the alert ends when NATS is back", recovering).await;
    });
}

/// TCP clients that connect and stay silent, from several addresses, and TLS handshakes that fail.
pub(crate) fn a_flood() {
    on_runtime(async {
        let (world, prometheus) = world_with(|config| config.limits.pending_handshakes = 20).await;
        let mut silent = Vec::new();
        for last in 1..=40 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, last], 0).into()).unwrap();
            silent.push(socket.connect(world.addresses().tcp).await.unwrap());
        }
        let cause = ["connect and stay silent", "limits.pending_handshakes"];
        leads_to(&prometheus, "SignalboxAdmissionSaturated", &cause).await;
        drop(silent);
        let garbage = async {
            loop {
                // Beyond the limit of their address they are reset at once.
                let stream = TcpStream::connect(world.addresses().tcp).await;
                let Ok(mut stream) = stream else { continue };
                let _ = stream.write_all(b"no TLS\r\n").await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        };
        let cause = ["TLS handshakes that fail", "Block those addresses"];
        tokio::select! {
            () = garbage => {}
            () = leads_to(&prometheus, "SignalboxFlood", &cause) => {}
        }
    });
}
