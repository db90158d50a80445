//! TLS configurations for tests.

use rcgen::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;

/// Configurations of a server for `localhost` and of a client that trusts it, for these protocols.
pub(crate) fn tls(
    server_protocols: &[&[u8]],
    client_protocols: &[&[u8]],
) -> (rustls::ServerConfig, rustls::ClientConfig) {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let protocols = |list: &[&[u8]]| list.iter().map(|it| it.to_vec()).collect();
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();

    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = protocols(server_protocols);
    server.send_tls13_tickets = 1;
    server.max_early_data_size = u32::MAX;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = protocols(client_protocols);
    (server, client)
}
