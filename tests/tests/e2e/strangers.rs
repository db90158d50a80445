//! Strangers: clients that have not been admitted take nothing from those of other addresses, and each
//! address has its limits.

use std::net::IpAddr;

use futures_util::future::select_all;
use signalbox_client::{CloseReason, Role};
use signalbox_protocol::ClientMessage;
use signalbox_tests::{
    PROJECT, TransportMode, World, credential,
    raw::{
        WebSocket, dial_from, hello, hello_with, resume, tcp_stream_from, ticket_in,
        try_tls_stream_from,
    },
    rest::{ask_on, request, session_path},
    within_timeout,
};
use tokio::io::AsyncWriteExt as _;

/// Longer than the tests wait for anything.
const FOREVER_MS: u64 = 300_000;

const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// The addresses of a flood.
fn address(number: u8) -> IpAddr {
    IpAddr::from([127, 0, 1, number])
}

/// A gateway with few permits, which strangers hold for ever.
async fn crowded() -> World {
    World::with(|config| {
        config.limits.pending_handshakes = 8;
        config.timeouts.hello_ms = FOREVER_MS;
    })
    .await
}

/// Clients of an address that has no part in the flood join, and members notice nothing.
async fn others_join(world: &World) {
    for transport in TransportMode::ALL {
        let mut alice = world.join(transport, Role::Publisher).await;
        let present = alice.sees_present().await.len();
        assert_eq!(present, 0, "{transport:?}");
        alice.say("hello").await;
        assert_eq!(alice.hear_data().await, "hello");
        alice.client.disconnect().await;
        world.is_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_of_one_address_do_not_delay_other_addresses() {
    let world = crowded().await;
    let tcp = world.addresses().tcp;
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(tcp_stream_from(STRANGER, tcp).await);
    }
    others_join(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_and_silent_websockets_do_not_delay_other_addresses() {
    let world = crowded().await;
    let tcp = world.addresses().tcp;
    let (mut heads, mut sockets, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let mut head = try_tls_stream_from(STRANGER, tcp).await.unwrap();
        head.write_all(b"GET /v1/connect HTTP/1.1\r\nHost").await.unwrap();
        heads.push(head);
        sockets.push(WebSocket::on(try_tls_stream_from(STRANGER, tcp).await.unwrap()).await);
    }
    for _ in 0..16 {
        waiting.push(tcp_stream_from(STRANGER, tcp).await);
    }
    others_join(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_quic_handshakes_do_not_delay_other_addresses() {
    let world = crowded().await;
    let quic = world.addresses().quic;
    // The first permits are for addresses that are not validated; the others need a retry.
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(dial_from(STRANGER, quic).await.unwrap());
    }
    for _ in 0..16 {
        tokio::spawn(dial_from(STRANGER, quic));
    }
    others_join(&world).await;
}

/// A client whose permit goes to another one is not told goodbye: it is to try again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quic_client_that_loses_its_permit_is_to_try_again() {
    let world = crowded().await;
    let quic = world.addresses().quic;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(dial_from(STRANGER, quic).await.unwrap());
    }
    let mut others = Vec::new();
    for number in 0..3 {
        others.push(dial_from(address(number), quic).await.unwrap());
    }
    let ends = held.iter().map(|(_, connection)| Box::pin(connection.closed()));
    let (end, ..) = within_timeout("a permit is taken", select_all(ends)).await;
    match end {
        quinn::ConnectionError::ApplicationClosed(close) => {
            let code = CloseReason::from_quic_code(close.error_code.into_inner());
            assert_eq!(code, CloseReason::NetworkDisconnected);
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_address_joins_while_all_permits_of_strangers_are_in_use() {
    let world = crowded().await;
    let tcp = world.addresses().tcp;
    others_join(&world).await;
    let mut silent = Vec::new();
    for number in 0..40 {
        silent.push(tcp_stream_from(address(number), tcp).await);
    }
    others_join(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_opens_no_more_links_than_it_may() {
    let world = World::with(|config| config.limits.address.links_per_second = 1).await;
    let (tcp, quic) = (world.addresses().tcp, world.addresses().quic);
    let mut links = 0;
    while try_tls_stream_from(STRANGER, tcp).await.is_ok() {
        links += 1;
        assert!(links < 100, "never refused");
    }
    assert!(links >= 10, "refused after {links}");
    assert!(world.stats().refusals().any(|(cause, count)| cause == "links" && count > 0));
    // The address has nothing left for QUIC either.
    let mut refused = 0;
    while refused < 3 {
        refused += u32::from(dial_from(STRANGER, quic).await.is_err());
    }
    others_join(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_a_credential_are_limited_by_address() {
    let world = World::with(|config| {
        config.limits.address.requests_per_second = 1;
        config.limits.address.invalid_tokens_per_second = 1;
        config.limits.http_keep_alive_connections = 0;
    })
    .await;
    let tcp = world.addresses().tcp;
    let health = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let path = format!("{}/connection", session_path(&world));
    let refused = async |text: &str, setting: &str, usual: u16| {
        for _ in 0..100 {
            let mut stream = try_tls_stream_from(STRANGER, tcp).await.unwrap();
            let answer = ask_on(&mut stream, text).await.expect("an answer");
            if answer.status == 429 {
                assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
                assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
                assert!(answer.body.contains(setting), "{answer:?}");
                return;
            }
            assert_eq!(answer.status, usual, "{answer:?}");
        }
        panic!("never refused");
    };
    refused(health, "limits.address.requests_per_second", 200).await;
    // Servers do not count, even without room for their connections.
    let ask = request("GET", &path, &credential(PROJECT), None);
    for _ in 0..30 {
        let mut stream = try_tls_stream_from(address(1), tcp).await.unwrap();
        let answer = ask_on(&mut stream, &ask).await.expect("an answer");
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    others_join(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_credentials_are_limited_by_address() {
    let world = World::with(|config| config.limits.address.invalid_tokens_per_second = 1).await;
    let tcp = world.addresses().tcp;
    let path = format!("{}/connection", session_path(&world));
    let wrong = request("GET", &path, &credential((PROJECT.0, "another secret")), None);
    for attempt in 0..100 {
        let mut stream = try_tls_stream_from(STRANGER, tcp).await.unwrap();
        let answer = ask_on(&mut stream, &wrong).await.expect("an answer");
        if answer.status == 429 {
            assert!(attempt >= 10, "refused after {attempt}");
            assert!(answer.body.contains("limits.address.invalid_tokens_per_second"));
            return;
        }
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    panic!("never refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_tokens_are_limited_by_address_and_resumes_are_not() {
    let world = World::with(|config| config.limits.address.invalid_tokens_per_second = 1).await;
    let tcp = world.addresses().tcp;
    let opened = async || WebSocket::on(try_tls_stream_from(STRANGER, tcp).await.unwrap()).await;
    let said = async |message: &ClientMessage<'_>| {
        let mut link = opened().await;
        link.say(message).await;
        link.end().await.0
    };
    let token = world.token(Role::Publisher);
    let mut resumable = opened().await;
    resumable.say(&hello_with(&token, &[signalbox_protocol::Feature::Resume])).await;
    assert!(resumable.hear().await.starts_with("Welcome"));
    let ticket = ticket_in(&resumable.hear().await);
    drop(resumable);
    let mut attempts = 0;
    while said(&hello("wrong")).await == Some(CloseReason::InvalidToken) {
        attempts += 1;
        assert!(attempts < 100, "never refused");
    }
    // A valid token is not looked at any more, unless a second has passed.
    let refused = async {
        loop {
            let _ = said(&hello("wrong")).await;
            if said(&hello(&token)).await == Some(CloseReason::ConnectionLimit) {
                break;
            }
        }
    };
    within_timeout("the address is refused", refused).await;
    let mut returned = opened().await;
    returned.say(&resume(&ticket)).await;
    assert!(returned.hear().await.starts_with("Resumed"));
    drop(returned);
    drop(world.join(TransportMode::WebSocketJson, Role::Publisher).await);
}
