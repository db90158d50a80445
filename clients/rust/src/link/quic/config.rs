//! quinn's configuration for clients.

use std::{sync::Arc, time::Duration};

use quinn::{ClientConfig, TransportConfig, crypto::rustls::QuicClientConfig};
use rustls::{RootCertStore, client::Resumption};
use signalbox_protocol::ALPN;

use crate::{error::ConnectError, gateway_url::Scheme};

/// Streams that the gateway may have open, one per sender; quinn allocates a slot for each. With
/// more senders than this, the gateway closes the streams of idle ones.
const SENDER_STREAMS: u32 = 128;

/// The gateway's own streams in HTTP/3: control, and two of QPACK.
const HTTP3_STREAMS: u32 = 3;

/// Bytes that may wait unread, per stream and in all.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// First guess of the round trip. quinn's 333 ms delay the first probe to about a second.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// TLS sessions that a client stores: those of one gateway (rustls rounds up to eight).
const SESSIONS: usize = 8;

/// Keep-alives without an answer after which a link is lost.
const LOST_KEEP_ALIVES: u32 = 3;

/// The quinn configurations of a client: TLS, with its session cache, and transport parameters.
#[derive(Debug)]
pub(crate) struct QuicConfig {
    quic: ClientConfig,
    webtransport: ClientConfig,
}

impl QuicConfig {
    /// `early_data` allows a `resume` in the first packet (0-RTT).
    pub(crate) fn new(
        roots: &Arc<RootCertStore>,
        keep_alive: Duration,
        early_data: bool,
    ) -> Result<Self, ConnectError> {
        let transport = Arc::new(transport_config(keep_alive));
        let config = |alpn: &[u8], early_data| {
            let mut tls = signalbox_certs::client(roots.clone(), &[alpn]);
            if early_data {
                tls.enable_early_data = true;
                tls.resumption = Resumption::in_memory_sessions(SESSIONS);
            }
            let crypto = QuicClientConfig::try_from(tls)
                .map_err(|error| ConnectError::Protocol(error.to_string()))?;
            let mut config = ClientConfig::new(Arc::new(crypto));
            config.transport_config(transport.clone());
            Ok(config)
        };
        let webtransport = config(signalbox_webtransport::ALPN, false)?;
        Ok(Self { quic: config(ALPN, early_data)?, webtransport })
    }

    /// The configuration for URLs of this scheme.
    pub(super) fn of(&self, scheme: Scheme) -> ClientConfig {
        match scheme {
            Scheme::Https => self.webtransport.clone(),
            _ => self.quic.clone(),
        }
    }
}

fn transport_config(keep_alive: Duration) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0u32.into())
        .max_concurrent_uni_streams((SENDER_STREAMS + HTTP3_STREAMS).into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        // A WebTransport server demands datagrams. There is room for a byte, and none are sent.
        .datagram_receive_buffer_size(Some(1))
        .initial_rtt(INITIAL_RTT)
        .keep_alive_interval(Some(keep_alive))
        // A timeout beyond QUIC's maximum is none; the gateway has one as well.
        .max_idle_timeout((keep_alive * LOST_KEEP_ALIVES).try_into().ok());
    transport
}
