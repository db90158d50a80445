//! Lifetime of a client: idle links, a change of address, the end of its session.

use signalbox_client::{CloseReason, DisconnectReason, Event, Role, SendError};
use signalbox_protocol::ClientMessage;
use signalbox_tests::{TransportMode, World, raw, rest::Server, within_timeout};
use std::time::Duration;

/// A QUIC client whose address changes keeps its link, and no other client is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_address_does_not_interrupt_quic() {
    let world = World::new().await;
    let mut watcher = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    let token = world.token(Role::Publisher);
    let mover = signalbox_tests::raw::Quic::join(world.addresses().quic, &token).await;
    let id = watcher.sees_created().await;
    let mut signals = mover.signals().await;
    for n in 0..5 {
        let before = mover.endpoint.local_addr().unwrap();
        mover.endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        assert_ne!(mover.endpoint.local_addr().unwrap(), before);
        let text = n.to_string();
        let frame = signalbox_protocol::frame::encode(&signalbox_tests::raw::signal(&text));
        signals.write_all(&frame).await.unwrap();
        assert_eq!(watcher.hear().await, (Some(id), None, Some(n.to_string())));
        watcher.say(n.to_string()).await;
        assert_eq!(watcher.hear_data().await, n.to_string());
    }
    let stream = within_timeout("the watcher's stream", mover.connection.accept_uni()).await;
    assert!(stream.is_ok(), "and back");
}

/// Idle clients stay connected, on every transport, even with a short idle timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_clients_stay_connected() {
    let idle = Duration::from_millis(1000);
    let world = World::with(|config| config.timeouts.idle_ms = 1000).await;
    let mut members = Vec::new();
    for transport in TransportMode::ALL {
        let options = world.options(transport, Role::Publisher).presence(false);
        members.push(world.try_join(&options).await.unwrap());
    }
    // A link that was lost within three idle timeouts would be reported.
    for member in &mut members {
        let event = tokio::time::timeout(idle * 3 / 4, member.events.next()).await;
        assert!(event.is_err(), "{event:?}");
    }
    members[0].say("still here").await;
    for member in &mut members {
        assert_eq!(member.hear_data().await, "still here");
    }
}

/// A client that is kicked still receives earlier signals, even the first one of a sender, whose stream may
/// arrive after the bye.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_signals_before_the_end_are_delivered() {
    let world = World::new().await;
    for transport in TransportMode::ALL {
        for _ in 0..20 {
            let moderator = world.join(transport, Role::Moderator).await;
            let options = world.options(transport, Role::Subscriber).presence(false);
            let mut victim = world.try_join(&options).await.unwrap();
            moderator.say("goodbye").await;
            // Over QUIC the two use different streams, so the test waits for the first one.
            let mut moderator = moderator;
            while !matches!(moderator.next().await, Event::Signal { .. }) {}
            moderator.client.force_disconnect(victim.id()).await.unwrap();
            assert_eq!(victim.hear_data().await, "goodbye", "{transport:?}");
            assert_eq!(victim.ends().await, CloseReason::ForceDisconnected);
        }
    }
}

/// Dropping all handles leaves the session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_client_leaves_the_session() {
    let world = World::new().await;
    let mut watcher = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    for transport in TransportMode::ALL {
        let member = world.join(transport, Role::Publisher).await;
        let id = watcher.sees_created().await;
        member.say("last words").await;
        drop(member);
        match watcher.next().await {
            Event::Signal { from, .. } => assert_eq!(from, id.into()),
            other => panic!("{other:?}"),
        }
        let left = (id, DisconnectReason::ClientDisconnected);
        assert_eq!(watcher.sees_destroyed().await, left);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_after_the_end_is_an_error() {
    let world = World::new().await;
    for transport in TransportMode::ALL {
        let mut member = world.join(transport, Role::Publisher).await;
        Server::of(&world).await.disconnect(member.id()).await;
        assert_eq!(member.ends().await, CloseReason::ForceDisconnected);
        let sent = member.client.signal().data("into the void").send().await;
        assert!(matches!(sent, Err(SendError::Disconnected)), "{sent:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_is_answered_on_every_transport() {
    let world = World::new().await;
    let token = world.token(Role::Subscriber);
    let addresses = world.addresses();
    let mut quic = raw::Quic::join(addresses.quic, &token).await;
    quic.say(&ClientMessage::Heartbeat {}).await;
    assert_eq!(quic.hear().await, "Heartbeat");
    let mut webtransport = raw::WebTransport::join(addresses.quic, &token).await;
    webtransport.link.say(&ClientMessage::Heartbeat {}).await;
    assert_eq!(webtransport.link.hear().await, "Heartbeat");
    for json in [false, true] {
        let mut link = raw::WebSocket::join(addresses.tcp, json, &token).await;
        link.say(&ClientMessage::Heartbeat {}).await;
        assert_eq!(link.hear().await, "Heartbeat");
    }
}
