//! The SDK joins as a new connection when it cannot resume.

use super::sdk_resume::{through, with_short_timeouts};
use signalbox_client::{CloseReason, DisconnectReason, Event, Role};
use signalbox_gateway::Config;
use signalbox_tests::{Member, TransportMode, World, proxy::Proxy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resumes_too_late_rejoins() {
    for transport in [TransportMode::Quic, TransportMode::WebSocketJson] {
        let short = |config: &mut Config| {
            with_short_timeouts(config);
            config.resume.window_ms = 300;
        };
        let world = World::with(short).await;
        let proxy = Proxy::new(&world).await;
        let mut bob = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
        let options = through(&proxy, &world, transport).rejoin(true);
        let mut alice = world.try_join(&options).await.unwrap();
        let before = alice.id();
        assert_eq!(bob.sees_created().await, before);
        assert_eq!(alice.sees_created().await, bob.id());
        proxy.allow(false, false);
        proxy.cut_connections().await;
        assert!(matches!(alice.next().await, Event::SessionReconnecting { .. }));
        alice.say("while away").await;
        assert_eq!(bob.sees_destroyed().await, (before, DisconnectReason::NetworkDisconnected));
        proxy.allow(true, true);
        let after = match alice.next().await {
            Event::SessionRejoined { connection } => connection.id,
            other => panic!("{other:?}"),
        };
        assert!(after != before && alice.id() == after);
        assert_eq!(alice.sees_created().await, bob.id());
        assert_eq!(bob.sees_created().await, after);
        assert_eq!(bob.hear().await, (Some(after), None, Some("while away".into())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_rejoin_a_restarted_gateway() {
    let mut world = World::with(with_short_timeouts).await;
    let proxy = Proxy::new(&world).await;
    let mut members = Vec::new();
    for transport in TransportMode::ALL {
        let options = through(&proxy, &world, transport).presence(false).rejoin(true);
        members.push(world.try_join(&options).await.unwrap());
    }
    let before: Vec<_> = members.iter().map(Member::id).collect();
    // The next gateway does not know the clients, nor they it.
    let successor = World::with(with_short_timeouts).await;
    // The old gateway must be gone first, or the new one would answer its packets with resets.
    world.stop().await;
    proxy.lead_to(&successor);
    for (member, before) in members.iter_mut().zip(before) {
        match member.next().await {
            Event::SessionReconnecting { reason, .. } => {
                assert_eq!(reason, CloseReason::ShuttingDown);
            }
            other => panic!("{other:?}"),
        }
        match member.next().await {
            Event::SessionRejoined { connection } => assert_ne!(connection.id, before),
            other => panic!("{other:?}"),
        }
        assert_eq!(member.client.signal().to(member.id()).send().await, Ok(1));
    }
}

/// Otherwise a kicked client would only have to cut its link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_kicked_while_detached_does_not_rejoin() {
    let world = World::with(with_short_timeouts).await;
    let proxy = Proxy::new(&world).await;
    let mut moderator = world.join(TransportMode::WebSocketJson, Role::Moderator).await;
    for transport in TransportMode::ALL {
        proxy.allow(true, true);
        let options = through(&proxy, &world, transport).rejoin(true).presence(false);
        let mut mallory = world.try_join(&options).await.unwrap();
        assert_eq!(moderator.sees_created().await, mallory.id());
        proxy.allow(false, false);
        proxy.cut_connections().await;
        assert!(matches!(mallory.next().await, Event::SessionReconnecting { .. }));
        moderator.client.force_disconnect(mallory.id()).await.unwrap();
        let gone = (mallory.id(), DisconnectReason::ForceDisconnected);
        assert_eq!(moderator.sees_destroyed().await, gone);
        proxy.allow(true, true);
        assert_eq!(mallory.ends().await, CloseReason::ForceDisconnected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_rejoin_a_gateway_without_resumption() {
    let world = World::with(|config| config.resume.window_ms = 0).await;
    let proxy = Proxy::new(&world).await;
    let options = through(&proxy, &world, TransportMode::WebSocketJson).rejoin(true);
    let mut alice = world.try_join(&options).await.unwrap();
    assert_eq!(alice.client.signal().to(alice.id()).data("a").send().await, Ok(1));
    assert_eq!(alice.hear_data().await, "a");
    proxy.cut_connections().await;
    assert!(matches!(alice.next().await, Event::SessionReconnecting { .. }));
    assert!(matches!(alice.next().await, Event::SessionRejoined { .. }));
}
