//! QUIC links: keep-alive, goodbye and stream errors.

use std::time::Duration;

use signalbox_client::Role;
use signalbox_protocol::{
    ClientMessage,
    CloseReason::{ClientDisconnected, ProtocolError},
};
use signalbox_tests::{
    World,
    raw::{Quic, hello, signal},
};
use tokio::time::timeout;

/// The gateway waits for the signals, and then still sends its bye.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_whose_signals_never_come_is_answered_too() {
    let world = World::new().await;
    let token = world.token(Role::Publisher);
    let mut link = Quic::join(world.addresses().quic, &token).await;
    let mut signals = link.signals().await;
    signals.write_all(&signalbox_protocol::frame::encode(&signal("one"))).await.unwrap();
    link.say(&ClientMessage::Goodbye { signals: 3 }).await;
    assert_eq!(link.end().await, (Some(ClientDisconnected), ClientDisconnected));
    world.is_empty().await;
}

/// The link is idle, so no write would reveal it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_the_control_stream_is_ended_at_once() {
    let world = World::new().await;
    let mut link = Quic::join(world.addresses().quic, &world.token(Role::Publisher)).await;
    link.incoming.stop(0u32.into()).unwrap();
    assert_eq!(link.end().await, (None, ProtocolError));
    world.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_ends_sooner_in_silence_than_the_gateway_is_kept_alive() {
    const IDLE: Duration = Duration::from_millis(1500);
    let world = World::new().await;
    let mut transport = quinn::TransportConfig::default();
    transport.max_idle_timeout(Some(IDLE.try_into().unwrap()));
    let mut link = Quic::connect_as(world.addresses().quic, transport).await;
    link.say(&hello(&world.token(Role::Publisher))).await;
    assert!(link.hear().await.starts_with("Welcome"));
    let end = timeout(2 * IDLE, link.connection.closed()).await;
    assert!(end.is_err(), "the link ended in silence: {end:?}");
    // The pings have not used up the flow control credit of the signals.
    let mut signals = link.signals().await;
    let data = "x".repeat(8000);
    for _ in 0..40 {
        signals.write_all(&signalbox_protocol::frame::encode(&signal(&data))).await.unwrap();
    }
    link.say(&ClientMessage::Goodbye { signals: 40 }).await;
    assert_eq!(link.end().await, (Some(ClientDisconnected), ClientDisconnected));
}
