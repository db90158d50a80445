//! Early data (0-RTT): a client may send a resume with its first packet and nothing else, because early
//! data can be captured and replayed.

use signalbox_client::{ConnectOptions, Event, Role};
use signalbox_netem::proxy::PassingAnswers;
use signalbox_protocol::frame;
use signalbox_tests::{
    TransportMode, World,
    proxy::Proxy,
    raw::{Known, Quic, WebSocket, hello, resume, signal, ticket_in},
};

/// A kept member by a raw WebSocket, and its ticket.
async fn resumable_client(world: &World) -> (WebSocket, String) {
    let token = world.token(Role::Publisher);
    let mut link = WebSocket::join_resumable(world.addresses().tcp, false, &token).await;
    let ticket = ticket_in(&link.hear().await);
    (link, ticket)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_resumes_with_its_first_packet() {
    let world = World::with(|config| config.timeouts.idle_ms = 1500).await;
    let mut watcher = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    for early in [true, false] {
        let proxy = Proxy::new(&world).await;
        let options =
            ConnectOptions::new(proxy.url(TransportMode::Quic), world.token(Role::Publisher));
        let options = options.keep_alive(std::time::Duration::from_millis(300)).early_data(early);
        let mut alice = world.try_join(&options).await.unwrap();
        assert_eq!(watcher.sees_created().await, alice.id());
        assert!(matches!(alice.next().await, Event::ConnectionCreated(_)));
        for round in 1..=3 {
            alice.client.signal().data("a").send().await.unwrap();
            alice.hear_data().await;
            watcher.hear_data().await;
            // It is lost silently.
            proxy.cut_connections().await;
            alice.client.signal().data("b").enqueue().await.unwrap();
            assert!(matches!(alice.next().await, Event::SessionReconnecting { .. }));
            assert!(matches!(alice.next().await, Event::SessionReconnected { gap: None, .. }));
            assert_eq!(alice.hear_data().await, "b");
            assert_eq!(watcher.hear_data().await, "b");
            // One ticket is enough for the next time.
            assert_eq!(proxy.early_data().len() >= round, early, "in round {round}");
        }
        alice.client.disconnect().await;
        watcher.sees_destroyed().await;
    }
}

#[tokio::test]
async fn only_a_return_is_believed_before_the_handshake_is_over() {
    let world = World::new().await;
    let proxy = Proxy::new(&world).await;
    let quic = proxy.address(TransportMode::Quic);
    let token = world.token(Role::Publisher);
    let (newcomer, returner) = (Known::to(quic, &token).await, Known::to(quic, &token).await);
    let (mut old, ticket) = resumable_client(&world).await;
    let mut watcher = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    assert!(matches!(watcher.next().await, Event::ConnectionCreated(_)));

    // Neither can finish its handshake, so both may be replayed recordings.
    proxy.pass_answers(PassingAnswers::None);
    let mut newcomer = Quic::connect_early(&newcomer, quic).await;
    newcomer.say(&hello(&token)).await;
    let mut returner = Quic::connect_early(&returner, quic).await;
    returner.say(&resume(&ticket)).await;
    let mut signals = returner.signals().await;
    signals.write_all(&frame::encode(&signal("early"))).await.unwrap();

    // The return is a fact, and its ticket good no more.
    loop {
        let message = old.hear().await;
        if message.starts_with("Bye") {
            assert!(message.contains("Superseded"), "{message}");
            break;
        }
    }
    // Nothing else is accepted: no connection was created, and no signal was sent.
    for round in 0..20 {
        watcher.say(round.to_string()).await;
        assert_eq!(watcher.hear_data().await, round.to_string());
    }

    proxy.pass_answers(PassingAnswers::All);
    assert!(returner.hear().await.starts_with("Resumed"));
    assert!(newcomer.hear().await.starts_with("Welcome"));
    let (mut come, mut said) = (0, 0);
    while (come, said) != (1, 1) {
        match watcher.next().await {
            Event::ConnectionCreated(_) => come += 1,
            Event::Signal { data, .. } => {
                assert_eq!(data.as_deref(), Some("early"));
                said += 1;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn captured_early_data_cannot_be_replayed() {
    let world = World::new().await;
    let proxy = Proxy::new(&world).await;
    let quic = proxy.address(TransportMode::Quic);
    let known = Known::to(quic, &world.token(Role::Publisher)).await;
    let (old, ticket) = resumable_client(&world).await;
    drop(old);
    let mut link = Quic::connect_early(&known, quic).await;
    link.say(&resume(&ticket)).await;
    let next = ticket_in(&link.hear().await);
    assert!(!proxy.early_data().is_empty());
    link.endpoint.close(2u32.into(), b"not a goodbye");

    // The ticket in it is still good, as the client has not shown that it has the next one. Were
    // it taken, there would be yet another.
    proxy.replay().await;
    let mut link = Quic::connect(quic).await;
    link.say(&resume(&next)).await;
    let answer = link.hear().await;
    assert!(answer.starts_with("Resumed"), "{answer}");
}
