//! Every rustls configuration of the product is built here, so that there is one crypto provider,
//! one opinion on versions and one on resumption. Two providers in a process make rustls' plain
//! `builder()` panic, so nothing here relies on the process default.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{Error as PemError, PemObject};

use crate::diagnosis;
use crate::resolver::Certificates;

/// The crypto provider of the whole product: aws-lc-rs with rustls' default suites and groups.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Makes [`provider`] the default of the process, for libraries that do not take a provider.
///
/// Call it first in `main`. The first default of a process stays, so calling it again is harmless.
pub fn install_provider() {
    // The error carries the provider that came first, and there is nothing to do about it.
    let _ = CryptoProvider::clone(&provider()).install_default();
}

/// TLS sessions that a QUIC endpoint remembers, some 300 bytes each; beyond that the oldest are
/// forgotten, and their clients take a full handshake.
const SESSIONS: usize = 16 * 1024;

/// The configuration of listeners for TLS over TCP: TLS 1.2 and 1.3 with ALPN `http/1.1`
/// (RFC 7301), which is what a WebSocket upgrade (RFC 6455) needs.
///
/// TLS 1.2 is for clients behind inspecting proxies, which are the ones that cannot use QUIC.
///
/// There is no resumption: without early data, which TCP carriers do not use, a resumed handshake
/// takes the round trips of a full one, and its key exchange too. It saves one signature (some
/// 15 µs), once in a link that lives for hours.
#[must_use]
pub fn tcp_server(certificates: &Certificates) -> ServerConfig {
    let mut config = server(certificates, &[&TLS13, &TLS12], &[b"http/1.1"]);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // Without storage none would be sent; this saves making them first.
    config.send_tls13_tickets = 0;
    config
}

/// The configuration of QUIC endpoints: TLS 1.3 only, as RFC 9001 §4.2 demands, with the given
/// ALPN protocols, most preferred first. Clients that offer none of them are refused.
///
/// Each handshake gives its client one session ticket, with which it may send early data (0-RTT)
/// when it comes back. A ticket is a name for what is remembered here, and is forgotten when it is
/// used, so that what was captured cannot be played again (RFC 8446 §8.1); not to this endpoint,
/// and not to another, which does not know the ticket.
#[must_use]
pub fn quic_server(certificates: &Certificates, alpn: &[&[u8]]) -> ServerConfig {
    let mut config = server(certificates, &[&TLS13], alpn);
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    config.send_tls13_tickets = 1;
    // The only value but 0 that QUIC allows (RFC 9001 §4.6.1); flow control is the limit.
    config.max_early_data_size = u32::MAX;
    config
}

fn server(
    certificates: &Certificates,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> ServerConfig {
    // What else a connection holds is not set here: rustls' read buffer is 4 KiB when idle, and
    // its other buffers are allocated when there is something in them.
    #[expect(clippy::expect_used, reason = "fails only for versions that the provider lacks")]
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates.clone()));
    config.alpn_protocols = owned(alpn);
    config
}

/// The configuration of clients, for QUIC and TCP alike: they trust `roots`, check the name, and
/// offer the given ALPN protocols, most preferred first.
///
/// TLS 1.2 is offered over TCP, where a proxy may stand between; QUIC uses 1.3 whatever this says.
#[must_use]
pub fn client(roots: RootCertStore, alpn: &[&[u8]]) -> ClientConfig {
    #[expect(clippy::expect_used, reason = "fails only for versions that the provider lacks")]
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = owned(alpn);
    // Whoever wants it makes a cache of his own.
    config.resumption = Resumption::disabled();
    config
}

fn owned(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.to_vec()).collect()
}

/// Why PEM could not be taken as trusted roots.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// There is no `CERTIFICATE` section.
    #[error("the file of trusted roots {0}; the authority's certificate is needed")]
    NoCertificate(String),
    /// It is not intact PEM.
    #[error("the trusted roots are damaged: copy them again from where they were issued")]
    DamagedPem(#[source] PemError),
    /// The PEM is intact, but a certificate in it is not X.509 that can be trusted.
    #[error("a trusted root is damaged: copy it again from where it was issued")]
    DamagedCertificate(#[source] rustls::Error),
}

/// Takes every certificate in `pem` as a trusted root.
///
/// Unlike with the roots of an operating system, one bad certificate refuses them all: these were
/// given on purpose.
///
/// # Errors
///
/// When there is no certificate or one is damaged; see [`RootsError`].
pub fn roots_from_pem(pem: &[u8]) -> Result<RootCertStore, RootsError> {
    let mut roots = RootCertStore::empty();
    // Some editors put a byte order mark before it.
    let pem = pem.strip_prefix("\u{feff}".as_bytes()).unwrap_or(pem);
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(RootsError::DamagedPem)?;
        roots.add(certificate).map_err(RootsError::DamagedCertificate)?;
    }
    if roots.is_empty() {
        let why = diagnosis::no_certificate(pem, Path::new("FILE"));
        return Err(RootsError::NoCertificate(why));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::ops::DerefMut;
    use std::time::{Duration, SystemTime};

    use rustls::{
        ClientConnection, ConnectionCommon, HandshakeKind, NamedGroup, ProtocolVersion,
        ServerConnection, SideData,
    };
    use rustls_pki_types::ServerName;

    use super::*;
    use crate::dev::DevAuthority;

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
        let mut client = ClientConnection::new(Arc::clone(client), name)?;
        let mut server = ServerConnection::new(Arc::clone(server))?;
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
        crate::dev::sha256(client.peer_certificates().unwrap().first().unwrap())
    }

    #[test]
    fn installing_twice_is_harmless() {
        install_provider();
        install_provider();
        assert!(CryptoProvider::get_default().is_some());
    }

    /// A post-quantum share would make the ClientHello two packets, so it must not come first,
    /// whatever features other crates turn on in rustls.
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

        // What somebody has captured, and plays again.
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
        old.alpn_protocols = owned(&[b"http/1.1"]);
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
        let (client, _) =
            handshake(&world.client(&[b"old", b"new"]), &server, "localhost").unwrap();
        assert_eq!(client.alpn_protocol(), Some(&b"new"[..]));
        handshake(&world.client(&[b"other"]), &server, "localhost").unwrap_err();
    }

    #[test]
    fn roots_must_be_whole_certificates() {
        assert!(matches!(roots_from_pem(b"").unwrap_err(), RootsError::NoCertificate(_)));
        assert!(matches!(
            roots_from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap_err(),
            RootsError::DamagedPem(_)
        ));
        let labelled = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(roots_from_pem(labelled).unwrap_err(), RootsError::DamagedCertificate(_)));
    }
}
