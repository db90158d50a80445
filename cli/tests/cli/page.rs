//! The page of `serve --dev`: its address, its session, and who is given its tokens.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{Gateway, TIMEOUT, support::Process};

/// The host and port of a page's address, and the key in it.
fn parts(url: &str) -> (&str, &str) {
    url.strip_prefix("http://").unwrap().split_once("/#").unwrap()
}

/// The status and the body of the session that the page asks for, with this header.
fn session(host: &str, authorization: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(host.replace("localhost", "127.0.0.1")).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let request = format!("GET /session.json HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn the_page_gets_the_session_for_its_key_alone() {
    let gateway = Gateway::start();
    let (host, key) = parts(gateway.text("/page"));
    let good = format!("Authorization: Bearer {key}\r\n");
    let longer = format!("Authorization: Bearer {key}x\r\n");
    let shorter = format!("Authorization: Bearer {}\r\n", &key[1..]);
    for bad in
        ["", "Authorization: Bearer \r\n", &good.replace("Bearer", "Basic"), &longer, &shorter]
    {
        let (status, body) = session(host, bad);
        assert_eq!(status, 401, "{bad}");
        assert!(body.contains("address that the gateway has printed"), "{body}");
    }
    let (status, body) = session(host, &good);
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_str(&body).unwrap();
    for member in ["/session", "/tokens/moderator", "/tokens/publisher", "/tokens/subscriber"] {
        assert_eq!(answer.pointer(member).unwrap(), gateway.text(member));
    }
    assert_eq!(answer["webTransport"]["url"], format!("https://{}", gateway.text("/quic")));
    let hash = answer["webTransport"]["certificateHash"].as_str().unwrap();
    let ca = std::path::Path::new(gateway.text("/ca")).parent().unwrap();
    let authority = signalbox_certs::DevAuthority::open(ca, std::time::SystemTime::now()).unwrap();
    assert_eq!(STANDARD.decode(hash).unwrap(), authority.leaf_sha256());
}

#[test]
fn the_page_is_announced_and_its_key_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Gateway::serve(dir.path(), "text");
    let line = first.line_with("http://localhost:");
    let (host, key) = parts(line.trim());
    assert!(key.len() >= 32, "{key}");
    assert_eq!(session(host, &format!("Authorization: Bearer {key}\r\n")).0, 200);
    first.terminate();
    assert!(first.succeeds());
    let mut second = Gateway::serve(dir.path(), "json");
    let announcement = second.event();
    assert_eq!(parts(announcement["page"].as_str().unwrap()).1, key);
}

#[test]
fn the_page_is_served_to_the_network_if_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Gateway::serve_command(dir.path(), "json");
    // A route is enough; nothing is sent.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    if probe.connect("192.0.2.1:9").is_err() {
        let output = command.arg("--lan").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("this machine has no address on a network"), "{said}");
        return;
    }
    let mut gateway = Process::start(command.arg("--lan"));
    let announcement = gateway.event();
    let (local, key) = parts(announcement["page"].as_str().unwrap());
    let (host, network_key) = parts(announcement["networkPage"].as_str().unwrap());
    assert_eq!(network_key, key);
    let address: std::net::SocketAddr = host.parse().unwrap();
    assert_eq!(local, format!("localhost:{}", address.port()));
    let (status, body) = session(local, &format!("Authorization: Bearer {key}\r\n"));
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["network"]["url"], announcement["networkPage"]);
    assert!(answer["network"]["qrSvg"].as_str().unwrap().contains("<svg"));
    assert_eq!(session(host, "").0, 401);
}
