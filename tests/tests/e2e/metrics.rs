//! Each metric moves when its event happens, and nothing else becomes a label.

use std::{collections::BTreeSet, time::Duration};

use signalbox_client::{CloseReason, Event, Role};
use signalbox_gateway::{Config, ConnectWebhookConfig, WebhookConfig, metric_names};
use signalbox_netem::{LinkModel, LossModel, proxy::Targets};
use signalbox_tests::{
    PROJECT, TransportMode, World,
    ops::{Scrape, ask_ops, with_ops},
    proxy::Proxy,
    raw::{Quic, WebSocket, hello_with, resume, signal, ticket_in},
    rest::{Server, ask, request},
    within_timeout,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::webhooks::signing_secret;

/// Metrics that this file does not move: those of a cluster, which have a test of their own.
fn of_a_cluster(name: &str) -> bool {
    name.starts_with("signalbox_cluster_") || name.starts_with("signalbox_bus_")
}

fn webhook(url: String) -> Option<WebhookConfig> {
    Some(WebhookConfig { url, secret: signing_secret() })
}

async fn world_with(change: impl FnOnce(&mut Config)) -> World {
    World::with(|config| {
        with_ops(config);
        change(config);
    })
    .await
}

const QUIC: &str = "transport=\"quic\"";
const WEBSOCKET: &str = "transport=\"websocket\"";
const WEBTRANSPORT: &str = "transport=\"webtransport\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_is_exposed_under_its_declared_name() {
    let world = world_with(|config| {
        config.projects[0].webhook = webhook("http://127.0.0.1:9/".to_owned());
        let connect_webhook = ConnectWebhookConfig::new("http://127.0.0.1:9/", signing_secret());
        config.projects[0].connect_webhook = Some(connect_webhook);
    })
    .await;
    let mut server = Server::of(&world).await;
    server.ask("GET", "/connection", None).await;
    let scrape = Scrape::of(&world).await;
    let declared: BTreeSet<_> =
        metric_names().into_iter().filter(|name| !of_a_cluster(name)).collect();
    assert_eq!(scrape.names(), declared);
    let open = ask_ops(&world, "GET", "/metrics", "Accept: application/openmetrics-text\r\n", "");
    let open = open.await;
    assert_eq!(
        open.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(open.body.ends_with("# EOF\n") && open.body.contains("# UNIT "), "{}", open.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_links_and_signals_are_counted_by_transport() {
    let mut world = world_with(|_| {}).await;
    let before = Scrape::of(&world).await;
    assert_eq!(before.sum("signalbox_ready", &[]), 1.0);
    assert_eq!(before.sum("signalbox_projects", &[]), 2.0);
    for (mode, label) in [
        (TransportMode::Quic, QUIC),
        (TransportMode::WebTransport, WEBTRANSPORT),
        (TransportMode::WebSocketJson, WEBSOCKET),
    ] {
        let mut alice = world.join(mode, Role::Publisher).await;
        let mut bob = world.join(mode, Role::Publisher).await;
        let bob_is_here = alice.sees_created().await;
        bob.sees_present().await;
        for _ in 0..20 {
            alice.say("hello").await;
            assert_eq!(bob.hear_data().await, "hello");
            assert_eq!(alice.hear_data().await, "hello");
        }
        let scrape = Scrape::until(&world, "both links have written", |scrape| {
            // 40 signals and an event, and confirmations.
            scrape.sum("signalbox_frames_sent_total", &[label]) >= 41.0
        })
        .await;
        assert_eq!(bob_is_here, bob.id());
        let key = format!("project=\"{}\"", PROJECT.0);
        for (name, labels, value) in [
            ("signalbox_sessions", &[][..], 1.0),
            ("signalbox_project_sessions", &[&*key], 1.0),
            ("signalbox_project_connections", &[&*key], 2.0),
            ("signalbox_connections", &[label, "state=\"attached\""], 2.0),
            ("signalbox_links", &[label], 2.0),
            ("signalbox_links_opened_total", &[label], 2.0),
            ("signalbox_joins_total", &[label], 2.0),
            ("signalbox_signals_received_total", &[label], 20.0),
        ] {
            assert_eq!(scrape.sum(name, labels), value, "{name} {labels:?}");
        }
        // The first and the seventeenth signal of the session were measured, for both receivers. The
        // session has ended in between.
        assert_eq!(scrape.sum("signalbox_delivery_latency_seconds_count", &[label]), 4.0);
        Scrape::until(&world, "a round trip is known", |scrape| {
            scrape.sum("signalbox_link_rtt_seconds_count", &[label]) > 0.0
        })
        .await;
        assert!(scrape.sum("signalbox_received_bytes_total", &[label]) > 20.0 * 5.0);
        assert!(scrape.sum("signalbox_sent_bytes_total", &[label]) > 40.0 * 5.0);
        alice.client.disconnect().await;
        bob.client.disconnect().await;
        world.is_empty().await;
        let ended = ["reason=\"clientDisconnected\"", label];
        Scrape::until(&world, "the links have ended", |scrape| {
            scrape.sum("signalbox_links_ended_total", &ended) == 2.0
                && scrape.sum("signalbox_links", &[label]) == 0.0
        })
        .await;
    }
    let after = Scrape::of(&world).await;
    assert_eq!(after.sum("signalbox_deliveries_total", &[]), 3.0 * 40.0);
    for label in [QUIC, WEBTRANSPORT] {
        assert!(after.sum("signalbox_quic_packets_sent_total", &[label]) > 20.0);
    }
    for listener in ["listener=\"quic\"", "listener=\"tcp\""] {
        let completed = ["result=\"completed\"", listener];
        assert!(after.sum("signalbox_handshakes_total", &completed) >= 2.0, "{listener}");
    }
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_threads",
        "signalbox_link_threads",
    ] {
        assert!(after.sum(name, &[]) > 0.0, "{name}");
    }
    let now = signalbox_tests::unix_time().as_secs_f64();
    assert!(after.sum("process_start_time_seconds", &[]) < now);
    assert!(after.sum("signalbox_certificate_start_timestamp_seconds", &[]) < now);
    assert!(after.sum("signalbox_certificate_expiry_timestamp_seconds", &[]) > now);

    // Scrapes are answered while the gateway shuts down.
    let _member = world.join(TransportMode::Quic, Role::Publisher).await;
    world.tell_to_stop();
    Scrape::until(&world, "the gateway drains", |scrape| {
        scrape.sum("signalbox_draining", &[]) == 1.0 && scrape.sum("signalbox_ready", &[]) == 0.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejections_are_counted_by_cause_and_hostile_text_becomes_no_label() {
    let world = world_with(|_| {}).await;
    let hostile = "evil\"} 1\n";
    let mut link = WebSocket::connect(world.addresses().tcp, false).await;
    link.say(&hello_with(hostile, &[])).await;
    assert_eq!(link.end().await.0, Some(CloseReason::InvalidToken));
    let (key, _) = PROJECT;
    let session = world.session();
    let forged = signalbox_tests::token((key, "another secret"), session, Role::Publisher, HOUR);
    let mut link = WebSocket::connect(world.addresses().tcp, false).await;
    link.say(&hello_with(&forged, &[])).await;
    assert_eq!(link.end().await.0, Some(CloseReason::InvalidToken));
    let mut member =
        WebSocket::join(world.addresses().tcp, false, &world.token(Role::Publisher)).await;
    member.say(&signal(&"x".repeat(9000))).await;
    assert!(member.hear().await.starts_with("Error"));
    let mut server = Server::of(&world).await;
    assert_eq!(server.signal(None, r#"{"data":"from a server"}"#).await.status, 204);
    for path in ["/evil%22%7D", "/v2/project/evil/session/evil/signal", "/session/create"] {
        ask(&world, request("POST", path, "evil", None)).await;
    }
    ask(&world, "EVIL / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // No TLS.
    let mut garbage = TcpStream::connect(world.addresses().tcp).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _ = garbage.read_to_end(&mut Vec::new()).await;
    let scrape = Scrape::of(&world).await;
    for (name, labels, value) in [
        ("signalbox_tokens_rejected_total", ["kind=\"client\"", "cause=\"malformed\""], 1.0),
        ("signalbox_tokens_rejected_total", ["kind=\"client\"", "cause=\"signature\""], 1.0),
        ("signalbox_tokens_rejected_total", ["kind=\"credential\"", "cause=\"invalid\""], 2.0),
        ("signalbox_links_ended_total", ["reason=\"invalidToken\"", WEBSOCKET], 2.0),
        ("signalbox_signals_rejected_total", ["code=\"dataTooLong\"", ""], 1.0),
        ("signalbox_server_signals_total", ["", ""], 1.0),
        ("signalbox_http_requests_total", ["route=\"none\"", "status=\"404\""], 2.0),
        ("signalbox_http_requests_total", ["method=\"other\"", "route=\"none\""], 1.0),
        ("signalbox_http_requests_total", ["route=\"/session/create\"", "status=\"403\""], 1.0),
        ("signalbox_http_request_duration_seconds_count", ["route=\"/session/create\"", ""], 1.0),
        ("signalbox_handshakes_total", ["listener=\"tcp\"", "result=\"failed\""], 1.0),
    ] {
        assert_eq!(scrape.sum(name, &labels), value, "{name} {labels:?}\n{}", scrape.text);
    }
    assert!(!scrape.text.to_lowercase().contains("evil"), "{}", scrape.text);
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_fills_its_outbox_and_ends() {
    let world = world_with(|config| config.limits.outbox_bytes = 256 * 1024).await;
    let _silent = Quic::join(world.addresses().quic, &world.token(Role::Subscriber)).await;
    let mut talker = world.join(TransportMode::WebSocketPostcard, Role::Publisher).await;
    talker.sees_present().await;
    let words = "w".repeat(8000);
    let mut fullest: f64 = 0.0;
    let slow = [QUIC, "reason=\"slowConsumer\""];
    let filling = async {
        loop {
            talker.say(words.clone()).await;
            let Event::Signal { .. } = talker.next().await else { break };
            let scrape = Scrape::of(&world).await;
            let fill = scrape.sum("signalbox_outbox_fullest_ratio", &[QUIC]);
            if fill > 0.0 {
                assert!(scrape.sum("signalbox_outbox_frames", &[QUIC]) > 0.0);
                assert!(scrape.sum("signalbox_outbox_bytes", &[QUIC]) > 0.0);
            }
            fullest = fullest.max(fill);
        }
    };
    within_timeout("the outbox overflows", filling).await;
    assert!(fullest > 0.5 && fullest <= 1.0, "{fullest}");
    let ended = |scrape: &Scrape| scrape.sum("signalbox_links_ended_total", &slow) == 1.0;
    Scrape::until(&world, "the link has ended", ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admission_permits_and_refusals_are_counted() {
    let world = world_with(|config| {
        config.limits.pending_handshakes = 1;
        config.limits.address.links_per_second = 1;
    })
    .await;
    let _holds = TcpStream::connect(world.addresses().tcp).await.unwrap();
    let mut first = Quic::connect(world.addresses().quic).await;
    // Its stream is open, its hello incomplete.
    first.write(&[9]).await;
    let (tcp, quic) = (["listener=\"tcp\""], ["listener=\"quic\""]);
    let scrape = Scrape::until(&world, "both permits are in use", |scrape| {
        [tcp, quic].iter().all(|it| scrape.sum("signalbox_pending_clients", it) == 1.0)
    })
    .await;
    assert_eq!(scrape.sum("signalbox_pending_clients_limit", &quic), 1.0);
    let _waits = TcpStream::connect(world.addresses().tcp).await.unwrap();
    Scrape::until(&world, "a client waits", |scrape| {
        scrape.sum("signalbox_waiting_clients", &tcp) == 1.0
    })
    .await;
    // Its address must be validated, as the permit for those that are not is in use.
    let _second = Quic::connect(world.addresses().quic).await;
    let scrape = Scrape::of(&world).await;
    assert_eq!(scrape.sum("signalbox_quic_retries_total", &[]), 1.0);
    let refused = async {
        while Scrape::of(&world).await.sum("signalbox_clients_refused_total", &["cause=\"links\""])
            == 0.0
        {
            // A refused one may be reset at once.
            let _ = TcpStream::connect(world.addresses().tcp).await;
        }
    };
    within_timeout("the address has too many links", refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumption_is_counted() {
    let world = world_with(|config| {
        config.resume.history_bytes = 2000;
        config.timeouts.idle_ms = 1500;
    })
    .await;
    let token = world.token(Role::Publisher);
    let mut link = WebSocket::join_resumable(world.addresses().tcp, false, &token).await;
    let mut message = link.hear().await;
    while !message.starts_with("Ticket") {
        message = link.hear().await;
    }
    drop(link);
    Scrape::until(&world, "the connection is detached", |scrape| {
        scrape.sum("signalbox_connections", &["state=\"detached\"", WEBSOCKET]) == 1.0
    })
    .await;
    let mut talker = world.join(TransportMode::WebSocketPostcard, Role::Publisher).await;
    talker.sees_present().await;
    for _ in 0..10 {
        talker.say("x".repeat(1000)).await;
        talker.hear().await;
    }
    let mut quic = Quic::connect(world.addresses().quic).await;
    quic.say(&resume(&ticket_in(&message))).await;
    while !quic.hear().await.starts_with("Resumed") {}
    let scrape = Scrape::of(&world).await;
    assert_eq!(scrape.sum("signalbox_resumes_total", &[QUIC]), 1.0);
    assert_eq!(scrape.sum("signalbox_early_resumes_total", &[QUIC]), 0.0);
    assert_eq!(scrape.sum("signalbox_resume_gaps_total", &[]), 1.0, "the history is short");
    assert_eq!(scrape.sum("signalbox_replayed_frames_total", &[]), 1.0);
    assert!(scrape.sum("signalbox_replayed_bytes_total", &[]) > 1000.0);
    let mut quic = Quic::connect(world.addresses().quic).await;
    quic.say(&resume("garbage")).await;
    assert_eq!(quic.end().await.1, CloseReason::InvalidTicket);
    let scrape = Scrape::of(&world).await;
    let rejected = ["reason=\"invalidTicket\""];
    assert_eq!(scrape.sum("signalbox_resumes_rejected_total", &rejected), 1.0);
}

/// A client that resumes in its first packet, moves to another address, and loses packets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_of_quic_are_read_from_quic() {
    let world = world_with(|config| config.timeouts.idle_ms = 1500).await;
    let proxy = Proxy::new(&world).await;
    let options = signalbox_client::ConnectOptions::new(
        proxy.url(TransportMode::Quic),
        world.token(Role::Publisher),
    )
    .keep_alive(Duration::from_millis(300));
    let mut alice = world.try_join(&options).await.unwrap();
    proxy.cut_connections().await;
    while !matches!(alice.next().await, Event::SessionReconnected { .. }) {}
    Scrape::until(&world, "the resume in the first packet", |scrape| {
        scrape.sum("signalbox_early_resumes_total", &[QUIC]) == 1.0
    })
    .await;

    let direct = world.join(TransportMode::Quic, Role::Publisher).await;
    Scrape::of(&world).await;
    direct.client.rebind().unwrap();
    direct.say("from another address").await;
    Scrape::until(&world, "the migration", |scrape| {
        scrape.sum("signalbox_quic_migrations_total", &[QUIC]) == 1.0
    })
    .await;

    let targets = Targets { udp: world.addresses().quic, tcp: world.addresses().tcp };
    let lossy = LinkModel { loss: LossModel::Uniform(0.2), ..LinkModel::default() };
    let network =
        signalbox_netem::proxy::Proxy::start_with_links(targets, lossy, LinkModel::default(), 7);
    let network = network.await.unwrap();
    let url = format!("quic://{}", network.udp());
    let options = signalbox_client::ConnectOptions::new(url, world.token(Role::Publisher));
    let mut lossy = world.try_join(&options).await.unwrap();
    let losing = async {
        loop {
            lossy.say("again").await;
            while !matches!(lossy.next().await, Event::Signal { from, .. } if from.connection() == Some(lossy.id()))
            {
            }
            let scrape = Scrape::of(&world).await;
            if scrape.sum("signalbox_quic_packets_lost_total", &[QUIC]) > 0.0 {
                return;
            }
        }
    };
    within_timeout("a packet is lost", losing).await;
}

/// Answers each request with 200, one after the other.
async fn accept_all(socket: TcpListener) {
    while let Ok((mut stream, _)) = socket.accept().await {
        tokio::spawn(async move {
            let mut bytes = vec![0; 4096];
            while let Ok(1..) = stream.read(&mut bytes).await {
                let answer = b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_are_counted_by_project() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut world = world_with(|config| {
        config.limits.webhook_queue_bytes = 1000;
        config.projects[0].webhook = webhook("http://127.0.0.1:9/".to_owned());
    })
    .await;
    let project = format!("project=\"{}\"", PROJECT.0);
    let project = [&*project];
    for _ in 0..4 {
        world.join(TransportMode::WebSocketJson, Role::Publisher).await.client.disconnect().await;
    }
    let failing = Scrape::until(&world, "events are dropped, and an attempt fails", |scrape| {
        scrape.sum("signalbox_webhook_events_dropped_total", &project) > 0.0
            && scrape.sum("signalbox_webhook_attempts_failed_total", &project) > 0.0
    })
    .await;
    assert_eq!(failing.sum("signalbox_webhook_failing", &project), 1.0);
    assert!(failing.sum("signalbox_webhook_queued_events", &project) > 0.0);
    assert!(failing.sum("signalbox_webhook_queue_bytes", &project) > 0.0);
    tokio::spawn(accept_all(socket));
    world.change_projects(|it| it[0].webhook = webhook(format!("http://{address}/"))).unwrap();
    let recovered = Scrape::until(&world, "the queue is empty", |scrape| {
        scrape.sum("signalbox_webhook_queued_events", &project) == 0.0
    })
    .await;
    assert_eq!(recovered.sum("signalbox_webhook_failing", &project), 0.0);
    assert!(recovered.sum("signalbox_webhook_events_accepted_total", &project) > 0.0);
    // A project that is no longer configured is no label.
    world.change_projects(|projects| drop(projects.remove(0))).unwrap();
    let after = Scrape::until(&world, "the project is gone", |scrape| {
        scrape.sum("signalbox_projects", &[]) == 1.0
    })
    .await;
    assert!(!after.text.contains(project[0]), "{}", after.text);
}

/// Sixteen scrapers at a time, while clients talk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_scrapers_disturb_nobody() {
    let world = world_with(|_| {}).await;
    let traffic = signalbox_tests::background::BackgroundTraffic::start(&world).await;
    for _ in 0..10 {
        let scrapes = (0..16).map(|_| Scrape::of(&world));
        let scrapes = futures_util::future::join_all(scrapes);
        within_timeout("sixteen answers", scrapes).await;
    }
    traffic.assert_undisturbed().await;
}
