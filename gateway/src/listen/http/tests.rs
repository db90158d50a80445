//! Time limits of HTTP clients and their permits, on a transport in memory and in simulated time.

use std::{net::SocketAddr, time::Duration};

use signalbox_protocol::{
    ConnectionId, ConnectionInfo, MediaMode, ProjectKey, Role, SessionId, Transport,
};
use signalbox_relay::{Encoding, Join, TokenIdentity};
use signalbox_token::{NewServerToken, Signer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::http_connection::EXCHANGE;
use crate::{Config, ProjectConfig, clock::unix_time, link::opentok::RETRY_PAUSE, link_id::LinkId};

/// A gateway in whose session a thousand connections have 4 KiB of data each.
fn gateway() -> (ServerContext, SessionId) {
    let key: ProjectKey = "1".parse().unwrap();
    let project = ProjectConfig::with_secret(key.clone(), "secret");
    let mut config = Config { projects: vec![project], ..Config::default() };
    config.limits.pending_handshakes = 1;
    config.opentok_js.prefix = Some("/opentok".to_owned());
    config.proxy.trusted = vec!["127.0.0.1".to_owned()];
    let context = ServerContext::of(&config);
    let session = SessionId::mint(&key, MediaMode::Relayed, None, 0, [0; 24]);
    for number in 0..1000_u128 {
        let id = ConnectionId::from_bytes(number.to_be_bytes());
        let info = ConnectionInfo { id, created_at: 0, data: "x".repeat(4096) };
        let joined = context.services.relay().join(
            Join {
                session: session.clone(),
                info,
                role: Role::Publisher,
                token: TokenIdentity::default(),
                presence: false,
                encoding: Encoding::Shared,
                transport: Transport::WebSocket,
                resume: None,
            },
            Duration::ZERO,
        );
        // It stays until the test is over.
        std::mem::forget(joined.unwrap().connection);
    }
    (context, session)
}

/// Asks for a list of all of them, which is far more than a carrier holds.
async fn ask(carrier: &mut DuplexStream, session: &SessionId) {
    let signer = Signer::Secret("secret");
    let (key, lifetime) = (session.project(), Duration::from_secs(60));
    let credential = NewServerToken { key, signer, now: unix_time(), lifetime }.mint().unwrap();
    let request = format!(
        "GET /v2/project/1/session/{session}/connection?details=true HTTP/1.1\r\nHost: x\r\n\
         X-OPENTOK-AUTH: {credential}\r\n\r\n"
    );
    carrier.write_all(request.as_bytes()).await.unwrap();
}

/// A client that holds an admission permit.
async fn client(context: &ServerContext) -> HttpConnection {
    let remote = SocketAddr::from(([127, 0, 0, 1], 0));
    let account = context.admission.tcp_client(remote.ip());
    let permit = context.admission.enter_tcp(account).await.unwrap();
    HttpConnection::new(LinkId::next(), remote, Instant::now() + patience(context), permit)
}

fn patience(context: &ServerContext) -> Duration {
    context.services.policy().timeouts.hello()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answer_is_disconnected() {
    let (context, session) = gateway();
    let (near, mut far) = tokio::io::duplex(4096);
    ask(&mut far, &session).await;
    let started = Instant::now();
    serve(&context, router(&context), near, client(&context).await).await;
    assert_eq!(started.elapsed().as_secs(), EXCHANGE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_credential_that_does_not_read_loses_its_permit() {
    let (context, _) = gateway();
    let (near, mut far) = tokio::io::duplex(4096);
    let patience = patience(&context);
    let started = Instant::now();
    let client = client(&context).await;
    let asking = async {
        // At the last moment, and for more than the carrier holds.
        tokio::time::advance(patience - Duration::from_millis(1)).await;
        far.write_all(b"GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    };
    tokio::join!(serve(&context, router(&context), near, client), asking);
    assert_eq!(started.elapsed().as_secs(), 2 * patience.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_the_whole_answer() {
    let (context, session) = gateway();
    let (near, mut far) = tokio::io::duplex(4096);
    ask(&mut far, &session).await;
    let client = client(&context).await;
    let serving = async { serve(&context, router(&context), near, client).await };
    let reading = async {
        tokio::time::advance(EXCHANGE / 2).await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"0\r\n\r\n") {
            assert!(far.read_buf(&mut answer).await.unwrap() > 0, "cut off");
        }
        assert!(answer.len() > 4_000_000);
        drop(far);
    };
    tokio::join!(serving, reading);
}

/// Reads until the answer has this in it.
async fn answered(far: &mut DuplexStream, with: &str) {
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(with) {
        let read = far.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
    }
}

/// Asks for what is not there, with a credential.
async fn ask_as_server(far: &mut DuplexStream, session: &SessionId) {
    let (key, lifetime) = (session.project(), Duration::from_secs(600));
    let signer = Signer::Secret("secret");
    let credential = NewServerToken { key, signer, now: unix_time(), lifetime }.mint().unwrap();
    let request = format!(
        "DELETE /v2/project/1/session/{session}/connection/x HTTP/1.1\r\nHost: x\r\n\
         X-OPENTOK-AUTH: {credential}\r\n\r\n"
    );
    far.write_all(request.as_bytes()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_servers_connection_may_be_idle_for_longer_than_balancers_keep_it() {
    let (context, session) = gateway();
    let (near, mut far) = tokio::io::duplex(4096);
    let client = client(&context).await;
    let serving = async {
        serve(&context, router(&context), near, client).await;
        Instant::now()
    };
    let asking = async {
        for _ in 0..3 {
            ask_as_server(&mut far, &session).await;
            answered(&mut far, "keep-alive: timeout=74").await;
            tokio::time::advance(Duration::from_secs(70)).await;
        }
        ask_as_server(&mut far, &session).await;
        answered(&mut far, "keep-alive: timeout=74").await;
        let last = Instant::now();
        // Until it is closed.
        far.read_to_end(&mut Vec::new()).await.unwrap();
        last
    };
    let (ended, last) = tokio::join!(serving, asking);
    assert_eq!((ended - last).as_secs(), 75);
}

fn upgrade_of(path: &str, header: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: signalbox.v1.json\r\n{header}\r\n"
    )
}

/// Paths of WebSockets, with the time by which a refusal is delayed.
const SOCKETS: [(&str, Duration); 2] =
    [("/v1/connect", Duration::ZERO), ("/opentok/signalbox/rumor/x/y", RETRY_PAUSE)];

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_finds_no_place_is_told_to_try_again() {
    for (path, pause) in SOCKETS {
        let (context, session) = gateway();
        let (near, mut far) = tokio::io::duplex(4096);
        let client = client(&context).await;
        let serving = serve(&context, router(&context), near, client);
        let asking = async {
            ask_as_server(&mut far, &session).await;
            answered(&mut far, "keep-alive").await;
            let other = context.admission.tcp_client([192, 0, 2, 1].into());
            let _other = context.admission.enter_tcp(other).await.unwrap();
            let asked = Instant::now();
            far.write_all(upgrade_of(path, "").as_bytes()).await.unwrap();
            answered(&mut far, "HTTP/1.1 503 ").await;
            assert_eq!(asked.elapsed(), patience(&context) + pause, "{path}");
            drop(far);
        };
        tokio::join!(serving, asking);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_of_an_address_with_too_many_links_is_refused() {
    for (path, pause) in SOCKETS {
        let (context, _) = gateway();
        let (near, mut far) = tokio::io::duplex(4096);
        let account = context.admission.tcp_client([203, 0, 113, 7].into());
        while account.take(AddressRate::Links) {}
        let serving = serve(&context, router(&context), near, client(&context).await);
        let asking = async {
            let asked = Instant::now();
            let upgrade = upgrade_of(path, "X-Forwarded-For: 203.0.113.7\r\n");
            far.write_all(upgrade.as_bytes()).await.unwrap();
            answered(&mut far, "HTTP/1.1 429 ").await;
            assert_eq!(asked.elapsed(), pause, "{path}");
            drop(far);
        };
        tokio::join!(serving, asking);
    }
}

#[tokio::test(start_paused = true)]
async fn pages_may_read_that_their_address_makes_too_many_requests() {
    let (context, _) = gateway();
    let (near, mut far) = tokio::io::duplex(4096);
    let account = context.admission.tcp_client([203, 0, 113, 7].into());
    while account.take(AddressRate::Requests) {}
    let serving = serve(&context, router(&context), near, client(&context).await);
    let asking = async {
        let request = "GET /opentok/anvil.opentok.com/session/x HTTP/1.1\r\nHost: x\r\n\
            X-Forwarded-For: 203.0.113.7\r\nOrigin: https://app.example\r\n\r\n";
        far.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        far.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert!(answer.contains("access-control-allow-origin: *\r\n"), "{answer}");
    };
    tokio::join!(serving, asking);
}
