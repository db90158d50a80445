//! A TLS session that drops its rustls connection after the QUIC handshake.
//!
//! QUIC takes its keys from TLS and encrypts packets itself. Once the handshake is over and the
//! client has its ticket, TLS is only ever asked for the next keys, which follow from 200 bytes of
//! secrets (RFC 9001 §6). quinn's own session keeps everything that rustls needed for the handshake,
//! its buffers and two more ciphers: 3.7 KiB, a tenth of a connection. This one drops them. TLS
//! messages after the handshake are rejected: TLS 1.3 has only answers to requests that we do not
//! make, and key updates, which QUIC forbids (RFC 9001 §6).

use std::{any::Any, io::Cursor, sync::Arc, time::Duration};

use quinn::{
    ConnectionId, Side, VarInt,
    crypto::{
        ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
        UnsupportedVersion,
        rustls::{NoInitialCipherSuite, QuicServerConfig},
    },
};
use quinn_proto::{
    TransportError, TransportErrorCode, coding::Codec as _,
    transport_parameters::TransportParameters,
};
use rustls::{
    AlertDescription,
    quic::{KeyChange, Secrets, ServerConnection, Version},
};

/// TLS configuration of an endpoint: the factory of its sessions.
pub struct QuicTlsConfig {
    tls: Arc<rustls::ServerConfig>,
    /// quinn's part, which is the same for all connections.
    quinn: Arc<QuicServerConfig>,
}

impl QuicTlsConfig {
    /// Wraps a configuration for TLS 1.3.
    ///
    /// # Errors
    /// If the configuration lacks the cipher suite of QUIC's initial packets.
    pub fn new(tls: rustls::ServerConfig) -> Result<Self, NoInitialCipherSuite> {
        let tls = Arc::new(tls);
        Ok(Self { quinn: Arc::new(QuicServerConfig::try_from(tls.clone())?), tls })
    }

    fn session(self: Arc<Self>, version: u32, params: &TransportParameters) -> ServerTlsSession {
        let mut encoded = Vec::new();
        params.write(&mut encoded);
        // Versions for which `initial_keys` fails do not get here. Drafts up to 32 have other labels.
        let tls_version = match version {
            0xff00_001d..=0xff00_0020 => Version::V1Draft,
            _ => Version::V1,
        };
        #[expect(
            clippy::expect_used,
            reason = "fails only for configurations that are not for QUIC"
        )]
        let tls = ServerConnection::new(self.tls.clone(), tls_version, encoded)
            .expect("TLS 1.3, with all or no early data");
        let tls = Some(Box::new(tls));
        ServerTlsSession { version, config: self, tls, next: None, handshake_data: None }
    }
}

impl ServerConfig for QuicTlsConfig {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        self.quinn.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.quinn.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn Session> {
        Box::new(self.session(version, params))
    }
}

/// The session of one connection.
struct ServerTlsSession {
    version: u32,
    config: Arc<QuicTlsConfig>,
    /// Dropped once the handshake is over and all TLS messages are written.
    tls: Option<Box<ServerConnection>>,
    /// Secrets of the next keys; known with the first 1-RTT keys.
    next: Option<Secrets>,
    /// Known once the client's first message has been read.
    handshake_data: Option<HandshakeData>,
}

/// Facts about a client from its handshake. [`quinn::Connection::handshake_data`] returns them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeData {
    /// The negotiated protocol, as its position among the configured ALPN protocols.
    pub alpn: Option<u8>,
    /// Silence after which the client considers the connection lost (RFC 9000 §10.1); `None` if it
    /// has no limit. quinn honours it, but does not report it.
    pub idle_timeout: Option<Duration>,
    /// Whether the client may send data before the handshake is complete (0-RTT).
    pub is_early: bool,
}

/// The idle timeout among a client's transport parameters (RFC 9000 §18).
fn idle_timeout(mut params: &[u8]) -> Option<Duration> {
    const MAX_IDLE_TIMEOUT: u64 = 1;
    loop {
        let (id, length) = (VarInt::decode(&mut params).ok()?, VarInt::decode(&mut params).ok()?);
        let (mut value, rest) =
            params.split_at_checked(usize::try_from(length.into_inner()).ok()?)?;
        if id.into_inner() == MAX_IDLE_TIMEOUT {
            let millis = VarInt::decode(&mut value).ok()?.into_inner();
            // Zero means none (RFC 9000 §18.2).
            return (millis > 0).then(|| Duration::from_millis(millis));
        }
        params = rest;
    }
}

impl Session for ServerTlsSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, _side: Side) -> Keys {
        #[expect(clippy::expect_used, reason = "no session is started with an unknown version")]
        self.config.quinn.initial_keys(self.version, dst_cid).expect("a known version")
    }

    /// A [`HandshakeData`].
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.handshake_data.map(|data| Box::new(data) as Box<dyn Any>)
    }

    /// Clients present no certificates.
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        let keys = self.tls.as_ref()?.zero_rtt_keys()?;
        Some((Box::new(keys.header), Box::new(keys.packet)))
    }

    /// Only meaningful for clients.
    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        let code = |alert| TransportErrorCode::crypto(u8::from(alert));
        let Some(tls) = &mut self.tls else {
            let code = code(AlertDescription::UnexpectedMessage);
            let reason = "a TLS message after the handshake".into();
            return Err(TransportError { code, frame: None, reason });
        };
        tls.read_hs(buf).map_err(|error| TransportError {
            code: tls.alert().map_or(TransportErrorCode::PROTOCOL_VIOLATION, code),
            frame: None,
            reason: error.to_string(),
        })?;
        if self.handshake_data.is_some() {
            return Ok(false);
        }
        self.handshake_data = tls.quic_transport_parameters().map(|params| {
            let protocols = &self.config.tls.alpn_protocols;
            let alpn = tls.alpn_protocol();
            let alpn = alpn.and_then(|alpn| protocols.iter().position(|it| it == alpn));
            HandshakeData {
                alpn: alpn.and_then(|index| u8::try_from(index).ok()),
                idle_timeout: idle_timeout(params),
                is_early: tls.zero_rtt_keys().is_some(),
            }
        });
        // Whether `handshake_data` has become available.
        Ok(self.handshake_data.is_some())
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let params = self.tls.as_ref().and_then(|tls| tls.quic_transport_parameters());
        Ok(params
            .map(|params| TransportParameters::read(Side::Server, &mut Cursor::new(params)))
            .transpose()?)
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let tls = self.tls.as_mut()?;
        let keys = match tls.write_hs(buf) {
            Some(KeyChange::Handshake { keys }) => keys,
            Some(KeyChange::OneRtt { keys, next }) => {
                self.next = Some(next);
                keys
            }
            None => {
                // quinn calls until nothing more is written.
                if buf.is_empty() && !tls.is_handshaking() {
                    self.tls = None;
                }
                return None;
            }
        };
        let (local, remote) = (keys.local, keys.remote);
        Some(Keys {
            header: KeyPair { local: Box::new(local.header), remote: Box::new(remote.header) },
            packet: KeyPair { local: Box::new(local.packet), remote: Box::new(remote.packet) },
        })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.next.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(keys.local), remote: Box::new(keys.remote) })
    }

    /// Only clients receive retries.
    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn export_keying_material(
        &self,
        _output: &mut [u8],
        _label: &[u8],
        _context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::BytesMut;
    use rustls::quic::ClientConnection;

    use super::*;
    use crate::testing::tls;

    /// A session whose handshake is over, and the secrets of its client.
    fn established() -> (ServerTlsSession, Secrets) {
        let (server, client) = tls(&[b"other", b"a"], &[b"a"]);
        let config = Arc::new(QuicTlsConfig::new(server).unwrap());
        let params = TransportParameters::read(Side::Server, &mut &[][..]).unwrap();
        let mut session = config.session(1, &params);

        let client = Arc::new(client);
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(client, Version::V1, name, Vec::new()).unwrap();
        let mut next = None;
        for _ in 0..2 {
            loop {
                let mut bytes = Vec::new();
                match client.write_hs(&mut bytes) {
                    Some(KeyChange::OneRtt { next: secrets, .. }) => next = Some(secrets),
                    None if bytes.is_empty() => break,
                    _ => {}
                }
                if !bytes.is_empty() {
                    session.read_handshake(&bytes).unwrap();
                }
            }
            assert!(session.tls.is_some());
            loop {
                let mut bytes = Vec::new();
                let keys = session.write_handshake(&mut bytes);
                if !bytes.is_empty() {
                    client.read_hs(&bytes).unwrap();
                } else if keys.is_none() {
                    break;
                }
            }
        }
        assert_eq!(client.tls13_tickets_received(), 1);
        (session, next.unwrap())
    }

    #[test]
    fn keys_are_updated_after_tls_was_dropped() {
        let (mut session, mut client) = established();
        let data = session.handshake_data().unwrap().downcast::<HandshakeData>().unwrap();
        assert_eq!(*data, HandshakeData { alpn: Some(1), idle_timeout: None, is_early: false });
        assert!(session.tls.is_none() && !session.is_handshaking());
        for packet in 0..3 {
            let (ours, theirs) = (session.next_1rtt_keys().unwrap(), client.next_packet_keys());
            let mut payload = BytesMut::from(&b"to the gateway"[..]);
            let tag = theirs.local.encrypt_in_place(packet, b"header", &mut payload).unwrap();
            payload.extend_from_slice(tag.as_ref());
            ours.remote.decrypt(packet, b"header", &mut payload).unwrap();
            assert_eq!(payload, b"to the gateway"[..]);

            let mut buffer = [&b"header"[..], &b"back"[..], &[0; 16][..]].concat();
            ours.local.encrypt(packet, &mut buffer, 6);
            let payload = buffer.get_mut(6..).unwrap();
            let plain = theirs.remote.decrypt_in_place(packet, b"header", payload).unwrap();
            assert_eq!(plain, b"back");
        }
    }

    #[test]
    fn the_idle_timeout_is_found_among_the_parameters() {
        let millis = |millis| Some(Duration::from_millis(millis));
        for (params, timeout) in [
            (&[][..], None),
            (&[1, 1, 0][..], None),
            (&[1, 1, 5], millis(5)),
            (&[4, 2, 1, 1, 1, 2, 0x43, 0xe8, 9], millis(1000)),
            // Numbers in more bytes than needed: an empty parameter; and one behind number 257.
            (&[0xc0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0x40, 4, 0x80, 0, 0x75, 0x30], None),
            (&[0xc0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 0x40, 4, 0x80, 0, 0x75, 0x30], millis(30_000)),
            (&[1], None),
            (&[1, 9, 5], None),
            (&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 5], None),
        ] {
            assert_eq!(idle_timeout(params), timeout, "{params:?}");
        }
    }

    #[test]
    fn a_tls_message_after_the_handshake_is_rejected() {
        let (mut session, _) = established();
        // A key update (RFC 8446 §4.6.3).
        let error = session.read_handshake(&[24, 0, 0, 1, 0]).unwrap_err();
        assert_eq!(error.code, TransportErrorCode::crypto(10));
    }
}
