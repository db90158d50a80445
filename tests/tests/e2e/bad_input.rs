//! Bad input ends at worst its own link, with a close reason. The background traffic of the same session
//! is not affected.

use signalbox_client::{ConnectionId, Role};
use signalbox_protocol::{ClientMessage, CloseReason, frame, limits::CLIENT_FRAME_BYTES};
use signalbox_tests::{
    World,
    background::BackgroundTraffic,
    raw::{self, Quic, WebSocket, hello, signal},
    within_timeout,
};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use CloseReason::{FrameTooLarge, HelloTimeout, ProtocolError};

/// A world with background traffic.
async fn disturbed() -> (World, BackgroundTraffic) {
    disturbed_with(|_| {}).await
}

async fn disturbed_with(
    change: impl FnOnce(&mut signalbox_gateway::Config),
) -> (World, BackgroundTraffic) {
    let world = World::with(change).await;
    let background = BackgroundTraffic::start(&world).await;
    (world, background)
}

/// The background traffic was not affected, and no connection is left.
async fn undisturbed(world: World, background: BackgroundTraffic) {
    background.assert_undisturbed().await;
    world.is_empty().await;
}

/// Asserts the end on QUIC: a bye and a close with the same reason.
async fn quic_ends(link: Quic, reason: CloseReason, what: &str) {
    assert_eq!(link.end().await, (Some(reason), reason), "{what}");
}

/// Asserts the end on WebSocket.
async fn websocket_ends(link: WebSocket, reason: CloseReason, what: &str) {
    assert_eq!(link.end().await, (Some(reason), Some(reason)), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hello_in_time() {
    let (world, background) = disturbed_with(|config| config.timeouts.hello_ms = 400).await;
    let (quic, tcp) = (world.addresses().quic, world.addresses().tcp);
    // Without a control stream there cannot be a bye.
    let silent = Quic::connect(quic).await;
    assert_eq!(silent.end().await, (None, HelloTimeout));
    let mut slow = Quic::connect(quic).await;
    slow.write(&[0x10]).await;
    quic_ends(slow, HelloTimeout, "half a hello").await;
    for json in [false, true] {
        let silent = WebSocket::connect(tcp, json).await;
        websocket_ends(silent, HelloTimeout, "no hello").await;
    }
    undisturbed(world, background).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_frames_that_are_none() {
    let (world, background) = disturbed().await;
    let address = world.addresses().quic;
    let token = world.token(Role::Publisher);
    let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    let cases: [(&str, &[u8], CloseReason); 8] = [
        ("garbage", &[3, 0xff, 0xff, 0xff], ProtocolError),
        ("an empty message", &[0], ProtocolError),
        ("a declared length of 2^62", &huge, FrameTooLarge),
        ("a frame one over the limit", &[0x81, 0xa0, 0x01], FrameTooLarge),
        ("a length in more bytes than it needs", &[0x81, 0x00, 0x03], ProtocolError),
        ("a message with something behind it", &[3, 3, 0, 9], ProtocolError),
        ("a force disconnect with half an id", &[4, 2, 1, 2, 3], ProtocolError),
        ("bad UTF-8 in a hello", &[7, 0, 2, 0xc3, 0x28, 1, 0, 0], ProtocolError),
    ];
    assert_eq!(CLIENT_FRAME_BYTES, 0x5000, "the case above is one more");
    for (what, bytes, reason) in cases {
        let mut before = Quic::connect(address).await;
        before.write(bytes).await;
        quic_ends(before, reason, &format!("{what}, before the hello")).await;
        let mut after = Quic::join(address, &token).await;
        after.write(bytes).await;
        quic_ends(after, reason, &format!("{what}, after the hello")).await;
        let signals = Quic::join(address, &token).await;
        let mut stream = signals.signals().await;
        let _ = stream.write_all(bytes).await;
        quic_ends(signals, reason, &format!("{what}, among the signals")).await;
    }
    undisturbed(world, background).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_websocket_messages() {
    let (world, background) = disturbed().await;
    let address = world.addresses().tcp;
    let token = world.token(Role::Publisher);
    let binary = |bytes: &[u8]| Message::Binary(Bytes::copy_from_slice(bytes));
    let text = |text: &str| Message::text(text);
    let cases = [
        (false, "garbage", binary(&[0xff, 0xff, 0xff]), ProtocolError),
        (false, "an empty message", binary(&[]), ProtocolError),
        (false, "a message with something behind it", binary(&[3, 0, 9]), ProtocolError),
        (false, "bad UTF-8", binary(&[1, 0, 0, 1, 2, 0xc3, 0x28]), ProtocolError),
        (false, "too long", binary(&vec![1; CLIENT_FRAME_BYTES + 1]), FrameTooLarge),
        (false, "text on postcard", text(r#"{"goodbye":{}}"#), ProtocolError),
        (true, "garbage", text("hello?"), ProtocolError),
        (true, "an empty message", text(""), ProtocolError),
        (true, "half of one", text(r#"{"signal":{"data":"#), ProtocolError),
        (true, "a wrong type", text(r#"{"signal":{"data":7}}"#), ProtocolError),
        (true, "a bad id", text(r#"{"forceDisconnect":{"id":"me"}}"#), ProtocolError),
        (true, "an array for an object", text(r#"{"signal":[null,"chat","x"]}"#), ProtocolError),
        (true, "null for an object", text(r#"{"ticketStored":null}"#), ProtocolError),
        (true, "a member twice", text(r#"{"signal":{"data":"a","data":"a"}}"#), ProtocolError),
        (true, "an ignored member twice", text(r#"{"signal":{"x":1,"x":1}}"#), ProtocolError),
        (true, "an unknown kind twice", text(r#"{"wave":{},"wave":{}}"#), ProtocolError),
        (true, "a byte order mark", text("\u{feff}{\"signal\":{}}"), ProtocolError),
        (true, "too long", text(&" ".repeat(64 * 1024 + 1)), FrameTooLarge),
        (true, "deep nesting", text(&"[".repeat(60_000)), ProtocolError),
        (true, "binary on JSON", binary(&[3, 0]), ProtocolError),
    ];
    for (json, what, message, reason) in cases {
        let mut before = WebSocket::connect(address, json).await;
        before.write(message.clone()).await;
        websocket_ends(before, reason, &format!("{what}, before the hello")).await;
        let mut after = WebSocket::join(address, json, &token).await;
        after.write(message).await;
        websocket_ends(after, reason, &format!("{what}, after the hello")).await;
    }
    undisturbed(world, background).await;
}

/// Frames that no WebSocket library would send, byte by byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_websocket_frames() {
    let (world, background) = disturbed().await;
    let address = world.addresses().tcp;
    let token = world.token(Role::Publisher);
    let huge = [0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    let cases: [(&str, &[u8], CloseReason); 4] = [
        ("a declared length of 2^62", &huge, FrameTooLarge),
        ("an unmasked frame", &[0x82, 0x01, 0x00], ProtocolError),
        ("a reserved opcode", &[0x83, 0x80, 1, 2, 3, 4], ProtocolError),
        ("text that is not UTF-8", &[0x81, 0x81, 0, 0, 0, 0, 0xff], ProtocolError),
    ];
    for (what, bytes, reason) in cases {
        let mut link = WebSocket::join(address, true, &token).await;
        let stream = link.socket.get_mut();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        websocket_ends(link, reason, what).await;
    }
    undisturbed(world, background).await;
}

/// A client that is still sending receives the reason of its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_close_reason_reaches_a_client_that_is_still_sending() {
    let (world, background) = disturbed().await;
    let token = world.token(Role::Publisher);
    for json in [false, true] {
        let mut link = WebSocket::join(world.addresses().tcp, json, &token).await;
        // More than the socket buffers hold. If the gateway closed the connection with unread bytes, TCP would
        // reset it, and the reason would be lost.
        let stream = link.socket.get_mut();
        stream.write_all(&[0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4]).await.unwrap();
        stream.write_all(&vec![0; 1 << 24]).await.unwrap();
        stream.flush().await.unwrap();
        websocket_ends(link, FrameTooLarge, "sixteen mebibytes").await;
    }
    undisturbed(world, background).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_in_the_wrong_place() {
    let (world, background) = disturbed().await;
    let (quic, tcp) = (world.addresses().quic, world.addresses().tcp);
    let token = world.token(Role::Publisher);

    let mut early = Quic::connect(quic).await;
    early.say(&signal("x")).await;
    quic_ends(early, ProtocolError, "a signal before the hello").await;
    let mut twice = Quic::join(quic, &token).await;
    twice.say(&hello(&token)).await;
    quic_ends(twice, ProtocolError, "a second hello").await;
    let mut misplaced = Quic::join(quic, &token).await;
    misplaced.say(&signal("x")).await;
    quic_ends(misplaced, ProtocolError, "a signal on the control stream").await;
    let among = Quic::join(quic, &token).await;
    let mut stream = among.signals().await;
    stream.write_all(&frame::encode(&ClientMessage::Goodbye { signals: 0 })).await.unwrap();
    quic_ends(among, ProtocolError, "a goodbye among the signals").await;

    for json in [false, true] {
        let mut early = WebSocket::connect(tcp, json).await;
        early.say(&signal("x")).await;
        websocket_ends(early, ProtocolError, "a signal before the hello").await;
        let mut twice = WebSocket::join(tcp, json, &token).await;
        twice.say(&hello(&token)).await;
        websocket_ends(twice, ProtocolError, "a second hello").await;
    }
    undisturbed(world, background).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_must_not_be() {
    let (world, background) = disturbed().await;
    let address = world.addresses().quic;
    let token = world.token(Role::Publisher);
    let join = || Quic::join(address, &token);

    let link = join().await;
    let mut unknown = link.connection.open_uni().await.unwrap();
    unknown.write_all(&[1, 7]).await.unwrap();
    quic_ends(link, ProtocolError, "a stream of an unknown kind").await;

    let link = join().await;
    let mut headless = link.connection.open_uni().await.unwrap();
    headless.finish().unwrap();
    quic_ends(link, ProtocolError, "a stream without a header").await;

    let link = join().await;
    let (_first, _second) = (link.signals().await, link.signals().await);
    quic_ends(link, ProtocolError, "a second stream of signals").await;

    let link = join().await;
    let (mut send, _recv) = link.connection.open_bi().await.unwrap();
    send.write_all(&[0]).await.unwrap();
    quic_ends(link, ProtocolError, "a second control stream").await;

    let link = join().await;
    let mut reset = link.signals().await;
    reset.write_all(&[9, 1, 0]).await.unwrap();
    reset.reset(0u32.into()).unwrap();
    quic_ends(link, ProtocolError, "signals reset in mid-frame").await;

    let link = join().await;
    let mut cut = link.signals().await;
    cut.write_all(&[9, 1, 0]).await.unwrap();
    cut.finish().unwrap();
    quic_ends(link, ProtocolError, "signals ended in mid-frame").await;

    let mut link = join().await;
    link.write(&[9, 1, 0]).await;
    link.control.finish().unwrap();
    quic_ends(link, ProtocolError, "the control stream ended in mid-frame").await;

    let mut link = join().await;
    link.control.reset(0u32.into()).unwrap();
    quic_ends(link, ProtocolError, "the control stream was reset").await;
    undisturbed(world, background).await;
}

/// A fault of a single message is an error, and the link stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_that_break_a_rule() {
    let (world, background) = disturbed().await;
    let token = world.token(Role::Publisher);
    let nobody = "0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10".parse().unwrap();
    let cases = [
        (Some("t".repeat(129)), None, None, "TypeTooLong"),
        (Some("a b".into()), None, None, "InvalidType"),
        (None, Some("d".repeat(8193)), None, "DataTooLong"),
        (None, Some("d".repeat(16_000)), None, "DataTooLong"),
        (None, None, Some(nobody), "NotFound"),
    ];
    let message = |(signal_type, data, to, _): &(Option<String>, Option<String>, _, &str)| {
        let signal = signalbox_protocol::Signal::new(signal_type.clone(), data.clone());
        ClientMessage::Signal(signalbox_protocol::message::SendSignal::new(*to, signal))
    };
    let mut quic = Quic::join(world.addresses().quic, &token).await;
    let mut stream = quic.signals().await;
    for (case, number) in cases.iter().zip(1..) {
        stream.write_all(&frame::encode(&message(case))).await.unwrap();
        let told = quic.hear().await;
        assert!(told.contains(&format!("signal: Some({number}), code: {}", case.3)), "{told}");
    }
    for json in [false, true] {
        let mut link = WebSocket::join(world.addresses().tcp, json, &token).await;
        for (case, number) in cases.iter().zip(1..) {
            link.say(&message(case)).await;
            let told = loop {
                let told = link.hear().await;
                // Signals of the background traffic arrive in between.
                if !told.starts_with("Signal") {
                    break told;
                }
            };
            assert!(told.contains(&format!("signal: Some({number}), code: {}", case.3)), "{told}");
        }
        link.say(&ClientMessage::Goodbye { signals: 0 }).await;
        websocket_ends(link, CloseReason::ClientDisconnected, "a goodbye after errors").await;
    }
    quic.say(&ClientMessage::Goodbye { signals: cases.len() as u64 }).await;
    let end = quic.connection.clone();
    assert!(quic.hear().await.starts_with("Bye { reason: ClientDisconnected"));
    end.close(0u32.into(), b"");
    undisturbed(world, background).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_messages_of_a_newer_client_are_skipped_and_reported() {
    let (world, background) = disturbed().await;
    let token = world.token(Role::Publisher);
    let mut quic = Quic::join(world.addresses().quic, &token).await;
    quic.write(&[3, 99, 1, 2]).await;
    assert!(quic.hear().await.contains("code: Unsupported"));
    let mut signals = quic.signals().await;
    signals.write_all(&[3, 99, 1, 2]).await.unwrap();
    assert!(quic.hear().await.contains("code: Unsupported"));
    // Not counted among the signals.
    signals.write_all(&frame::encode(&signal(&"x".repeat(8193)))).await.unwrap();
    assert!(quic.hear().await.contains("signal: Some(1), code: DataTooLong"));
    quic.say(&ClientMessage::Goodbye { signals: 1 }).await;
    assert!(quic.hear().await.starts_with("Bye { reason: ClientDisconnected"));
    quic.connection.close(0u32.into(), b"");
    let unknown = [
        (false, Message::Binary(Bytes::from_static(&[99, 1, 2]))),
        (true, Message::text(r#"{"wave":{"hand":"left"}}"#)),
    ];
    for (json, message) in unknown {
        let mut link = WebSocket::join(world.addresses().tcp, json, &token).await;
        link.write(message).await;
        while !link.hear().await.contains("code: Unsupported") {}
    }
    undisturbed(world, background).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carriers_that_just_vanish() {
    let (world, background) = disturbed().await;
    let token = world.token(Role::Publisher);
    for json in [false, true] {
        // In the middle of TLS, of the HTTP head, and of the session.
        let mut plain = tokio::net::TcpStream::connect(world.addresses().tcp).await.unwrap();
        plain.write_all(&[0x16, 3, 1, 2]).await.unwrap();
        drop(plain);
        let mut http = raw::tls_stream(world.addresses().tcp).await;
        http.write_all(b"GET /v1/connect HTTP/1.1\r\nHost").await.unwrap();
        drop(http);
        drop(WebSocket::join(world.addresses().tcp, json, &token).await);
        drop(Quic::join(world.addresses().quic, &token).await);
    }
    undisturbed(world, background).await;
}

/// A client that pings all the time is disconnected; a moderator that disconnects many is told to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_pings_and_of_requests_to_disconnect() {
    let (world, background) = disturbed().await;
    let token = world.token(Role::Moderator);
    let mut pinging = WebSocket::join(world.addresses().tcp, true, &token).await;
    for _ in 0..1500 {
        pinging.write(Message::Ping(Bytes::new())).await;
    }
    assert_eq!(pinging.end().await.0, Some(ProtocolError));
    let mut moderator = WebSocket::join(world.addresses().tcp, true, &token).await;
    let id = ConnectionId::from_bytes([7; 16]);
    let told = async {
        loop {
            moderator.say(&ClientMessage::ForceDisconnect { id }).await;
            let answer = moderator.hear().await;
            if answer.contains("RateLimited") {
                break;
            }
        }
    };
    within_timeout("the moderator is told to wait", told).await;
    // The link stays open.
    moderator.say(&ClientMessage::Goodbye { signals: 0 }).await;
    assert_eq!(moderator.end().await.0, Some(CloseReason::ClientDisconnected));
    undisturbed(world, background).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_that_are_no_quic() {
    let (world, background) = disturbed().await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in [0, 1, 20, 1200, 1472] {
        for first in [0x00u8, 0x40, 0xc0, 0xff] {
            let mut packet = vec![first; length];
            packet.iter_mut().skip(1).zip(0u32..).for_each(|(byte, n)| *byte = (n * 31) as u8);
            let _ = socket.send_to(&packet, world.addresses().quic).await;
        }
    }
    undisturbed(world, background).await;
}

/// A hundred clients that never send hello do not hold their permits forever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_silent_clients_do_not_lock_others_out() {
    let (world, background) = disturbed_with(|config| {
        config.limits.pending_handshakes = 8;
        config.timeouts.hello_ms = 300;
    })
    .await;
    let tcp = world.addresses().tcp;
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(tokio::net::TcpStream::connect(tcp).await.unwrap());
    }
    // These get further, and then send nothing.
    let mut idle = Vec::new();
    for _ in 0..16 {
        idle.push(raw::tls_stream(tcp).await);
    }
    let latecomer = world.join(signalbox_tests::TransportMode::WebSocketJson, Role::Publisher);
    drop(within_timeout("a latecomer gets in", latecomer).await);
    // The other port has permits of its own.
    drop(
        within_timeout(
            "another",
            world.join(signalbox_tests::TransportMode::Quic, Role::Publisher),
        )
        .await,
    );
    drop((silent, idle));
    undisturbed(world, background).await;
}
