//! Connect webhooks: a project's server decides on each connection before it is created.

use std::time::Duration;

use serde_json::json;
use signalbox_client::{CloseReason, ConnectError, ConnectOptions, Role};
use signalbox_gateway::{Config, ConnectWebhookConfig};
use signalbox_protocol::ClientMessage;
use signalbox_tests::{
    Member, OTHER_PROJECT, PROJECT, TransportMode, World,
    endpoint::{Endpoint, Posted, Reply},
    new_session,
    ops::{Scrape, with_ops},
    raw::{
        WebSocket, hello,
        opentok::{PREFIX, Page},
        resume, ticket_in,
    },
    rest::Server,
    token, token_for,
};

use crate::{
    revocations::revoke,
    webhooks::{signing_secret, verify},
};

const HOUR: Duration = Duration::from_secs(3600);
const ALLOW: &str = r#"{"allow":true}"#;

fn webhook(url: &str) -> ConnectWebhookConfig {
    ConnectWebhookConfig::new(url, signing_secret())
}

async fn server() -> Endpoint {
    Endpoint::at("/connect?a=b").await
}

async fn world_with(server: &Endpoint, change: impl FnOnce(&mut Config)) -> World {
    World::with(|config| {
        config.projects[0].connect_webhook = Some(webhook(&server.url));
        change(config);
    })
    .await
}

/// The refusal of a client: its reason and its text.
fn refusal(joined: Result<Member, ConnectError>) -> (CloseReason, String) {
    match joined {
        Err(ConnectError::Refused { reason, message }) => (reason, message),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was let in"),
    }
}

/// Joins while the server answers so.
async fn join(
    world: &World,
    server: &mut Endpoint,
    transport: TransportMode,
    reply: impl Into<Reply>,
) -> (Result<Member, ConnectError>, Posted) {
    let options = world.options(transport, Role::Publisher);
    tokio::join!(world.try_join(&options), server.next(reply))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_allows_or_denies_over_every_transport() {
    let mut server = server().await;
    let world = world_with(&server, |_| {}).await;
    for transport in TransportMode::ALL {
        let token = token_for(PROJECT, world.session(), Role::Moderator, "name=alice", HOUR);
        let options = ConnectOptions::new(world.url(transport), token).rejoin(false);
        let options = transport.options(options);
        let (joined, posted) = tokio::join!(world.try_join(&options), server.next(ALLOW));
        let member = joined.unwrap();
        verify(&posted);
        let json = posted.json();
        assert_eq!(json["event"], "connectionRequested");
        assert_eq!(json["projectId"], PROJECT.0);
        assert_eq!(json["sessionId"], world.session().as_str());
        assert_eq!(json["connection"]["id"], member.id().to_string());
        assert_eq!(json["connection"]["data"], "name=alice");
        assert_eq!(json["role"], "moderator");
        assert_eq!(json["address"], "127.0.0.1");
        let name = match transport {
            TransportMode::Quic | TransportMode::QuicSingleStream => "quic",
            TransportMode::WebTransport => "webtransport",
            _ => "websocket",
        };
        assert_eq!(json["transport"], name);
        assert!(json["tokenId"].is_string() && json["timestamp"].is_u64(), "{json}");
        let denial = r#"{"allow":false,"reason":"banned\nuntil May"}"#;
        let (joined, again) = join(&world, &mut server, transport, denial).await;
        assert_ne!(again.headers["webhook-id"], posted.headers["webhook-id"]);
        let (reason, text) = refusal(joined);
        assert_eq!(reason, CloseReason::ForceDisconnected);
        assert_eq!(text, "the project's server has refused the connection: banneduntil May");
        member.client.disconnect().await;
        world.is_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_with_the_vendors_sdk_are_asked_about_too() {
    let mut server = server().await;
    let world = world_with(&server, |config| config.opentok_js.prefix = Some(PREFIX.into())).await;
    let page = Page::new(&world, world.token(Role::Publisher));
    let mut link = page.connect().await;
    link.send(page.create("first")).await;
    server.next(r#"{"allow":false,"reason":"banned"}"#).await;
    let text = "the project's server has refused the connection: banned".to_owned();
    assert_eq!(link.answer("first").await, ("403".to_owned(), Some(text)));
    let page = Page::new(&world, world.token(Role::Publisher));
    let (mut link, posted) = tokio::join!(page.join(), server.next(ALLOW));
    let json = posted.json();
    assert_eq!(json["connection"]["id"], page.id.to_string());
    link.send(page.signal("signal", "hello")).await;
    assert_eq!(link.hear().await, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_good_answer_nobody_joins_and_the_client_may_come_back() {
    let mut server = server().await;
    let world = world_with(&server, |config| {
        config.projects[0].connect_webhook.as_mut().unwrap().timeout_ms = 100;
    })
    .await;
    let oversized = format!(r#"{{"allow":true,"x":"{}"}}"#, "x".repeat(5000));
    let created = Reply { status: 201, ..ALLOW.into() };
    let replies: [Reply; 8] = [
        500.into(),
        403.into(),
        created,
        Reply::unfinished(ALLOW),
        "garbage".into(),
        "{}".into(),
        r#"{"allow":"true"}"#.into(),
        oversized.as_str().into(),
    ];
    for (number, reply) in replies.into_iter().enumerate() {
        let (joined, _) = join(&world, &mut server, TransportMode::WebSocketJson, reply).await;
        let (reason, text) = refusal(joined);
        assert_eq!(reason, CloseReason::InternalError, "{number}");
        assert!(reason.come_back().is_some());
        assert!(text.contains("server, and not the client, is at fault"), "{number}: {text}");
    }
    // A server that does not answer.
    let options = world.options(TransportMode::Quic, Role::Publisher);
    let (joined, held) = tokio::join!(world.try_join(&options), server.hold());
    let (reason, text) = refusal(joined);
    assert_eq!(reason, CloseReason::InternalError);
    assert!(text.contains("it has not answered in time"), "{text}");
    drop(held);
    world.is_empty().await;
    join(&world, &mut server, TransportMode::Quic, ALLOW).await.0.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_turns_the_question_on_and_off() {
    let mut server = server().await;
    let mut world = World::new().await;
    world.join(TransportMode::Quic, Role::Publisher).await;
    // No server listens there.
    let down = webhook("http://127.0.0.1:1");
    world.reload(|config| config.projects[0].connect_webhook = Some(down)).unwrap();
    let options = world.options(TransportMode::Quic, Role::Publisher);
    let (reason, text) = refusal(world.try_join(&options).await);
    assert_eq!(reason, CloseReason::InternalError);
    assert!(text.contains("it cannot be reached") && !text.contains("127.0.0.1"), "{text}");
    let url = server.url.clone();
    world.change_projects(|it| it[0].connect_webhook = Some(webhook(&url))).unwrap();
    join(&world, &mut server, TransportMode::Quic, ALLOW).await.0.unwrap();
    // Other projects have no webhook.
    let token = token(OTHER_PROJECT, &new_session(OTHER_PROJECT.0), Role::Publisher, HOUR);
    world.try_join(&ConnectOptions::new(world.url(TransportMode::Quic), token)).await.unwrap();
    let slow = world.reload(|config| {
        config.projects[0].connect_webhook.as_mut().unwrap().timeout_ms = 5000;
    });
    assert_eq!(slow.unwrap_err()[0].setting, "projects.0.connect_webhook.timeout_ms");
    world.reload(|config| config.projects[0].connect_webhook = None).unwrap();
    world.join(TransportMode::Quic, Role::Publisher).await;
    assert!(server.posted.try_recv().is_err(), "nobody is asked about");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resumes_is_not_asked_about_and_neither_is_an_invalid_token() {
    let mut server = server().await;
    let world = world_with(&server, |_| {}).await;
    let (tcp, token) = (world.addresses().tcp, world.token(Role::Publisher));
    let joining = WebSocket::join_resumable(tcp, true, &token);
    let (mut link, _) = tokio::join!(joining, server.next(ALLOW));
    let ticket = ticket_in(&link.hear().await);
    drop(link);
    let mut link = WebSocket::connect(tcp, true).await;
    link.say(&resume(&ticket)).await;
    assert!(link.hear().await.starts_with("Resumed"));
    let forged = ("12345678", "another secret");
    let token = signalbox_tests::token(forged, world.session(), Role::Publisher, HOUR);
    let mut stranger = WebSocket::connect(tcp, true).await;
    stranger.say(&hello(&token)).await;
    assert_eq!(stranger.end().await.0, Some(CloseReason::InvalidToken));
    assert!(server.posted.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_takes_no_permit_and_delays_no_other_project() {
    let mut server = server().await;
    let world = world_with(&server, |config| {
        with_ops(config);
        config.limits.pending_handshakes = 4;
        config.timeouts.hello_ms = 1000;
        let webhook = config.projects[0].connect_webhook.as_mut().unwrap();
        (webhook.max_waiting, webhook.timeout_ms) = (8, 4000);
    })
    .await;
    let tcp = world.addresses().tcp;
    let token = world.token(Role::Publisher);
    // Twice as many clients as there are permits wait for the server.
    let (mut waiting, mut held) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let mut link = WebSocket::connect(tcp, true).await;
        link.say(&hello(&token)).await;
        held.push(server.hold().await.1);
        waiting.push(link);
    }
    let project = format!("project=\"{}\"", PROJECT.0);
    let scrape = Scrape::of(&world).await;
    assert_eq!(scrape.sum("signalbox_connect_waiting_clients", &[&project]), 8.0);
    // One more is refused at once, and may come back.
    let mut crowded = WebSocket::connect(tcp, true).await;
    crowded.say(&hello(&token)).await;
    crowded.say(&ClientMessage::Goodbye { signals: 0 }).await;
    assert_eq!(crowded.end().await.0, Some(CloseReason::ConnectionLimit));
    // Clients of another project find permits.
    for mode in [TransportMode::WebSocketJson, TransportMode::WebSocketPostcard] {
        let session = new_session(OTHER_PROJECT.0);
        let token = signalbox_tests::token(OTHER_PROJECT, &session, Role::Publisher, HOUR);
        let options = mode.options(ConnectOptions::new(world.url(mode), token));
        world.try_join(&options).await.unwrap();
    }
    // The time of the server is not that of the clients' hellos, which has passed for one that came
    // later.
    let silent = WebSocket::connect(tcp, true).await;
    assert_eq!(silent.end().await.0, Some(CloseReason::HelloTimeout));
    for answer in held {
        answer.send(ALLOW.into()).await.unwrap();
    }
    for link in &mut waiting {
        let welcome = link.hear().await;
        assert!(welcome.starts_with("Welcome"), "{welcome}");
    }
    let scrape = Scrape::of(&world).await;
    let result = |name: &str| format!("result=\"{name}\"");
    let count =
        |name: &str| scrape.sum("signalbox_connect_requests_total", &[&project, &result(name)]);
    assert_eq!((count("allowed"), count("crowded")), (8.0, 1.0));
    assert_eq!(scrape.sum("signalbox_connect_request_duration_seconds_count", &[&project]), 8.0);
    assert_eq!(scrape.sum("signalbox_connect_waiting_clients", &[&project]), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_the_server_is_asked_counts() {
    let mut server = server().await;
    let world = world_with(&server, |config| {
        config.limits.connections = 1;
        config.projects[0].connect_webhook.as_mut().unwrap().timeout_ms = 4000;
    })
    .await;
    let (mut links, mut held) = (Vec::new(), Vec::new());
    for user in ["alice", "bob", "carol"] {
        let mut link = WebSocket::connect(world.addresses().tcp, true).await;
        let token = token_for(PROJECT, world.session(), Role::Publisher, user, HOUR);
        link.say(&hello(&token)).await;
        held.push(server.hold().await.1);
        links.push(link);
    }
    revoke(&mut Server::of(&world).await, json!({"connectionData": "alice"})).await;
    let mut allowed = links.into_iter().zip(held);
    let mut next = async || {
        let (link, answer) = allowed.next().unwrap();
        answer.send(ALLOW.into()).await.unwrap();
        link
    };
    assert_eq!(next().await.end().await.0, Some(CloseReason::InvalidToken));
    let mut bob = next().await;
    assert!(bob.hear().await.starts_with("Welcome"));
    assert_eq!(next().await.end().await.0, Some(CloseReason::ConnectionLimit), "it is full");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_does_not_wait_for_the_server() {
    let mut server = server().await;
    let mut world = world_with(&server, |config| {
        with_ops(config);
        config.drain.spread_ms = 60_000;
        config.drain.timeout_ms = 61_000;
        config.projects[0].connect_webhook.as_mut().unwrap().timeout_ms = 4000;
    })
    .await;
    let tcp = world.addresses().tcp;
    // The gateway drains, and can be asked for its counts, until this client of another project leaves.
    let other = token(OTHER_PROJECT, &new_session(OTHER_PROJECT.0), Role::Publisher, HOUR);
    let mut last = WebSocket::join(tcp, true, &other).await;
    let mut link = WebSocket::connect(tcp, true).await;
    link.say(&hello(&world.token(Role::Publisher))).await;
    let (_, answer) = server.hold().await;
    world.tell_to_stop();
    assert_eq!(link.end().await.0, Some(CloseReason::ShuttingDown));
    let scrape = Scrape::of(&world).await;
    assert_eq!(scrape.sum("signalbox_connect_waiting_clients", &[]), 0.0);
    // A request that had come to its own end would be counted.
    assert_eq!(scrape.sum("signalbox_connect_requests_total", &[]), 0.0);
    last.say(&ClientMessage::Goodbye { signals: 0 }).await;
    world.is_done().await;
    drop(answer);
}
