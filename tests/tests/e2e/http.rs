//! HTTP on the TCP port, up to the WebSocket upgrade.

use signalbox_client::Role;
use signalbox_protocol::{CloseReason, Codec};
use signalbox_tests::{
    PROJECT, TransportMode, World, credential,
    raw::{WebSocket, hello, tls_stream},
    rest::{answer, ask_on, request, session_path},
    within_timeout,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite;

/// The status of a rejected upgrade.
async fn status(
    world: &World,
    subprotocol: Option<&'static str>,
    headers: &[(&'static str, &'static str)],
) -> u16 {
    match WebSocket::handshake(world.addresses().tcp, subprotocol, headers).await {
        Err(tungstenite::Error::Http(response)) => {
            assert!(!response.body().as_deref().unwrap_or_default().is_empty(), "says why");
            response.status().as_u16()
        }
        Ok(_) => 101,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upgrade_reports_a_missing_part() {
    let world = World::with(|config| {
        config.auth.allowed_origins = vec!["https://app.example".into()];
    })
    .await;
    let json = Some(Codec::Json.subprotocol());
    assert_eq!(status(&world, json, &[]).await, 101, "no browser, no origin");
    assert_eq!(status(&world, None, &[]).await, 400);
    assert_eq!(status(&world, Some("mqtt"), &[]).await, 400);
    assert_eq!(status(&world, json, &[("origin", "https://evil.example")]).await, 403);
    assert_eq!(status(&world, json, &[("origin", "https://app.example")]).await, 101);
    assert_eq!(status(&world, json, &[("sec-websocket-version", "8")]).await, 426);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_known_subprotocol_is_taken() {
    let world = World::new().await;
    for (offered, chosen) in [
        ("mqtt, signalbox.v1.postcard, signalbox.v1.json", Codec::Postcard.subprotocol()),
        ("signalbox.v1.json,signalbox.v1.postcard", Codec::Json.subprotocol()),
    ] {
        let answer = head(
            &world,
            &format!(
                "GET /v1/connect HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\n\
                 Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: {offered}\r\n\r\n"
            ),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains(&format!("sec-websocket-protocol: {chosen}\r\n")), "{answer}");
        // The example of RFC 6455 §1.3.
        assert!(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_requests_get_an_answer() {
    let world = World::new().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    for (text, status) in [
        (get("/healthz"), "200"),
        (get("/v1/connect"), "400"),
        (get("/nothing"), "404"),
        ("POST /v1/connect HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".into(), "405"),
        ("nonsense\r\n\r\n".into(), "400"),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000)), "431"),
    ] {
        let answer = head(&world, &text).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}: {answer}");
    }
}

/// A request with an upgrade's headers, but for the change of one of them.
fn upgrade_but(from: &str, to: &str) -> String {
    let good = "GET /v1/connect HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: signalbox.v1.json\r\n\r\n";
    assert!(good.contains(from));
    good.replace(from, to)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_as_rfc_6455_wants_it() {
    let world = World::with(|config| {
        config.auth.allowed_origins = vec!["https://app.example".into()];
    })
    .await;
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let origin = "Origin: https://app.example\r\n";
    for (text, status) in [
        (upgrade_but("", ""), "101"),
        // Bits beyond the sixteen bytes.
        (upgrade_but("jZQ==", "jZR=="), "101"),
        (upgrade_but("GET", "HEAD"), "405"),
        (upgrade_but("GET", "POST"), "405"),
        (upgrade_but("HTTP/1.1", "HTTP/1.0"), "400"),
        (upgrade_but(key, ""), "400"),
        (upgrade_but(key, "Sec-WebSocket-Key:\r\n"), "400"),
        (upgrade_but(key, "Sec-WebSocket-Key: c2hvcnQ=\r\n"), "400"),
        (upgrade_but(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE=\r\n"), "400"),
        (upgrade_but(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n"), "400"),
        (upgrade_but(key, "Sec-WebSocket-Key: not base64, 24 bytes!!!!\r\n"), "400"),
        (upgrade_but(key, &key.repeat(2)), "400"),
        (upgrade_but("Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Version: 12\r\n"), "426"),
        (upgrade_but(key, &format!("{key}Sec-WebSocket-Version: 13\r\n")), "400"),
        (upgrade_but(key, &format!("{key}{origin}")), "101"),
        (upgrade_but(key, &format!("{key}{origin}Origin: https://evil.example\r\n")), "400"),
        (upgrade_but(key, &format!("{key}Content-Length: 5\r\n")), "400"),
        (upgrade_but(key, &format!("{key}Transfer-Encoding: chunked\r\n")), "400"),
    ] {
        let answer = head(&world, &text).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{text}: {answer}");
        let allows = answer.to_lowercase().contains("allow: get");
        assert_eq!(allows, status == "405", "{text}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_could_be_understood_in_two_ways_is_refused_and_the_connection_closed() {
    let world = World::new().await;
    let ask = |headers: &str| format!("GET /healthz HTTP/1.1\r\n{headers}\r\n");
    for (text, status) in [
        (ask("Host: x\r\n"), 200),
        (ask("Host:\r\n"), 200),
        (ask("Host: [::1]:4433\r\n"), 200),
        ("GET /healthz HTTP/1.0\r\n\r\n".into(), 200),
        ("GET http://x/healthz HTTP/1.1\r\nHost: y\r\n\r\n".into(), 200),
        (ask(""), 400),
        (ask("Host: x\r\nHost: x\r\n"), 400),
        (ask("Host: x\r\nhost: y\r\n"), 400),
        ("GET /healthz HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n".into(), 400),
        (ask("Host: x y\r\n"), 400),
        (ask("Host: x/y\r\n"), 400),
        (ask("Host: me@x\r\n"), 400),
        (ask("Host: x, y\r\n"), 400),
        (ask("Host: x\r\nContent-Type: text/plain\r\nContent-Type: application/json\r\n"), 400),
        (ask("Host: x\r\nOrigin: https://a\r\nOrigin: https://b\r\n"), 400),
        (ask("Host: x\r\nContent-Length: 0\r\nContent-Length: 1\r\n"), 400),
    ] {
        let mut stream = tls_stream(world.addresses().tcp).await;
        let answered = ask_on(&mut stream, &text).await.unwrap();
        assert_eq!(answered.status, status, "{text}: {answered:?}");
        if status == 400 {
            assert_eq!(answered.header("connection"), Some("close"), "{text}: {answered:?}");
            assert!(answer(&mut stream).await.is_none(), "{text}: closed");
        }
    }
    let two_lengths = ask("Host: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n");
    let mut stream = tls_stream(world.addresses().tcp).await;
    let answered = ask_on(&mut stream, two_lengths + "0\r\n\r\n").await.unwrap();
    assert_eq!(answered.header("connection"), Some("close"), "{answered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_without_a_credential_ends_when_a_hello_would_be_due() {
    let world = World::with(|config| {
        config.limits.pending_handshakes = 1;
        config.limits.address.requests_per_second = 0;
        config.timeouts.hello_ms = 1000;
        config.limits.http_keep_alive_connections = 1;
    })
    .await;
    let health = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let path = format!("/v2/project/{}/session/{}/connection", PROJECT.0, world.session());
    let list = request("GET", &path, &credential(PROJECT), None);
    // The server releases the only permit, takes one for servers, and stays connected.
    let mut server = tls_stream(world.addresses().tcp).await;
    let mut server_stays = async || {
        let answer = ask_on(&mut server, &list).await.expect("the server's connection is kept");
        assert_eq!((answer.status, answer.header("connection")), (404, None));
    };
    server_stays().await;
    // Another server finds no permit for servers, and is served like a client without a credential.
    for (asked, status) in [(health, 200), (&list, 404)] {
        let mut stranger = tls_stream(world.addresses().tcp).await;
        let mut answers = 0;
        loop {
            server_stays().await;
            let answer =
                ask_on(&mut stranger, asked).await.expect("it is told before it is closed");
            assert_eq!(answer.status, status);
            answers += 1;
            if answer.header("connection") == Some("close") {
                break;
            }
        }
        assert!(answers > 1, "it may ask more than once until then");
        assert!(answer(&mut stranger).await.is_none(), "closed");
    }
    server_stays().await;
}

/// A proxy with a connection pool sends a client's upgrade over a connection that carried a server's
/// requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_may_begin_on_a_connection_that_carried_rest() {
    let world = World::with(|config| {
        config.limits.pending_handshakes = 1;
        config.limits.http_keep_alive_connections = 1;
        config.timeouts.hello_ms = 1000;
    })
    .await;
    let path = format!("{}/connection", session_path(&world));
    let list = request("GET", &path, &credential(PROJECT), None);
    let kept = async || {
        let has_place = async {
            loop {
                let mut stream = tls_stream(world.addresses().tcp).await;
                let answer = ask_on(&mut stream, &list).await.expect("an answer");
                // The earlier server may be about to release its permit.
                if answer.header("keep-alive") == Some("timeout=74") {
                    return stream;
                }
            }
        };
        within_timeout("the place for a server is free", has_place).await
    };
    let joins = async |stream| {
        let mut link = WebSocket::on(stream).await;
        link.say(&hello(&world.token(Role::Publisher))).await;
        assert!(link.hear().await.starts_with("Welcome"));
        link
    };
    // The hello timeout begins with the upgrade: that of the connection has expired.
    let stream = kept().await;
    let mut stranger = tls_stream(world.addresses().tcp).await;
    assert!(answer(&mut stranger).await.is_none(), "closed when a hello was due");
    let _first = joins(stream).await;
    // It ends, too.
    let silent = WebSocket::on(kept().await).await;
    let reason = Some(CloseReason::HelloTimeout);
    assert_eq!(silent.end().await, (reason, reason));
    // While another client holds the only permit, an upgrade waits. After its welcome it has released both
    // permits.
    let stream = kept().await;
    let stranger = tls_stream(world.addresses().tcp).await;
    let (_second, ()) = tokio::join!(joins(stream), async { drop(stranger) });
    let _third = joins(kept().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plaintext_is_served_if_configured() {
    let world = World::with(|config| config.tls.plaintext_tcp = true).await;
    let url = format!("ws://{}", world.addresses().tcp);
    let options = signalbox_client::ConnectOptions::new(url, world.token(Role::Publisher));
    let mut plain = world.try_join(&options).await.unwrap();
    let other = world.join(TransportMode::Quic, Role::Publisher).await;
    plain.sees_created().await;
    other.say("hello").await;
    assert_eq!(plain.hear_data().await, "hello");
}

/// Sends text over TLS and reads the head of the response.
async fn head(world: &World, text: &str) -> String {
    let mut stream = tls_stream(world.addresses().tcp).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let head = async {
        while !answer.windows(4).any(|it| it == b"\r\n\r\n") {
            if matches!(stream.read_buf(&mut answer).await, Ok(0) | Err(_)) {
                break;
            }
        }
    };
    within_timeout("an answer", head).await;
    String::from_utf8(answer).unwrap()
}
