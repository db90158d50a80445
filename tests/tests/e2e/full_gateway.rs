//! A gateway with as many connections, or as much memory, as it may have.

use signalbox_client::{CloseReason, Role};
use signalbox_protocol::ClientMessage;
use signalbox_tests::{
    World,
    raw::{WebSocket, hello, resume, ticket_in},
    within_timeout,
};

/// The answer to the first message of a client.
async fn refusal(world: &World, message: &ClientMessage<'_>) -> Option<CloseReason> {
    let mut link = WebSocket::connect(world.addresses().tcp, true).await;
    link.say(message).await;
    link.say(&ClientMessage::Goodbye { signals: 0 }).await;
    link.end().await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_gateway_refuses_new_clients_and_not_those_that_resume() {
    let world = World::with(|config| config.limits.connections = 2).await;
    let tcp = world.addresses().tcp;
    let token = world.token(Role::Publisher);
    let _first = WebSocket::join(tcp, true, &token).await;
    let mut second = WebSocket::join_resumable(tcp, true, &token).await;
    let ticket = ticket_in(&second.hear().await);
    let full = Some(CloseReason::ConnectionLimit);
    assert_eq!(refusal(&world, &hello(&token)).await, full);
    // Its connection counts while it is detached.
    drop(second);
    assert_eq!(refusal(&world, &hello(&token)).await, full);
    let mut second = WebSocket::connect(tcp, true).await;
    second.say(&resume(&ticket)).await;
    assert!(second.hear().await.starts_with("Resumed"));
    assert!(world.stats().refusals().any(|it| it == ("connections", 2)));
    second.say(&ClientMessage::Goodbye { signals: 0 }).await;
    second.end().await;
    drop(WebSocket::join(tcp, true, &token).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_clients_are_refused_while_memory_is_short() {
    let world = World::with(|config| config.limits.memory_bytes = 1).await;
    let token = world.token(Role::Publisher);
    // The first reading comes when the gateway has started.
    let refused = async {
        while refusal(&world, &hello(&token)).await != Some(CloseReason::ConnectionLimit) {}
    };
    within_timeout("the memory is noticed", refused).await;
}
