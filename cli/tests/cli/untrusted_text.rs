//! Text of a peer cannot act on a terminal: neither by `join` and `send`, nor by the gateway's log.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Output,
};

use serde_json::{Value, json};
use signalbox_client::{ConnectOptions, Connector};
use tokio_tungstenite::tungstenite::{self, Message, handshake::server};

use crate::{Gateway, Process, TIMEOUT, run, signalbox, stdout};

/// Sets the clipboard, clears the screen, forges a line, starts a sequence of one byte, turns the
/// rest of the line around, and hides.
const ATTACK: &str = "\u{1b}]52;c;aGk=\u{7}\u{1b}[2J\r\nforged\u{9b}31m\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}\u{feff}\u{7f}";

/// The same, escaped.
const SHOWN: &str = r"\u{1b}]52;c;aGk=\u{7}\u{1b}[2J\r\nforged\u{9b}31m\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}\u{feff}\u{7f}";

/// Unescaped characters of the attack in a text. Callers check line ends.
fn acts(text: &str) -> bool {
    text.contains(|c: char| c != '\n' && (c.is_control() || !c.is_ascii() && ATTACK.contains(c)))
}

#[test]
fn text_of_peers_cannot_act_on_the_terminal() {
    let gateway = Gateway::start();
    let mut reader = gateway.join("quic", "publisher");
    reader.line_with("* you are");
    let (key, secret) = (gateway.text("/project/key"), gateway.text("/project/secret"));
    let project = ["token", "--key", key, "--secret", secret];
    let session = gateway.text("/session");
    let token = stdout(&run(&[&project[..], &["--session", session, "--data", ATTACK]].concat()));
    let mut attacker = signalbox();
    attacker.args(["join", &gateway.url("wss"), "--ca", gateway.text("/ca"), "--json"]);
    let mut attacker = Process::start(attacker.args(["--token", &token]));
    assert_eq!(attacker.event()["connection"]["data"], ATTACK, "JSON is exact");
    let id = reader.line();
    assert!(id.ends_with(&format!("is here {SHOWN}")), "{id}");
    let send = gateway.command("send", "quic", "publisher").args(["--data", ATTACK]).status();
    assert!(send.unwrap().success());
    reader.line_with(&format!(": {SHOWN}"));
    while attacker.event()["data"] != ATTACK {}
    reader.type_line("/who");
    reader.type_line("/quit");
    let said = reader.stderr().join().unwrap();
    assert!(said.contains(SHOWN) && !acts(&said), "{said:?}");
}

/// The output of `join` and `send` with a gateway that sends this answer.
fn clients_say(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            answer(listener.accept().unwrap().0);
        }
    });
    let said = ["join", "send"].map(|command| {
        let arguments = [command, &url, "--token", "T", "--websocket-json"];
        let Output { status, stdout, stderr } = run(&arguments);
        assert!(!status.success() && stdout.is_empty());
        String::from_utf8(stderr).unwrap()
    });
    server.join().unwrap();
    said.into()
}

#[test]
fn a_refused_upgrade_is_one_line() {
    let said = clients_say(|mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let length = ATTACK.len();
        let head = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), ATTACK.as_bytes()].concat()).unwrap();
    });
    for said in said {
        // The body is trimmed, and the mark at its end does not count as white space.
        assert!(said.contains(SHOWN), "{said}");
        assert!(said.lines().count() == 1 && !acts(&said), "{said:?}");
    }
}

#[test]
fn a_reason_is_one_line() {
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let agree = |request: &server::Request, mut response: server::Response| {
        let offered = request.headers()["sec-websocket-protocol"].clone();
        response.headers_mut().insert("sec-websocket-protocol", offered);
        Ok(response)
    };
    let said = clients_say(move |stream| {
        let mut socket = tungstenite::accept_hdr(stream, agree).unwrap();
        let _hello = socket.read().unwrap();
        let bye = json!({ "bye": { "reason": "forbidden", "message": ATTACK, "streams": 0 } });
        socket.send(Message::text(bye.to_string())).unwrap();
        let _ = socket.close(None);
        while socket.read().is_ok() {}
    });
    for said in said {
        assert!(said.contains(SHOWN), "{said}");
        assert!(said.lines().count() == 1 && !acts(&said), "{said:?}");
    }
}

/// At the finest level, including the libraries.
#[test]
fn strangers_cannot_act_on_the_terminal_by_the_log() {
    let mut gateway = Gateway::start_with(&[
        ("SIGNALBOX_LOG", "trace"),
        ("SIGNALBOX_TLS__PLAINTEXT_TCP", "true"),
    ]);
    let log = gateway.process.stderr();
    let https = gateway.text("/https");
    let http = |request: &[u8]| {
        let mut stream = TcpStream::connect(https).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    };
    let attack = ATTACK.as_bytes();
    let upgrade =
        b"GET /v1/connect HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: ";
    let marks = "\u{9b}\u{202e}\u{2028}".as_bytes();
    http(&[b"GET /", attack, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    http(&[b"GET /", marks, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    http(&[b"GET / HTTP/1.1\r\nHost: a\r\nX-OPENTOK-AUTH: ", marks, b"\r\n\r\n"].concat());
    http(&[&upgrade[..], marks, b"\r\nSec-WebSocket-Protocol: ", marks, b"\r\n\r\n"].concat());
    http(attack);
    // A WebSocket with an invalid message, and one with a hostile header.
    let url = format!("ws://{https}/v1/connect");
    let say = |hello: Value| {
        let mut request =
            tungstenite::client::IntoClientRequest::into_client_request(url.as_str()).unwrap();
        let name = tungstenite::http::HeaderValue::from_static("signalbox.v1.json");
        request.headers_mut().insert("sec-websocket-protocol", name);
        let stream = TcpStream::connect(https).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let (mut socket, _) = tungstenite::client(request, stream).unwrap();
        socket.send(Message::text(hello.to_string())).unwrap();
        let _ = socket.read();
        let close = tungstenite::protocol::CloseFrame {
            code: 4999.into(),
            reason: "\u{1b}[2J\r\nX".into(),
        };
        let _ = socket.close(Some(close));
        while socket.read().is_ok() {}
    };
    let token = gateway.text("/tokens/publisher");
    say(json!({ "hello": { "token": ATTACK, "agent": ATTACK } }));
    say(json!({ ATTACK: ATTACK }));
    say(json!({ "hello": { "token": token, "agent": &ATTACK[..40] } }));
    let pem = std::fs::read(gateway.text("/ca")).unwrap();
    let quic = async {
        let options = ConnectOptions::new(gateway.url("quic"), token).agent(&ATTACK[..40]);
        let (client, _events) =
            Connector::with_roots_pem(&pem).unwrap().connect(&options).await.unwrap();
        client.disconnect().await;
    };
    tokio::runtime::Runtime::new().unwrap().block_on(quic);

    gateway.process.terminate();
    let said = log.join().unwrap();
    let (agent, _) = SHOWN.split_once("forged").unwrap();
    assert!(said.matches(agent).count() >= 2, "the agents were logged: {said}");
    for line in said.lines() {
        assert!(!acts(line), "{line:?}");
        assert!(!line.starts_with("forged"), "{line:?}");
    }
}
