//! Messages of others on the subjects of gateways.

use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use signalbox_test_nats::NatsServer;

use crate::gateway::{Gateway, Options as _, Received, assert_joined, new_session, until};

/// A heartbeat of some gateway.
async fn heartbeat(foreign: &Client) -> Vec<u8> {
    let mut heartbeats = foreign.subscribe("test.all").await.unwrap();
    let message = timeout(Duration::from_secs(10), heartbeats.next()).await.unwrap();
    message.unwrap().payload.to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusable_messages_are_counted_and_disturb_nobody() {
    let server = NatsServer::start("").await;
    let gateways = Gateway::start(["a", "b"], &server.options()).await;
    let foreign = async_nats::connect(server.url()).await.unwrap();
    let heartbeat = heartbeat(&foreign).await;
    let mut unusable = vec![
        Vec::new(),
        b"garbage".to_vec(),
        // The beginning of a probe; another version; both huge.
        vec![0; 16],
        [&[2], &heartbeat[1..]].concat(),
        vec![0xff; 1024 * 1024],
        // A list of some 2^63 elements.
        [&[1, 0][..], &[0xff; 8], &[0x7f]].concat(),
    ];
    unusable.extend((1..heartbeat.len()).map(|end| heartbeat[..end].to_vec()));
    for message in &unusable {
        for subject in ["test.all", "test.gw.a", "test.gw.b", "test.gw.nobody"] {
            foreign.publish(subject, message.clone().into()).await.unwrap();
        }
    }
    foreign.flush().await.unwrap();
    let expected = 2 * unusable.len() as u64;
    let counted = |it: &Gateway| it.monitor.status().malformed == expected;
    until("all are counted", || gateways.iter().all(counted)).await;
    assert!(gateways.iter().all(|it| it.is_connected() && it.peers() == 1));
    assert_joined(&gateways).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_repeat_what_a_flood_has_displaced() {
    let server = NatsServer::start("").await;
    let gateways = Gateway::start(["a", "b"], &server.options()).await;
    let foreign = async_nats::connect(server.url()).await.unwrap();
    let [a, b] = &gateways;
    let session = new_session();
    let mut at_a = a.join(&session).await;
    let mut at_b = b.join(&session).await;
    assert_eq!(at_a.next().await, Received::Created(at_b.id));
    let flood = async {
        loop {
            foreign.publish("test.gw.a", "garbage".into()).await.unwrap();
        }
    };
    let exchange = async {
        until("messages are lost", || a.monitor.status().slow > 0).await;
        for number in 0..500 {
            at_b.send(&number.to_string(), b);
            assert_eq!(at_b.next().await, Received::Signal(number.to_string()));
        }
        for number in 0..500 {
            assert_eq!(at_a.next().await, Received::Signal(number.to_string()));
        }
    };
    tokio::select! {
        () = flood => {}
        () = exchange => {}
    }
    assert!(a.is_connected() && a.peers() == 1);
}
