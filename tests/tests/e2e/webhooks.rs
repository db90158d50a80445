//! Webhooks: connection events are posted in order, retried and dropped within limits.

use std::time::Instant;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use signalbox_client::{CloseReason, Role};
use signalbox_gateway::WebhookConfig;
use signalbox_tests::{
    TIMEOUT, TransportMode, World,
    background::BackgroundTraffic,
    endpoint::{Endpoint, Posted, Reply},
};

const SECRET: [u8; 32] = [7; 32];

/// The secret as in the settings.
pub(crate) fn signing_secret() -> String {
    format!("whsec_{}", STANDARD.encode(SECRET))
}

/// Event and connection.
fn event(posted: &Posted) -> (String, String) {
    let json = posted.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&json["event"]), text(&json["connection"]["id"]))
}

/// An endpoint for webhooks.
struct Receiver(Endpoint);

impl Receiver {
    async fn new() -> Self {
        Self(Endpoint::at("/hooks?a=b").await)
    }

    fn setting(&self) -> Option<WebhookConfig> {
        Some(WebhookConfig { url: self.0.url.clone(), secret: signing_secret() })
    }

    /// The next event, answered so.
    async fn next(&mut self, reply: impl Into<Reply>) -> Posted {
        self.0.next(reply).await
    }
}

async fn world_with(endpoint: &Receiver) -> World {
    World::with(|config| config.projects[0].webhook = endpoint.setting()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_events_are_ordered_and_signed() {
    let mut endpoint = Receiver::new().await;
    let world = world_with(&endpoint).await;
    for transport in [TransportMode::Quic, TransportMode::WebSocketJson] {
        let member = world.join(transport, Role::Publisher).await;
        let id = member.id().to_string();
        let created = endpoint.next(200).await;
        assert_eq!(event(&created), ("connectionCreated".into(), id.clone()));
        let json = created.json();
        assert_eq!(json["sessionId"], world.session().as_str());
        assert_eq!(json["projectId"], signalbox_tests::PROJECT.0);
        assert_eq!(json["connection"]["createdAt"], member.client.connection().created_at);
        assert_eq!(json["connection"]["data"], "");
        assert!(json["timestamp"].as_u64() >= json["connection"]["createdAt"].as_u64());
        assert!(json.get("reason").is_none());
        verify(&created);
        member.client.disconnect().await;
        let destroyed = endpoint.next(204).await;
        assert_eq!(event(&destroyed), ("connectionDestroyed".into(), id));
        assert_eq!(destroyed.json()["reason"], "clientDisconnected");
        verify(&destroyed);
    }
}

/// Checks the signature as the standard says, with a MAC of the test's own.
pub(crate) fn verify(posted: &Posted) {
    let Posted { headers, body } = posted;
    let mut signed =
        format!("{}.{}.", headers["webhook-id"], headers["webhook-timestamp"]).into_bytes();
    signed.extend(body);
    let signature = headers["webhook-signature"].strip_prefix("v1,").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
    hmac::verify(&key, &signed, &STANDARD.decode(signature).unwrap()).unwrap();
    assert_eq!(headers["content-type"], "application/json");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_events_are_retried_before_the_next_ones() {
    let mut endpoint = Receiver::new().await;
    let world = world_with(&endpoint).await;
    let alice = world.join(TransportMode::Quic, Role::Publisher).await;
    let refused = endpoint.next(500).await;
    let bob = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    let moved = endpoint.next(302).await;
    let taken = endpoint.next(200).await;
    for posted in [&refused, &moved, &taken] {
        assert_eq!(event(posted).1, alice.id().to_string());
        assert_eq!(posted.headers["webhook-id"], refused.headers["webhook-id"]);
        assert_eq!(posted.body, refused.body);
        verify(posted);
    }
    let next = endpoint.next(Reply::unfinished("ok")).await;
    assert_eq!(event(&next).1, bob.id().to_string());
    bob.client.disconnect().await;
    let last = endpoint.next(200).await;
    assert_eq!(event(&last).0, "connectionDestroyed", "the status is what counts");
    assert_ne!(next.headers["webhook-id"], refused.headers["webhook-id"]);
    assert!(!next.headers.contains_key("signalbox-dropped"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_endpoint_delays_no_client_and_learns_of_dropped_events() {
    let mut endpoint = Receiver::new().await;
    let world = World::with(|config| {
        config.projects[0].webhook = endpoint.setting();
        // Room for three events or so.
        config.limits.webhook_queue_bytes = 1000;
    })
    .await;
    let background = BackgroundTraffic::start(&world).await;
    let (_, answer) = endpoint.0.hold().await;
    for _ in 0..10 {
        world.join(TransportMode::WebSocketJson, Role::Publisher).await.client.disconnect().await;
    }
    background.assert_undisturbed().await;
    world.is_empty().await;
    answer.send(200.into()).await.unwrap();
    let posted = endpoint.next(200).await;
    let dropped: u64 = posted.headers["signalbox-dropped"].parse().unwrap();
    assert!((10..=24).contains(&dropped), "{dropped}");
    let next = endpoint.next(200).await;
    assert!(!next.headers.contains_key("signalbox-dropped"), "told once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_events_are_posted_during_the_drain() {
    let mut endpoint = Receiver::new().await;
    let mut world = world_with(&endpoint).await;
    let mut member = world.join(TransportMode::Quic, Role::Publisher).await;
    endpoint.next(200).await;
    world.tell_to_stop();
    assert_eq!(member.loses_link().await, CloseReason::ShuttingDown);
    let mut stopped = std::pin::pin!(world.stop());
    // It takes the endpoint some seconds, far longer than the links, to accept it.
    for status in [500, 500, 500, 200] {
        let posted = tokio::select! {
            posted = endpoint.next(status) => posted,
            () = stopped.as_mut() => panic!("the gateway stopped while an event waited"),
        };
        assert_eq!(event(&posted), ("connectionDestroyed".into(), member.id().to_string()));
        assert_eq!(posted.json()["reason"], "networkDisconnected");
    }
    stopped.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_endpoint_holds_a_stop_no_longer_than_the_drain() {
    let mut endpoint = Receiver::new().await;
    let mut world = World::with(|config| {
        config.projects[0].webhook = endpoint.setting();
        config.drain.timeout_ms = 300;
    })
    .await;
    let member = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    let held = endpoint.0.hold().await;
    drop(member);
    let started = Instant::now();
    world.stop().await;
    assert!(started.elapsed() < TIMEOUT / 2, "not until the endpoint answers");
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_can_be_mended_and_removed_while_events_wait() {
    let mut endpoint = Receiver::new().await;
    let mut world = World::with(|config| {
        // No server listens there.
        let secret = format!("whsec_{}", STANDARD.encode(SECRET));
        config.projects[0].webhook =
            Some(WebhookConfig { url: "http://127.0.0.1:1".into(), secret });
    })
    .await;
    let member = world.join(TransportMode::Quic, Role::Publisher).await;
    let setting = endpoint.setting();
    assert_eq!(world.change_projects(|it| it[0].webhook = setting), Ok(true));
    let posted = endpoint.next(200).await;
    assert_eq!(event(&posted), ("connectionCreated".into(), member.id().to_string()));
    assert_eq!(world.change_projects(|it| it[0].webhook = None), Ok(true));
    drop(member);
    world.is_empty().await;
    assert!(endpoint.0.posted.try_recv().is_err());
}

/// Event and reason of the webhook after the restart of a gateway with a state file.
async fn after_a_restart(write_fails: bool) -> (String, String) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("directory/state");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let mut endpoint = Receiver::new().await;
    let webhook = endpoint.setting();
    let settings = |config: &mut signalbox_gateway::Config| {
        config.projects[0].webhook = webhook.clone();
        config.resume.state_file = Some(file.clone());
        config.resume.window_ms = 1000;
    };
    let mut first = World::with(settings).await;
    let alice = first.join(TransportMode::WebSocketJson, Role::Publisher).await;
    let created = endpoint.next(200).await;
    assert_eq!(event(&created).1, alice.id().to_string());
    if write_fails {
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
    let told = async {
        let json = endpoint.next(200).await.json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&json["event"]), text(&json["connection"]["id"]), text(&json["reason"]))
    };
    let (event, id, reason) = if write_fails {
        let (told, ()) = tokio::join!(told, first.stop());
        told
    } else {
        first.stop().await;
        let _second = World::with(settings).await;
        told.await
    };
    assert_eq!(id, alice.id().to_string());
    // Any other posted event would be here.
    assert!(endpoint.0.posted.try_recv().is_err());
    (event, reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_lost_in_a_restart_is_reported_once() {
    let told = after_a_restart(false).await;
    assert_eq!(told, ("connectionDestroyed".into(), "networkDisconnected".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_cannot_be_saved_are_reported() {
    let told = after_a_restart(true).await;
    assert_eq!(told, ("connectionDestroyed".into(), "networkDisconnected".into()));
}
