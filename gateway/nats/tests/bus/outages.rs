//! Outages of nats-server while gateways run.

use signalbox_cluster::LEASE;

use signalbox_test_nats::NatsServer;

use crate::gateway::{
    Gateway, Options as _, Received, assert_joined, await_peers, new_session, until,
};

fn lease_has_ended(gateway: &Gateway) -> bool {
    gateway.cluster.status(gateway.now()).echo_age.is_some_and(|age| age > LEASE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_wait_while_the_server_restarts() {
    let mut server = NatsServer::start("").await;
    let gateways = Gateway::start(["a", "b"], &server.options()).await;
    let [a, b] = &gateways;
    let session = new_session();
    let mut at_a = a.join(&session).await;
    let mut at_b = b.join(&session).await;
    assert_eq!(at_a.next().await, Received::Created(at_b.id));
    server.kill().await;
    // More than the NATS client would keep.
    for number in 0..3000 {
        at_a.send(&number.to_string(), a);
        assert_eq!(at_a.next().await, Received::Signal(number.to_string()));
    }
    server.restart().await;
    for number in 0..3000 {
        assert_eq!(at_b.next().await, Received::Signal(number.to_string()));
    }
    await_peers(&gateways).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_find_each_other_after_a_long_outage() {
    let mut server = NatsServer::start("").await;
    let gateways = Gateway::start(["a", "b", "c"], &server.options()).await;
    server.kill().await;
    until("all notice it", || gateways.iter().all(|it| !it.is_connected())).await;
    let published = gateways.each_ref().map(|it| it.monitor.status().published);
    until("leases end", || gateways.iter().all(lease_has_ended)).await;
    for (gateway, published) in gateways.iter().zip(published) {
        let status = gateway.monitor.status();
        assert!(!status.connected);
        let error = status.last_error.unwrap();
        assert!(error.contains("refused"), "{error}");
        assert_eq!((status.published, status.dropped), (published, 0), "packets wait in the links");
    }
    server.restart().await;
    await_peers(&gateways).await;
    assert_joined(&gateways).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_is_noticed() {
    let server = NatsServer::start("").await;
    let gateways = Gateway::start(["a", "b"], &server.options()).await;
    server.stop();
    until("both notice it", || gateways.iter().all(|it| !it.is_connected())).await;
    until("leases end", || gateways.iter().all(lease_has_ended)).await;
    // The client has given the connection up, and the server does not answer a new one.
    let timed_out = |it: &Gateway| it.monitor.status().last_error.unwrap() == "timed out";
    until("both connect again", || gateways.iter().all(timed_out)).await;
    server.proceed();
    await_peers(&gateways).await;
    assert_joined(&gateways).await;
}
