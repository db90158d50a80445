//! The end of a WebTransport session whose streams end before it. Firefox stops and resets all streams
//! of a session before it sends the close.

use signalbox_client::{CloseReason, DisconnectReason, Role};
use signalbox_protocol::Feature;
use signalbox_tests::{
    Member, TransportMode, World,
    raw::{Quic, WebTransport, hello_with, resume, ticket_in},
};

/// What a client does to a stream.
#[derive(Debug, Clone, Copy)]
enum Abandon {
    ResetControl,
    StopControl,
    StopSender,
}

impl Abandon {
    const ALL: [Self; 3] = [Self::ResetControl, Self::StopControl, Self::StopSender];
}

/// A resumable client, its ticket, and a member that watches it.
async fn resumable_client(world: &World) -> (WebTransport, String, Member) {
    let mut watcher = world.join(TransportMode::Quic, Role::Publisher).await;
    let token = world.token(Role::Publisher);
    let hello = hello_with(&token, &[Feature::Resume]);
    let transport = quinn::TransportConfig::default();
    let mut client = WebTransport::join_as(world.addresses().quic, transport, &hello).await;
    let ticket = ticket_in(&client.link.hear().await);
    watcher.sees_created().await;
    (client, ticket, watcher)
}

/// A stream ends with a code that has no meaning for the gateway, and the gateway handles it.
async fn abandon(client: &mut WebTransport, abandon: Abandon, watcher: &mut Member) {
    let code = quinn::VarInt::from_u32(0x10c);
    match abandon {
        Abandon::ResetControl => client.link.control.reset(code).unwrap(),
        Abandon::StopControl => client.link.incoming.stop(code).unwrap(),
        Abandon::StopSender => {
            watcher.say("opens the stream").await;
            watcher.hear().await;
            let mut sender = client.accept().await;
            sender.stop(code).unwrap();
            client.is_handled().await;
            watcher.say("finds it stopped").await;
            watcher.hear().await;
        }
    }
    client.is_handled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_closed_after_its_streams_can_be_resumed() {
    for how in Abandon::ALL {
        let world = World::new().await;
        let (mut client, ticket, mut watcher) = resumable_client(&world).await;
        abandon(&mut client, how, &mut watcher).await;
        let reason = client.close(CloseReason::NetworkDisconnected).await;
        assert_eq!(reason, CloseReason::NetworkDisconnected, "{how:?}");
        let mut again = Quic::connect(world.addresses().quic).await;
        again.say(&resume(&ticket)).await;
        let answer = again.hear().await;
        assert!(answer.starts_with("Resumed"), "{how:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_after_its_streams_leaves_at_once() {
    for how in Abandon::ALL {
        let world = World::new().await;
        let (mut client, _, mut watcher) = resumable_client(&world).await;
        abandon(&mut client, how, &mut watcher).await;
        let reason = client.close(CloseReason::ClientDisconnected).await;
        assert_eq!(reason, CloseReason::ClientDisconnected, "{how:?}");
        let (_, reason) = watcher.sees_destroyed().await;
        assert_eq!(reason, DisconnectReason::ClientDisconnected, "{how:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_without_its_session_is_a_protocol_error() {
    for how in Abandon::ALL {
        let world = World::new().await;
        let (mut client, _, mut watcher) = resumable_client(&world).await;
        abandon(&mut client, how, &mut watcher).await;
        assert_eq!(client.session_end().await.0, CloseReason::ProtocolError, "{how:?}");
        let (_, reason) = watcher.sees_destroyed().await;
        assert_ne!(reason, DisconnectReason::ClientDisconnected, "{how:?}");
    }
}
