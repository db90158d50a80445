//! Addresses of clients behind proxies: believed if a trusted proxy names them, and from nobody else.

use std::net::IpAddr;

use signalbox_client::{CloseReason, Role};
use signalbox_gateway::Config;
use signalbox_tests::{
    World,
    raw::{WebSocket, hello, tcp_stream_from, try_tls_on},
    rest::ask_on,
};
use tokio::io::AsyncWriteExt as _;

const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 3));
const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// A gateway whose proxy is [`PROXY`].
async fn behind_a_proxy(change: impl FnOnce(&mut Config)) -> World {
    World::with(|config| {
        config.tls.plaintext_tcp = true;
        config.proxy.trusted = vec![PROXY.to_string()];
        change(config);
    })
    .await
}

/// The status of a health check from this address with this header.
async fn status(world: &World, source: IpAddr, header: &str) -> u16 {
    let mut stream = tcp_stream_from(source, world.addresses().tcp).await;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n");
    ask_on(&mut stream, request).await.expect("an answer").status
}

/// Asks until the limit is reached. Each request has a header of its own.
async fn is_limited(world: &World, source: IpAddr, header: impl Fn(u32) -> String) -> bool {
    for number in 0..100 {
        if status(world, source, &header(number)).await == 429 {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_client_behind_a_trusted_proxy_has_its_own_limits() {
    let world = behind_a_proxy(|config| config.limits.address.requests_per_second = 1).await;
    // The client's own claims come first.
    let hostile = |number| format!("X-Forwarded-For: 198.51.100.{number}, 203.0.113.7");
    assert!(is_limited(&world, PROXY, hostile).await);
    assert_eq!(status(&world, PROXY, "X-Forwarded-For: 203.0.113.8").await, 200);
    let many = |number| format!("X-Forwarded-For: 203.0.113.{}", 9 + number);
    assert!(!is_limited(&world, PROXY, many).await);
    assert!(!is_limited(&world, PROXY, |_| "X-Other: x".into()).await, "the proxy's own checks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_headers_are_ignored() {
    let world = behind_a_proxy(|config| config.limits.address.requests_per_second = 1).await;
    let forged = |number| format!("X-Forwarded-For: 203.0.113.{number}");
    assert!(is_limited(&world, STRANGER, forged).await);
    // The header that the proxy does not write is a client's.
    let other =
        |number| format!("X-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.{number}");
    assert!(is_limited(&world, PROXY, other).await);
    assert_eq!(status(&world, PROXY, "X-Forwarded-For: 203.0.113.8").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_behind_a_trusted_proxy_count_for_their_own_address() {
    let world = behind_a_proxy(|config| config.limits.address.invalid_tokens_per_second = 1).await;
    let opened = async |client: &'static str| {
        let stream = tcp_stream_from(PROXY, world.addresses().tcp).await;
        WebSocket::on_with(stream, &[("X-Forwarded-For", client)]).await
    };
    let mut attempts = 0;
    loop {
        let mut link = opened("203.0.113.7").await;
        link.say(&hello("wrong")).await;
        match link.end().await.0 {
            Some(CloseReason::InvalidToken) => attempts += 1,
            reason => {
                assert_eq!(reason, Some(CloseReason::ConnectionLimit));
                break;
            }
        }
        assert!(attempts < 100, "never refused");
    }
    let mut link = opened("203.0.113.8").await;
    link.say(&hello(&world.token(Role::Publisher))).await;
    assert!(link.hear().await.starts_with("Welcome"));
}

/// A header of the PROXY protocol, version 2, for TCP over IPv4.
fn proxy_header(client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(client);
    header.extend([127, 0, 0, 1, 0x10, 0x00, 0x11, 0x51]);
    header
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_protocol_names_the_client_before_tls() {
    let world = World::with(|config| {
        config.proxy.trusted = vec![PROXY.to_string()];
        config.proxy.protocol = true;
        config.limits.address.links_per_second = 1;
    })
    .await;
    let tcp = world.addresses().tcp;
    let connected = async |header: &[u8], source| {
        let mut stream = tcp_stream_from(source, tcp).await;
        stream.write_all(header).await.unwrap();
        try_tls_on(stream).await
    };
    let mut links = 0;
    while connected(&proxy_header([203, 0, 113, 7]), PROXY).await.is_ok() {
        links += 1;
        assert!(links < 100, "never refused");
    }
    assert!(links >= 10, "refused after {links}");
    let stream = connected(&proxy_header([203, 0, 113, 8]), PROXY).await.unwrap();
    let mut link = WebSocket::on(stream).await;
    link.say(&hello(&world.token(Role::Publisher))).await;
    assert!(link.hear().await.starts_with("Welcome"));
    // The proxy's own health checks have the command LOCAL.
    let own = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    connected(own, PROXY).await.unwrap();
    // A trusted proxy must send it, and from others it is no TLS.
    assert!(connected(b"", PROXY).await.is_err());
    assert!(connected(&proxy_header([203, 0, 113, 9]), STRANGER).await.is_err());
    connected(b"", STRANGER).await.unwrap();
}
