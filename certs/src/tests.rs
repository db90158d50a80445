//! TLS handshakes between the configurations of this crate, pumped through memory.
#![allow(clippy::unwrap_used)]

use std::{
    ops::DerefMut,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, NamedGroup, ProtocolVersion,
    RootCertStore, ServerConfig, ServerConnection, SideData,
    client::Resumption,
    crypto::CryptoProvider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::ServerName;

use super::*;

/// A development authority whose leaf is due for renewal, so that opening it once more
/// replaces the leaf while both leaves are valid now.
struct World {
    dir: tempfile::TempDir,
    authority: DevAuthority,
    certificates: Certificates,
}

impl World {
    fn new() -> Self {
        install_provider();
        let dir = tempfile::tempdir().unwrap();
        let earlier = SystemTime::now() - Duration::from_hours(11 * 24);
        let authority = DevAuthority::open(dir.path(), earlier).unwrap();
        let certificates = Certificates::load(
            authority.certificate_path().to_owned(),
            authority.key_path().to_owned(),
        )
        .unwrap();
        Self { dir, authority, certificates }
    }

    fn renew_leaf(&mut self) {
        self.authority = DevAuthority::open(self.dir.path(), SystemTime::now()).unwrap();
    }

    fn roots(&self) -> RootCertStore {
        roots_from_pem(self.authority.ca_pem().as_bytes()).unwrap()
    }

    fn client(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        Arc::new(client(self.roots(), alpn))
    }

    fn tcp_server(&self) -> Arc<ServerConfig> {
        Arc::new(tcp_server(&self.certificates))
    }
}

/// Pumps one handshake, and what the server sends after it, through memory.
fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &'static str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name).unwrap();
    let mut client = ClientConnection::new(client.clone(), name)?;
    let mut server = ServerConnection::new(server.clone())?;
    while client.wants_write() || server.wants_write() {
        carry(&mut client, &mut server)?;
        carry(&mut server, &mut client)?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

fn carry<A: SideData, B: SideData>(
    from: &mut impl DerefMut<Target = ConnectionCommon<A>>,
    to: &mut impl DerefMut<Target = ConnectionCommon<B>>,
) -> Result<(), rustls::Error> {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut wire = wire.as_slice();
    while !wire.is_empty() {
        to.read_tls(&mut wire).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

fn leaf_sha256(client: &ClientConnection) -> [u8; 32] {
    crate::resolver::sha256(client.peer_certificates().unwrap().first().unwrap())
}

#[test]
fn installing_twice_is_harmless() {
    install_provider();
    install_provider();
    assert!(CryptoProvider::get_default().is_some());
}

/// A post-quantum share would make the ClientHello two packets, so it must not come first,
/// regardless of the features that other crates enable in rustls.
#[test]
fn the_first_key_share_is_small() {
    let first = provider().kx_groups.first().unwrap().name();
    assert_eq!(first, NamedGroup::X25519);
}

#[test]
fn the_development_leaf_verifies_for_every_name() {
    let world = World::new();
    let (client, server) = (world.client(&[b"http/1.1"]), world.tcp_server());
    for name in ["localhost", "127.0.0.1", "::1"] {
        let (client, server) = handshake(&client, &server, name).unwrap();
        assert_eq!(leaf_sha256(&client), world.authority.leaf_sha256());
        assert_eq!(server.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    handshake(&client, &server, "example.com").unwrap_err();
    handshake(&client, &server, "127.0.0.2").unwrap_err();
}

#[test]
fn another_authority_is_not_trusted() {
    let (world, stranger) = (World::new(), World::new());
    let client = stranger.client(&[b"http/1.1"]);
    handshake(&client, &world.tcp_server(), "localhost").unwrap_err();
}

#[test]
fn handshakes_after_a_reload_get_the_new_leaf() {
    let mut world = World::new();
    let (client, server) = (world.client(&[b"http/1.1"]), world.tcp_server());
    let before = world.authority.leaf_sha256();
    let (first, _) = handshake(&client, &server, "localhost").unwrap();
    assert_eq!(leaf_sha256(&first), before);

    world.renew_leaf();
    assert_ne!(world.authority.leaf_sha256(), before);
    let (second, _) = handshake(&client, &server, "localhost").unwrap();
    assert_eq!(leaf_sha256(&second), before, "not before the reload");

    world.certificates.reload().unwrap();
    let (third, _) = handshake(&client, &server, "localhost").unwrap();
    assert_eq!(leaf_sha256(&third), world.authority.leaf_sha256());
}

#[test]
fn a_session_of_quic_is_resumed_once() {
    let world = World::new();
    let server = Arc::new(quic_server(&world.certificates, &[b"a"]));
    let mut client = client(world.roots(), &[b"a"]);
    client.resumption = Resumption::in_memory_sessions(8);
    let client = Arc::new(client);
    let tickets = |it: &ClientConnection| it.tls13_tickets_received();

    let (first, _) = handshake(&client, &server, "localhost").unwrap();
    assert_eq!((first.handshake_kind(), tickets(&first)), (Some(HandshakeKind::Full), 1));
    let (second, _) = handshake(&client, &server, "localhost").unwrap();
    assert_eq!((second.handshake_kind(), tickets(&second)), (Some(HandshakeKind::Resumed), 1));

    // A captured first flight, replayed.
    let name = || ServerName::try_from("localhost").unwrap();
    let mut third = ClientConnection::new(client.clone(), name()).unwrap();
    let mut hello = Vec::new();
    third.write_tls(&mut hello).unwrap();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut connection = ServerConnection::new(server.clone()).unwrap();
        connection.read_tls(&mut hello.as_slice()).unwrap();
        connection.process_new_packets().unwrap();
        kinds.push(connection.handshake_kind());
    }
    assert_eq!(kinds, [Some(HandshakeKind::Resumed), Some(HandshakeKind::Full)]);
}

#[test]
fn nothing_is_kept_for_resumption_over_tcp() {
    let world = World::new();
    for version in [&TLS12, &TLS13] {
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(world.roots())
            .with_no_client_auth();
        let (client, server) = (Arc::new(client), world.tcp_server());
        for _ in 0..2 {
            let (client, _) = handshake(&client, &server, "localhost").unwrap();
            assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(client.tls13_tickets_received(), 0);
        }
    }
}

#[test]
fn tls_1_2_is_for_tcp_only() {
    let world = World::new();
    let mut old = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(world.roots())
        .with_no_client_auth();
    old.alpn_protocols = vec![b"http/1.1".to_vec()];
    let old = Arc::new(old);

    let (client, _) = handshake(&old, &world.tcp_server(), "localhost").unwrap();
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_2));

    let quic = Arc::new(quic_server(&world.certificates, &[b"http/1.1"]));
    handshake(&old, &quic, "localhost").unwrap_err();
}

#[test]
fn quic_insists_on_a_known_protocol() {
    let world = World::new();
    let server = Arc::new(quic_server(&world.certificates, &[b"new", b"old"]));
    let (client, _) = handshake(&world.client(&[b"old", b"new"]), &server, "localhost").unwrap();
    assert_eq!(client.alpn_protocol(), Some(&b"new"[..]));
    handshake(&world.client(&[b"other"]), &server, "localhost").unwrap_err();
}

#[test]
fn roots_must_be_whole_certificates() {
    assert!(matches!(roots_from_pem(b"").unwrap_err(), RootsError::NoCertificate));
    assert!(matches!(
        roots_from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap_err(),
        RootsError::DamagedPem(_)
    ));
    let labelled = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(roots_from_pem(labelled).unwrap_err(), RootsError::DamagedCertificate(_)));
}

/// RFC 8737: nothing but the protocol of the challenge, and the name of the domain.
#[test]
fn a_pending_challenge_is_answered_and_all_others_get_the_certificate() {
    let world = World::new();
    let file = world.dir.path().join("issued.pem");
    let certificates = Certificates::issued(file.clone());
    let server = Arc::new(tcp_server(&certificates));
    let with = |alpn: &[&[u8]]| {
        let mut config = unverified_client();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    };
    let (authority, usual) = (with(&[ACME_TLS_ALPN]), with(&[b"http/1.1"]));
    let shown = |client: &Arc<ClientConfig>, name| {
        handshake(client, &server, name).map(|(client, _)| leaf_sha256(&client))
    };
    // Nothing has been issued, and nothing is asked.
    shown(&usual, "a.example").unwrap_err();
    shown(&authority, "a.example").unwrap_err();
    assert!(!certificates.is_loaded() && certificates.names().is_empty());
    let answer = certificates.answer_challenge("A.example", &[7; 32]).unwrap();
    // The client does not know the critical extension of the answer.
    let is_answered = |name| {
        let refused = shown(&authority, name).unwrap_err();
        matches!(refused, rustls::Error::InvalidCertificate(_))
    };
    assert!(is_answered("a.example") && !is_answered("b.example"));
    shown(&usual, "a.example").unwrap_err();
    let files = [world.authority.key_path(), world.authority.certificate_path()];
    std::fs::write(&file, files.map(|it| std::fs::read(it).unwrap()).concat()).unwrap();
    certificates.reload().unwrap();
    assert!(certificates.is_loaded());
    let issued = world.authority.leaf_sha256();
    assert_eq!(shown(&usual, "a.example"), Ok(issued));
    assert_eq!(shown(&with(&[ACME_TLS_ALPN, b"http/1.1"]), "a.example"), Ok(issued));
    assert!(is_answered("a.example"));
    drop(answer);
    assert!(!is_answered("a.example"));
    assert!(matches!(
        certificates.answer_challenge("a.example", &[7; 5]),
        Err(ChallengeError::Digest)
    ));
}
