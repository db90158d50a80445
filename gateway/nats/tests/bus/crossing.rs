//! Sessions that cross gateways.

use signalbox_test_nats::NatsServer;

use crate::gateway::{
    Gateway, Options as _, Received, assert_joined, await_peers, new_session, until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_and_presence_cross_two_gateways() {
    let server = NatsServer::start("").await;
    let [a, b] = Gateway::start(["a", "b.c_d"], &server.options()).await;
    let session = new_session();
    let mut at_a = a.join(&session).await;
    let mut at_b = b.join(&session).await;
    assert_eq!(at_b.present, [at_a.id]);
    assert_eq!(at_a.next().await, Received::Created(at_b.id));
    at_a.send("hello", &a);
    assert_eq!(at_b.next().await, Received::Signal("hello".to_owned()));
    let id = at_a.id;
    at_a.leave(&a);
    assert_eq!(at_b.next().await, Received::Destroyed(id));

    let status = a.monitor.status();
    assert!(status.connected && status.last_error.is_none(), "{status:?}");
    assert!(status.published > 0 && status.received > 0, "{status:?}");
    assert_eq!((status.dropped, status.malformed, status.slow), (0, 0, 0));
    until("a probe comes back", || a.monitor.status().rtt.is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_share_a_session() {
    let server = NatsServer::start("").await;
    let gateways = Gateway::start(["a", "b", "c"], &server.options()).await;
    assert_joined(&gateways).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_signals_arrive_in_order() {
    let server = NatsServer::start("").await;
    let [a, b] = Gateway::start(["a", "b"], &server.options()).await;
    let session = new_session();
    let mut at_b = b.join(&session).await;
    let mut at_a = a.join(&session).await;
    assert_eq!(at_b.next().await, Received::Created(at_a.id));
    // 16 MB in all, many times the length of a packet. Each batch fits into an outbox.
    let filling = "x".repeat(8000);
    for batch in 0..32 {
        let numbers = batch * 64..(batch + 1) * 64;
        for number in numbers.clone() {
            at_a.send(&format!("{number} {filling}"), &a);
        }
        for client in [&mut at_a, &mut at_b] {
            for number in numbers.clone() {
                let received = client.next().await;
                // Printed in full it would hide the reason.
                let Received::Signal(data) = received else { panic!("{received:?}") };
                assert!(data == format!("{number} {filling}"), "{number}");
            }
        }
    }
    assert_eq!(a.monitor.status().dropped, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_shuts_down_says_goodbye_after_its_last_signal() {
    let server = NatsServer::start("").await;
    let [a, b] = Gateway::start(["a", "b"], &server.options()).await;
    let session = new_session();
    let mut at_b = b.join(&session).await;
    let mut at_a = a.join(&session).await;
    assert_eq!(at_b.next().await, Received::Created(at_a.id));
    at_a.send("last", &a);
    a.shut_down().await;
    assert_eq!(at_b.next().await, Received::Signal("last".to_owned()));
    // The lease would still last for seconds.
    assert_eq!(at_b.next().await, Received::Destroyed(at_a.id));
    assert_eq!(b.peers(), 0);
    // The name is free again.
    let a = Gateway::try_start("a", &server.options()).await.unwrap();
    await_peers(&[a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_do_not_see_each_other() {
    let server = NatsServer::start("").await;
    let other = signalbox_nats::NatsOptions::new(&[server.url()], "test2").unwrap();
    let [a] = Gateway::start(["a"], &server.options()).await;
    let others = Gateway::start(["a", "b"], &other).await;
    // Its own heartbeats, which were sent after the others had joined.
    let received = a.monitor.status().received;
    until("heartbeats", || a.monitor.status().received >= received + 3).await;
    assert_eq!(a.peers(), 0);
    assert_eq!(a.cluster.status(a.now()).duplicate, None);
    assert!(others.iter().all(|it| it.peers() == 1));
}
