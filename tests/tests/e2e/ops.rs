//! The operations listener: who may use it, and that clients cannot take it away.

use std::time::Duration;

use signalbox_client::Role;
use signalbox_tests::{
    TransportMode, World,
    ops::{Scrape, ask_ops, get_ops, with_ops},
    within_timeout,
};
use tokio::net::TcpStream;

const TOKEN: &str = "0123456789abcdef";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_required_on_an_address_that_others_reach() {
    let world = World::with(|config| {
        config.ops.listen = Some(([0, 0, 0, 0], 0).into());
        config.ops.token = Some(TOKEN.to_owned().into());
    })
    .await;
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for (path, headers, status) in [
        ("/healthz", "", 200),
        ("/readyz", "", 200),
        ("/log", "", 401),
        ("/nothing", "", 401),
        ("/nothing", &*bearer, 404),
        ("/cluster", "Authorization: Bearer 0123456789abcdeF\r\n", 401),
        ("/cluster", &bearer, 404),
    ] {
        let answer = ask_ops(&world, "GET", path, headers, "").await;
        assert_eq!(answer.status, status, "{path} {headers}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    }
    let refused = World::try_with(|it| it.ops.listen = Some(([0, 0, 0, 0], 0).into())).await;
    assert!(refused.is_none(), "without a token it does not start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_gets_nothing() {
    let world = World::with(with_ops).await;
    let foreign = "Origin: https://evil.example\r\n";
    for (method, path) in [("GET", "/cluster"), ("PUT", "/log"), ("OPTIONS", "/log")] {
        let answer = ask_ops(&world, method, path, foreign, "debug").await;
        assert_eq!(answer.status, 403, "{method} {path}");
    }
    let own = format!("Origin: http://{}\r\n", world.addresses().ops.unwrap());
    assert_eq!(ask_ops(&world, "GET", "/healthz", &own, "").await.status, 200);
}

/// It answers while clients hold every permit, and while the gateway drains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operations_listener_answers_during_overload_and_shutdown() {
    let mut world = World::with(|config| {
        with_ops(config);
        config.limits.pending_handshakes = 1;
        config.timeouts.hello_ms = 60_000;
        config.drain.spread_ms = 60_000;
        config.drain.timeout_ms = 61_000;
    })
    .await;
    let _member = world.join(TransportMode::Quic, Role::Publisher).await;
    let _silent = TcpStream::connect(world.addresses().tcp).await.unwrap();
    assert_eq!(get_ops(&world, "/readyz").await.status, 200);
    let full =
        |scrape: &Scrape| scrape.sum("signalbox_pending_clients", &["listener=\"tcp\""]) == 1.0;
    Scrape::until(&world, "the silent client holds the permit", full).await;
    world.tell_to_stop();
    let draining = async { while get_ops(&world, "/readyz").await.status != 503 {} };
    within_timeout("readiness fails", draining).await;
    let closing = async { while TcpStream::connect(world.addresses().tcp).await.is_ok() {} };
    within_timeout("the port for clients closes", closing).await;
    assert_eq!(get_ops(&world, "/healthz").await.status, 200);
    assert_eq!(Scrape::of(&world).await.sum("signalbox_draining", &[]), 1.0);
    assert_eq!(get_ops(&world, "/cluster").await.status, 404);
}

/// A client that sends half of a request does not keep the gateway from ending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_request_does_not_delay_the_end() {
    let mut world = World::with(|config| {
        with_ops(config);
        config.timeouts.hello_ms = 60_000;
    })
    .await;
    let _stuck = TcpStream::connect(world.addresses().ops.unwrap()).await.unwrap();
    assert_eq!(get_ops(&world, "/healthz").await.status, 200);
    let stopped = tokio::time::timeout(Duration::from_secs(10), world.stop()).await;
    assert!(stopped.is_ok());
}
