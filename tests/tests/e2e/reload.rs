//! Reload: a changed configuration is in effect without a restart, or nothing of it is.

use signalbox_certs::DevAuthority;
use signalbox_client::{CloseReason, ConnectError, ConnectOptions, Event, Role};
use signalbox_gateway::{Config, LimitsConfig};
use signalbox_tests::{
    PROJECT, TransportMode, World,
    ops::{ask_ops, get_ops, with_ops},
    raw::{WebSocket, served_leaf},
    rest::ask,
    token_for,
};

const TOKEN: &str = "0123456789abcdef";

/// A change of a configuration.
type Edit = fn(&mut Config);

/// The reason for which a client cannot join.
async fn refusal(world: &World) -> Option<CloseReason> {
    let joined =
        world.try_join(&world.options(TransportMode::WebSocketJson, Role::Publisher)).await;
    match joined {
        Ok(member) => {
            member.client.disconnect().await;
            None
        }
        Err(ConnectError::Refused { reason, .. }) => Some(reason),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_change_at_once_and_members_stay() {
    let mut world = World::new().await;
    let mut member = world.join(TransportMode::Quic, Role::Publisher).await;
    let full = Some(CloseReason::ConnectionLimit);
    let limits: [Edit; 3] = [
        |config| config.limits.connections = 1,
        |config| config.limits.connections_per_session = 1,
        |config| config.limits.connections_per_project = 1,
    ];
    for limit in limits {
        assert_eq!(refusal(&world).await, None);
        world.reload(limit).unwrap();
        assert_eq!(refusal(&world).await, full);
        let defaults = LimitsConfig::default();
        world.reload(|config| config.limits = defaults).unwrap();
    }
    member.say("still here").await;
    loop {
        if let Event::Signal { data, .. } = member.next().await {
            assert_eq!(data.as_deref(), Some("still here"));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_a_user_changes_at_once_for_one_project_or_all() {
    let mut world = World::new().await;
    let join = async |world: &World| {
        let hour = std::time::Duration::from_secs(3600);
        let token = token_for(PROJECT, world.session(), Role::Publisher, "alice", hour);
        let url = world.url(TransportMode::WebSocketJson);
        match world.try_join(&ConnectOptions::new(url, token)).await {
            Ok(member) => Ok(member),
            Err(ConnectError::Refused { reason, .. }) => Err(reason),
            Err(other) => panic!("{other:?}"),
        }
    };
    let full = Some(CloseReason::ConnectionLimit);
    let mut members = vec![join(&world).await.unwrap(), join(&world).await.unwrap()];
    world.reload(|config| config.limits.connections_per_user = 2).unwrap();
    assert_eq!(join(&world).await.err(), full);
    world.reload(|config| config.projects[0].limits.connections_per_user = Some(3)).unwrap();
    members.push(join(&world).await.unwrap());
    assert_eq!(join(&world).await.err(), full);
    world.reload(|config| config.projects[0].limits.connections_per_user = Some(0)).unwrap();
    members.push(join(&world).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_connections_get_the_settings_of_the_time() {
    let mut world = World::with(|config| config.timeouts.idle_ms = 20_000).await;
    for transport in [TransportMode::Quic, TransportMode::WebSocketPostcard] {
        let before = world.join(transport, Role::Publisher).await;
        let idle = before.client.limits().idle_timeout_ms + 1000;
        world
            .reload(|config| {
                config.timeouts.idle_ms = idle;
                config.limits.signals_per_second_per_connection = idle;
                config.resume.gateways = vec![format!("quic://gw-{idle}.example.com")];
            })
            .unwrap();
        let after = world.join(transport, Role::Publisher).await;
        let limits = after.client.limits();
        assert_eq!((limits.idle_timeout_ms, limits.signals_per_second), (idle, idle));
        assert_eq!(after.client.gateways(), [format!("quic://gw-{idle}.example.com")]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_origins_and_certificates_change() {
    let mut world = World::new().await;
    let request = "GET /sdk/x/project/100/config.json HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n\r\n";
    assert_eq!(ask(&world, request).await.status, 404);
    world.reload(|config| config.opentok_js.prefix = Some("/sdk".into())).unwrap();
    let answer = ask(&world, request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    world.reload(|config| config.auth.allowed_origins = vec!["https://b.example".into()]).unwrap();
    assert_eq!(ask(&world, request).await.header("access-control-allow-origin"), None);
    world.reload(|config| config.opentok_js.prefix = None).unwrap();
    assert_eq!(ask(&world, request).await.status, 404);

    let dir = tempfile::tempdir().unwrap();
    let other = DevAuthority::open(dir.path(), std::time::SystemTime::now()).unwrap();
    world
        .reload(|config| {
            config.tls.certificate = Some(other.certificate_path().to_owned());
            config.tls.key = Some(other.key_path().to_owned());
        })
        .unwrap();
    served_leaf(world.addresses().quic, "localhost", other.ca_pem().as_bytes()).await;
    let joined = world.try_join(&world.options(TransportMode::Quic, Role::Publisher)).await;
    assert!(joined.is_err(), "it does not trust this one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_configuration_changes_nothing() {
    let mut world = World::with(with_ops).await;
    let before = get_ops(&world, "/config").await.json();
    let mistakes: [(&str, Edit); 4] = [
        ("auth.allowed_origins.0", |config| config.auth.allowed_origins = vec!["x".into()]),
        ("projects.1.key", |config| config.projects.insert(1, config.projects[0].clone())),
        ("tls.key", |config| config.tls.key = Some("no/such.key".into())),
        ("process.threads", |config| config.process.threads = 0),
    ];
    for (setting, wrong) in mistakes {
        let problems = world.reload(|config| {
            config.limits.connections = 1;
            wrong(config);
        });
        let settings: Vec<_> = problems.unwrap_err().into_iter().map(|it| it.setting).collect();
        assert_eq!(settings, [setting]);
    }
    assert_eq!(get_ops(&world, "/config").await.json(), before);
    let _member = world.join(TransportMode::Quic, Role::Publisher).await;
    assert_eq!(refusal(&world).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_need_a_restart_are_named_and_kept() {
    let mut world = World::with(with_ops).await;
    world
        .reload(|config| {
            config.process.threads = 7;
            config.limits.outbox_frames = 77;
        })
        .unwrap();
    let report = get_ops(&world, "/config").await.json();
    assert_eq!(report["settings"]["limits"]["outbox_frames"], 77);
    assert_eq!(report["settings"]["process"]["threads"], 1);
    let change = serde_json::json!({
        "setting": "process.threads", "from": 1, "to": 7, "effect": "restart"
    });
    assert_eq!(report["awaitingRestart"], serde_json::json!([change]));
    world.reload(|config| config.process.threads = 1).unwrap();
    let report = get_ops(&world, "/config").await.json();
    assert_eq!(report["awaitingRestart"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_operations_changes_and_cannot_be_removed_where_others_reach_it() {
    let mut world = World::with(|config| {
        config.ops.listen = Some(([0, 0, 0, 0], 0).into());
        config.ops.token = Some(TOKEN.to_owned().into());
    })
    .await;
    let status = async |world: &World, token: &str| {
        let bearer = format!("Authorization: Bearer {token}\r\n");
        ask_ops(world, "GET", "/config", &bearer, "").await.status
    };
    let other = TOKEN.to_uppercase();
    world.reload(|config| config.ops.token = Some(other.clone().into())).unwrap();
    assert_eq!([status(&world, TOKEN).await, status(&world, &other).await], [401, 200]);
    // The file is valid, but the address stays until a restart.
    let problems = world.reload(|config| {
        config.ops.listen = Some(([127, 0, 0, 1], 0).into());
        config.ops.token = None;
    });
    assert_eq!(problems.unwrap_err()[0].setting, "ops.listen");
    assert_eq!(status(&world, &other).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_a_drain_is_that_of_its_begin() {
    let mut world = World::with(|config| {
        config.drain.spread_ms = 600_000;
        config.drain.timeout_ms = 601_000;
    })
    .await;
    let token = world.token(Role::Publisher);
    let member = WebSocket::join(world.addresses().tcp, true, &token).await;
    world.reload(|config| config.drain.spread_ms = 0).unwrap();
    world.tell_to_stop();
    assert_eq!(member.end().await.0, Some(CloseReason::ShuttingDown));
}
