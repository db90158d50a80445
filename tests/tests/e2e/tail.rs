//! Live events: what followers see of connections, and what they do not.

use signalbox_client::Role;
use signalbox_tests::{
    TransportMode, World,
    ops::{Follower, get_ops, with_ops},
    raw::{WebSocket, resume, ticket_in},
    rest::Server,
    within_timeout,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_sees_a_session_from_join_to_leave_and_never_contents() {
    let world = World::with(|config| {
        with_ops(config);
        config.limits.signals_per_second_per_connection = 1;
    })
    .await;
    let mut follower = Follower::of(&world, &format!("session={}", world.session())).await;
    for transport in TransportMode::ALL {
        let member = world.join(transport, Role::Publisher).await;
        let joined = follower.next_of("joined").await;
        assert_eq!(joined["connection"], member.id().to_string());
        assert_eq!(joined["session"], world.session().as_str());
        assert_eq!(joined["role"], "publisher");
        member.client.signal().signal_type("chat").data("HUSH").enqueue().await.unwrap();
        let signal = follower.next_of("signal").await;
        assert_eq!(
            (&signal["seq"], &signal["type"], &signal["bytes"]),
            (&1.into(), &"chat".into(), &8.into())
        );
        assert_eq!(signal.get("data"), None);
        // More than a burst has.
        for _ in 0..20 {
            member.client.signal().data("HUSH").enqueue().await.unwrap();
        }
        let rejected = follower.next_of("rejected").await;
        assert_eq!((&rejected["code"], &rejected["bytes"]), (&"rateLimited".into(), &4.into()));
        member.client.disconnect().await;
        let left = follower.next_of("left").await;
        assert_eq!(left["reason"], "clientDisconnected");
    }
    let refused = get_ops(&world, "/tail?project=12345678&contents=true").await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("ops.contents"), "{refused:?}");
    assert_eq!(get_ops(&world, "/tail?session=x").await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_and_signals_of_servers_are_seen_if_a_setting_allows_it() {
    let mut world = World::with(|config| {
        with_ops(config);
        config.ops.contents = true;
    })
    .await;
    let mut member = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    let id = member.id();
    let mut follower = Follower::of(&world, &format!("connection={id}&contents=true")).await;
    let mut server = Server::of(&world).await;
    assert_eq!(server.signal(Some(id), r#"{"type":"t","data":"for you"}"#).await.status, 204);
    let signal = follower.next_of("signal").await;
    assert_eq!((&signal["to"], &signal["data"]), (&id.to_string().into(), &"for you".into()));
    assert_eq!(signal.get("connection"), None, "a server has none");
    member.hear_data().await;
    // Signals to all are not about this connection, unless they are its own.
    server.signal(None, r#"{"data":"for all"}"#).await;
    world.reload(|config| config.ops.contents = false).unwrap();
    member.say("mine").await;
    let signal = follower.next_of("signal").await;
    assert_eq!((&signal["connection"], &signal["bytes"]), (&id.to_string().into(), &4.into()));
    assert_eq!(signal.get("data"), None, "the setting has changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_link_a_gap_and_a_resume_are_seen() {
    let world = World::with(|config| {
        with_ops(config);
        config.resume.history_bytes = 1000;
    })
    .await;
    let tcp = world.addresses().tcp;
    let mut follower = Follower::of(&world, "project=12345678").await;
    let sender = world.join(TransportMode::Quic, Role::Publisher).await;
    let mut client = WebSocket::join_resumable(tcp, true, &world.token(Role::Publisher)).await;
    let ticket = ticket_in(&client.hear().await);
    drop(client);
    let detached = follower.next_of("detached").await;
    assert_eq!(detached["reason"], "networkDisconnected");
    for _ in 0..10 {
        sender.say("x".repeat(500)).await;
    }
    for _ in 0..10 {
        follower.next_of("signal").await;
    }
    let mut client = WebSocket::connect(tcp, true).await;
    client.say(&resume(&ticket)).await;
    let resumed = follower.next_of("resumed").await;
    assert_eq!(resumed["connection"], detached["connection"]);
    let gap = follower.next_of("gap").await;
    assert!(gap["signals"].as_u64().unwrap() > 0, "{gap}");
}

/// It is told how many events it has lost, and the clients notice nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_does_not_read_loses_events_and_clients_nothing() {
    let world = World::with(|config| {
        with_ops(config);
        config.ops.contents = true;
    })
    .await;
    let mut stuck = Follower::of(&world, "project=12345678&contents=true").await;
    let mut quick = Follower::of(&world, "project=12345678").await;
    let mut member = world.join(TransportMode::Quic, Role::Publisher).await;
    // More than the sockets between them hold: some ten megabytes.
    let signals = 4000_u64;
    let reading = async {
        let mut seen = 0;
        while seen < signals {
            let event = quick.next().await.unwrap();
            match event["event"].as_str().unwrap() {
                "signal" => seen += 1,
                "lost" => seen += event["events"].as_u64().unwrap(),
                _ => {}
            }
        }
    };
    let talking = async {
        for number in 0..signals {
            let data = format!("{number:08000}");
            member.say(data.clone()).await;
            assert_eq!(member.hear_data().await, data);
        }
    };
    tokio::join!(reading, talking);
    let (mut seen, mut lost) = (0, 0);
    while seen + lost < signals {
        let event = stuck.next().await.unwrap();
        match event["event"].as_str().unwrap() {
            "signal" => seen += 1,
            "lost" => lost += event["events"].as_u64().unwrap(),
            _ => {}
        }
    }
    assert!(lost > 0, "it saw {seen}");
    assert_eq!(seen + lost, signals);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_end_with_the_gateway() {
    let mut world = World::with(with_ops).await;
    let mut follower = Follower::of(&world, "project=12345678").await;
    let stopping = async { world.stop().await };
    let ends = async { while follower.next().await.is_some() {} };
    within_timeout("both end", async { tokio::join!(stopping, ends) }).await;
}
