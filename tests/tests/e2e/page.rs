//! The page for browsers: a listener of its own, with its files, its WebSocket and nothing else.

use std::net::SocketAddr;

use signalbox_client::{ConnectOptions, Role};
use signalbox_tests::{
    TransportMode, World,
    rest::{ask, request},
    within_timeout,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A gateway with the page, and the page's address.
async fn world() -> (World, SocketAddr) {
    let world = World::with(|config| {
        config.listen.page = Some("127.0.0.1:0".parse().unwrap());
        config.auth.allowed_origins = vec!["https://app.example".into()];
    })
    .await;
    let address = world.addresses().page.unwrap();
    (world, address)
}

/// The whole response, up to the end of the connection: without a header to ask for it, the gateway
/// closes.
async fn fetch(address: SocketAddr, request: &str) -> String {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    within_timeout("the answer and the end of the connection", asking).await
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_off_by_default() {
    assert_eq!(signalbox_gateway::Config::default().listen.page, None);
    assert_eq!(World::new().await.addresses().page, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_file_has_its_type_and_may_do_nothing_that_the_page_does_not_need() {
    let (_world, address) = world().await;
    for (path, content_type, part) in [
        ("/", "text/html; charset=utf-8", "<title>Signalbox session</title>"),
        ("/?role=publisher", "text/html; charset=utf-8", "<title>Signalbox session</title>"),
        ("/page.js", "text/javascript; charset=utf-8", "signalbox.v1.postcard"),
        ("/page.css", "text/css; charset=utf-8", "prefers-color-scheme:dark"),
        ("/icon.svg", "image/svg+xml", "<svg"),
    ] {
        let answer = fetch(address, &get(path)).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        assert!(body.contains(part), "{path}");
        for header in [
            &format!("content-type: {content_type}"),
            "connection: close",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; \
             img-src 'self' data:; connect-src 'self' ws://localhost; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        ] {
            assert!(head.lines().any(|line| line == header), "{path}: {header} in {head}");
        }
        let head_only = fetch(address, &get(path).replace("GET", "HEAD")).await;
        let without_date = |head: &str| head.split("\r\ndate").next().unwrap().to_owned();
        assert_eq!(without_date(&head_only), without_date(head), "{path}");
        assert!(head_only.ends_with("\r\n\r\n"), "{path}: no body");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_nothing_else() {
    let (world, address) = world().await;
    let rest = format!("/v2/project/1/session/{}/connection", world.session());
    for path in ["/nothing", "/index.html", "/healthz", "/session.json", "/../page.js", &rest] {
        let answer = fetch(address, &get(path)).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        assert!(answer.contains("\r\nx-content-type-options: nosniff\r\n"), "{path}: {answer}");
    }
    let post = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    let answer = fetch(address, post).await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    // And the page is nowhere else.
    for path in ["/", "/page.js", "/session.json"] {
        assert_eq!(ask(&world, request("GET", path, "", None)).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_name_of_this_machine_is_not_served() {
    let (_world, address) = world().await;
    for (host, status) in [
        ("Host: localhost:4434\r\n", "200"),
        ("Host: LOCALHOST\r\n", "200"),
        ("Host: 127.0.0.1:4434\r\n", "200"),
        ("Host: [::1]:4434\r\n", "200"),
        ("Host: rebound.example\r\n", "421"),
        ("Host: localhost.rebound.example\r\n", "421"),
        ("Host: localhost@rebound.example\r\n", "421"),
        ("Host: 127.0.0.1.rebound.example\r\n", "421"),
        ("Host: [rebound.example]\r\n", "421"),
        ("", "421"),
    ] {
        let answer = fetch(address, &format!("GET / HTTP/1.1\r\n{host}\r\n")).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{host}: {answer}");
        assert_eq!(answer.contains("<title>"), status == "200", "{host}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_own_origin_may_join_over_its_websocket() {
    let (world, address) = world().await;
    let port = address.port();
    let upgrade = |origin: &str| {
        format!(
            "GET /v1/connect HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: signalbox.v1.json\r\n\r\n"
        )
    };
    let other = fetch(address, &upgrade("https://evil.example")).await;
    assert!(other.starts_with("HTTP/1.1 403 "), "{other}");
    for own in [format!("http://localhost:{port}"), format!("http://127.0.0.1:{port}")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(upgrade(&own).as_bytes()).await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let byte = within_timeout("the head", stream.read_u8()).await.unwrap();
            head.push(char::from(byte));
        }
        assert!(head.starts_with("HTTP/1.1 101 "), "{own}: {head}");
        assert!(!head.contains("close"), "{own}: {head}");
    }
    let options = ConnectOptions::new(format!("ws://{address}"), world.token(Role::Publisher));
    let mut alice = world.try_join(&options).await.unwrap();
    let bob = world.join(TransportMode::Quic, Role::Publisher).await;
    alice.sees_created().await;
    bob.say("hello").await;
    assert_eq!(alice.hear_data().await, "hello");
}
