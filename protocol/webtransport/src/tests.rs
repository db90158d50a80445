//! Both sides over a real QUIC connection on loopback.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use quinn::{
    ClientConfig, Connection, Endpoint, ReadError, ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rcgen::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;
use tokio::time::timeout;
use url::Url;
use web_transport_proto::{ConnectError, ConnectRequest, ConnectResponse, Settings};

use super::*;
use crate::code::{BUFFERED_STREAM_REJECTED, H3_GENERAL_PROTOCOL_ERROR, H3_REQUEST_REJECTED};

/// A wait that ends a test which hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client's and a server's end of a connection with HTTP/3 chosen.
struct Pair {
    client: Connection,
    server: Connection,
    _endpoints: [Endpoint; 2],
}

impl Pair {
    async fn new() -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        server.alpn_protocols = vec![ALPN.to_vec()];
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![ALPN.to_vec()];

        let mut transport = TransportConfig::default();
        transport.datagram_receive_buffer_size(Some(1));
        let transport = Arc::new(transport);
        let loopback: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let crypto = QuicServerConfig::try_from(server).unwrap();
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(transport.clone());
        let listening = Endpoint::server(config, loopback).unwrap();
        let dialing = Endpoint::client(loopback).unwrap();
        let crypto = QuicClientConfig::try_from(client).unwrap();
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(transport);
        let address = listening.local_addr().unwrap();
        let connecting = dialing.connect_with(config, address, "localhost").unwrap();
        let accepting = async { listening.accept().await.unwrap().await.unwrap() };
        let (client, server) = tokio::join!(connecting, accepting);
        Self { client: client.unwrap(), server, _endpoints: [listening, dialing] }
    }

    /// An established session, as the client and as the server sees it.
    async fn session(&self) -> (Session, Session) {
        let serving = async { Request::accept(&self.server).await?.establish().await };
        let (client, server) = tokio::join!(connect(&self.client, url("/")), serving);
        (client.unwrap(), server.unwrap())
    }
}

fn url(path: &str) -> Url {
    Url::parse(&format!("https://localhost{path}")).unwrap()
}

/// The status of an encoded response, which is not 200.
fn status(mut response: &[u8]) -> StatusCode {
    match ConnectResponse::decode(&mut response) {
        Err(ConnectError::WrongStatus(Some(status))) => status,
        other => panic!("{other:?}"),
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it does not take that long")
}

/// Opens the control stream of a client, with these settings.
async fn control(client: &Connection, settings: Settings) -> quinn::SendStream {
    let mut stream = client.open_uni().await.unwrap();
    let mut bytes = Vec::new();
    settings.encode(&mut bytes);
    stream.write_all(&bytes).await.unwrap();
    stream
}

fn supporting() -> Settings {
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    settings
}

/// A CONNECT request for a session.
fn encoded_request() -> Vec<u8> {
    let mut request = Vec::new();
    ConnectRequest::new(url("/")).encode(&mut request).unwrap();
    request
}

#[tokio::test]
async fn a_request_has_its_path_and_fields_and_can_be_rejected() {
    let pair = Pair::new().await;
    let connecting = connect(&pair.client, url("/v1/connect?x=1"));
    let rejecting = async {
        let request = Request::accept(&pair.server).await.unwrap();
        assert_eq!(request.path(), "/v1/connect");
        assert!(request.headers().is_empty());
        request.reject(StatusCode::FORBIDDEN).await.unwrap();
    };
    let (rejected, ()) = soon(async { tokio::join!(connecting, rejecting) }).await;
    assert!(matches!(rejected, Err(SetupError::Rejected(StatusCode::FORBIDDEN))));
}

#[tokio::test]
async fn streams_of_both_sides_and_kinds_carry_bytes() {
    let pair = Pair::new().await;
    let (mut client, mut server) = soon(pair.session()).await;
    assert_eq!(client.id, server.id);
    for (id, from, to) in [
        (client.id, &pair.client, &mut server.incoming),
        (server.id, &pair.server, &mut client.incoming),
    ] {
        let mut uni = from.open_uni().await.unwrap();
        uni.write_all(&[&id.uni_prefix()[..], b"uni"].concat()).await.unwrap();
        uni.finish().unwrap();
        let (mut bidi, mut answer) = from.open_bi().await.unwrap();
        bidi.write_all(&[&id.bidi_prefix()[..], b"bidi"].concat()).await.unwrap();
        bidi.finish().unwrap();
        // The unidirectional stream is not lost if the other kind is asked for first.
        let (mut send, mut recv) = soon(to.accept_bi()).await.unwrap();
        assert_eq!(soon(recv.read_to_end(100)).await.unwrap(), b"bidi");
        send.write_all(b"answer").await.unwrap();
        send.finish().unwrap();
        assert_eq!(soon(answer.read_to_end(100)).await.unwrap(), b"answer");
        let PeerStream::Uni(mut recv) = soon(to.next()).await.unwrap() else { panic!() };
        assert_eq!(soon(recv.read_to_end(100)).await.unwrap(), b"uni");
    }
}

#[tokio::test]
async fn a_stream_whose_prefix_is_late_delays_no_other() {
    let pair = Pair::new().await;
    let (client, mut server) = soon(pair.session()).await;
    let prefix = client.id.uni_prefix();
    let mut late = pair.client.open_uni().await.unwrap();
    late.write_all(&prefix[..1]).await.unwrap();
    let mut early = pair.client.open_uni().await.unwrap();
    early.write_all(&[&prefix[..], b"early"].concat()).await.unwrap();
    early.finish().unwrap();
    let PeerStream::Uni(mut recv) = soon(server.incoming.next()).await.unwrap() else { panic!() };
    assert_eq!(soon(recv.read_to_end(100)).await.unwrap(), b"early");
    late.write_all(&[&prefix[1..], b"late"].concat()).await.unwrap();
    late.finish().unwrap();
    let PeerStream::Uni(mut recv) = soon(server.incoming.next()).await.unwrap() else { panic!() };
    assert_eq!(soon(recv.read_to_end(100)).await.unwrap(), b"late");
}

#[tokio::test]
async fn the_code_and_the_reason_of_closing_arrive() {
    let pair = Pair::new().await;
    let (mut client, mut server) = soon(pair.session()).await;
    soon(client.closer.close(17, "that is all")).await.unwrap();
    let closed = SessionEnd::Closed { code: 17, reason: "that is all".into() };
    assert_eq!(soon(server.incoming.closed()).await, closed);
    assert_eq!(soon(server.incoming.next()).await.unwrap_err(), closed, "it stays so");
}

#[tokio::test]
async fn a_close_that_has_arrived_outlives_the_connection() {
    let pair = Pair::new().await;
    let (mut client, mut server) = soon(pair.session()).await;
    soon(client.closer.close(17, "that is all")).await.unwrap();
    pair.client.close(H3_NO_ERROR, b"");
    soon(pair.server.closed()).await;
    let closed = SessionEnd::Closed { code: 17, reason: "that is all".into() };
    assert_eq!(soon(server.incoming.closed()).await, closed);
}

#[tokio::test]
async fn a_session_also_ends_with_its_connect_stream_or_its_connection() {
    let pair = Pair::new().await;
    let (client, mut server) = soon(pair.session()).await;
    drop(client.closer);
    let closed = SessionEnd::Closed { code: 0, reason: String::new() };
    assert_eq!(soon(server.incoming.closed()).await, closed);

    let pair = Pair::new().await;
    let (_client, mut server) = soon(pair.session()).await;
    pair.client.close(to_http3(5), b"why");
    let closed = SessionEnd::Closed { code: 5, reason: "why".into() };
    assert_eq!(soon(server.incoming.closed()).await, closed);

    let pair = Pair::new().await;
    let (_client, mut server) = soon(pair.session()).await;
    pair.client.close(H3_NO_ERROR, b"");
    assert!(matches!(soon(server.incoming.closed()).await, SessionEnd::Lost(_)));
}

#[tokio::test]
async fn a_request_for_something_else_is_answered() {
    let pair = Pair::new().await;
    let _control = control(&pair.client, supporting()).await;
    let (mut send, mut recv) = pair.client.open_bi().await.unwrap();
    // GET / as QPACK writes it (RFC 9204, appendix A): static entries 17, 23, 1, and a literal
    // authority with the name of entry 0.
    let fields = b"\x00\x00\xd1\xd7\xc1\x50\x09localhost";
    let mut request = vec![1, u8::try_from(fields.len()).unwrap()];
    request.extend_from_slice(fields);
    send.write_all(&request).await.unwrap();
    send.finish().unwrap();
    let (accepted, answer) =
        soon(async { tokio::join!(Request::accept(&pair.server), recv.read_to_end(100)) }).await;
    assert!(matches!(accepted, Err(SetupError::Request(_))));
    // A HEADERS frame. The status is a literal with the name of a static entry.
    let answer = answer.unwrap();
    assert_eq!(answer.first(), Some(&1));
    assert_eq!(status(&answer), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_peer_without_webtransport_is_refused() {
    let pair = Pair::new().await;
    let _control = control(&pair.client, Settings::default()).await;
    let (mut send, mut recv) = pair.client.open_bi().await.unwrap();
    send.write_all(&encoded_request()).await.unwrap();
    let (accepted, answer) =
        soon(async { tokio::join!(Request::accept(&pair.server), recv.read_to_end(100)) }).await;
    assert!(matches!(accepted, Err(SetupError::Unsupported)));
    let answer = answer.unwrap();
    assert_eq!(status(&answer), StatusCode::BAD_REQUEST);

    // The same for a server, of which nothing is requested.
    let pair = Pair::new().await;
    let mut control = pair.server.open_uni().await.unwrap();
    let mut bytes = Vec::new();
    Settings::default().encode(&mut bytes);
    control.write_all(&bytes).await.unwrap();
    let refused = soon(connect(&pair.client, url("/"))).await;
    assert!(matches!(refused, Err(SetupError::Unsupported)));
}

#[tokio::test]
async fn invalid_http3_closes_the_connection() {
    let pair = Pair::new().await;
    let mut stream = pair.client.open_uni().await.unwrap();
    // A control stream whose first frame is not SETTINGS (RFC 9114 §6.2.1), but GOAWAY.
    stream.write_all(&[0, 7, 1, 0]).await.unwrap();
    let accepted = soon(Request::accept(&pair.server)).await;
    assert!(matches!(accepted, Err(SetupError::Protocol(_))));
    let quinn::ConnectionError::ApplicationClosed(close) = soon(pair.client.closed()).await else {
        panic!("not closed by the server")
    };
    assert_eq!(close.error_code, H3_GENERAL_PROTOCOL_ERROR);
}

#[tokio::test]
async fn streams_of_no_session_are_rejected_and_the_session_stays() {
    let pair = Pair::new().await;
    let (client, mut server) = soon(pair.session()).await;
    let (mut second, mut answer) = pair.client.open_bi().await.unwrap();
    second.write_all(&encoded_request()).await.unwrap();
    // Streams of session 4, which would be the second request.
    let mut foreign = pair.client.open_uni().await.unwrap();
    foreign.write_all(&[0x40, 0x54, 4]).await.unwrap();
    let (mut other, _) = pair.client.open_bi().await.unwrap();
    other.write_all(&[0x40, 0x41, 4]).await.unwrap();
    let mut unknown = pair.client.open_uni().await.unwrap();
    unknown.write_all(&[0x21]).await.unwrap();
    let mut last = pair.client.open_uni().await.unwrap();
    last.write_all(&client.id.uni_prefix()).await.unwrap();

    let rejected = async {
        assert_eq!(
            answer.read_to_end(1).await,
            Err(quinn::ReadToEndError::Read(ReadError::Reset(H3_REQUEST_REJECTED)))
        );
        assert_eq!(foreign.stopped().await, Ok(Some(BUFFERED_STREAM_REJECTED)));
        assert_eq!(other.stopped().await, Ok(Some(BUFFERED_STREAM_REJECTED)));
        assert_eq!(unknown.stopped().await, Ok(Some(VarInt::from_u32(0x103))));
    };
    let serving = async {
        assert!(matches!(server.incoming.next().await, Ok(PeerStream::Uni(_))));
        server.incoming.closed().await
    };
    tokio::select! {
        () = soon(rejected) => {}
        end = serving => panic!("{end}"),
    }
}

#[tokio::test]
async fn a_request_may_overtake_the_settings() {
    let pair = Pair::new().await;
    let (mut connect, _answer) = pair.client.open_bi().await.unwrap();
    connect.write_all(&encoded_request()).await.unwrap();
    // So may a stream of the session, which is not lost.
    let mut uni = pair.client.open_uni().await.unwrap();
    uni.write_all(&[0x40, 0x54, 0, b'x']).await.unwrap();
    let mut accepting = Box::pin(Request::accept(&pair.server));
    tokio::select! {
        biased;
        _ = &mut accepting => panic!("accepted without settings"),
        () = async { while pair.server.stats().frame_rx.stream < 2 { tokio::task::yield_now().await } } => {}
    }
    let _control = control(&pair.client, supporting()).await;
    let mut session = soon(accepting).await.unwrap().establish().await.unwrap();
    assert!(matches!(soon(session.incoming.next()).await, Ok(PeerStream::Uni(_))));
}
