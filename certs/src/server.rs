//! The rustls configurations of TLS servers.

use std::sync::Arc;

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    server::{NoServerSessionStorage, ServerSessionMemoryCache},
    version::{TLS12, TLS13},
};

use crate::{provider, resolver::Certificates};

/// TLS sessions that a QUIC endpoint remembers, some 300 bytes each. Beyond that the oldest are
/// dropped, and their clients take a full handshake.
const SESSIONS: usize = 16 * 1024;

/// The configuration of listeners for TLS over TCP: TLS 1.2 and 1.3 with ALPN `http/1.1`
/// (RFC 7301), which a WebSocket upgrade (RFC 6455) needs; and with [`crate::ACME_TLS_ALPN`] for a
/// certificate by ACME.
///
/// TLS 1.2 is for clients behind inspecting proxies, which are the ones that cannot use QUIC.
///
/// There is no resumption: without early data, which TCP connections do not use, a resumed
/// handshake takes as many round trips as a full one, and its key exchange too. It saves one
/// signature (some 15 µs) in a connection that lives for hours.
pub fn tcp_server(certificates: &Certificates) -> ServerConfig {
    let mut config = server(certificates, &[&TLS13, &TLS12], &[b"http/1.1"]);
    #[cfg(feature = "acme")]
    if certificates.answers_challenges() {
        config.alpn_protocols.push(crate::ACME_TLS_ALPN.to_vec());
    }
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // Without storage none would be sent; this also saves generating them.
    config.send_tls13_tickets = 0;
    config
}

/// The configuration of QUIC endpoints: TLS 1.3 only, as RFC 9001 §4.2 demands, with the given
/// ALPN protocols, most preferred first. Clients that offer none of them are rejected.
///
/// Each handshake gives its client one session ticket, with which it may send early data (0-RTT)
/// when it reconnects. A ticket is a key into a table of this endpoint and is removed when it is
/// used, so captured early data cannot be replayed (RFC 8446 §8.1): not to this endpoint, and not
/// to another, which does not know the ticket.
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
    // Buffer sizes are not set here: rustls' read buffer is 4 KiB when idle, and it allocates its
    // other buffers only while they hold something.
    #[expect(clippy::expect_used, reason = "fails only for versions that the provider lacks")]
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates.clone()));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}
