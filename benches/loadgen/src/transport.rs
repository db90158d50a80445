//! The transports that are measured side by side.

use std::fmt::Display;

use anyhow::bail;
use clap::ValueEnum;
use serde::Serialize;
use signalbox_client::{ConnectOptions, Streams};

use crate::client::{quic::QuicProtocol, signalbox::AGENT};

/// A transport with its codec, its streams and its encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransportVariant {
    /// QUIC with a stream per sender.
    Quic,
    /// QUIC with all senders on one stream.
    QuicSingle,
    /// WebTransport, as browsers have it: the streams of QUIC in a session over HTTP/3.
    #[value(name = "webtransport")]
    #[serde(rename = "webtransport")]
    WebTransport,
    /// WebSocket over TLS, binary (postcard).
    Wss,
    /// WebSocket over TLS, JSON.
    WssJson,
    /// WebSocket over TLS, with the protocol of the vendor's browser SDK.
    #[value(name = "opentok-js")]
    #[serde(rename = "opentok-js")]
    OpenTokJs,
    /// WebSocket without TLS, binary, as behind a proxy that terminates TLS.
    Ws,
}

impl TransportVariant {
    /// For tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Quic => "QUIC, stream per sender",
            Self::QuicSingle => "QUIC, one stream",
            Self::WebTransport => "WebTransport, stream per sender",
            Self::Wss => "WebSocket over TLS, postcard",
            Self::WssJson => "WebSocket over TLS, JSON",
            Self::OpenTokJs => "WebSocket over TLS, vendor's SDK",
            Self::Ws => "WebSocket in plaintext, postcard",
        }
    }

    /// Over UDP: raw QUIC, or WebTransport.
    pub fn is_quic(self) -> bool {
        matches!(self, Self::Quic | Self::QuicSingle | Self::WebTransport)
    }

    /// The protocol on a QUIC connection.
    pub fn quic_protocol(self) -> QuicProtocol {
        if self == Self::WebTransport { QuicProtocol::WebTransport } else { QuicProtocol::Raw }
    }

    /// The scheme of a URL.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Quic | Self::QuicSingle => "quic",
            Self::WebTransport => "https",
            Self::Wss | Self::WssJson | Self::OpenTokJs => "wss",
            Self::Ws => "ws",
        }
    }

    /// With TLS.
    pub fn is_encrypted(self) -> bool {
        self != Self::Ws
    }

    /// Options of an SDK client that joins the session of `token` at this address, without
    /// presence.
    ///
    /// # Errors
    /// The SDK does not have this transport.
    pub fn options_to(self, address: impl Display, token: &str) -> anyhow::Result<ConnectOptions> {
        self.options_to_any(&[address], token)
    }

    /// The same at one of several addresses, in order of preference.
    ///
    /// # Errors
    /// The SDK does not have this transport.
    pub fn options_to_any(
        self,
        addresses: &[impl Display],
        token: &str,
    ) -> anyhow::Result<ConnectOptions> {
        let scheme = self.scheme();
        let urls: Vec<_> = addresses.iter().map(|it| format!("{scheme}://{it}")).collect();
        let options = ConnectOptions::new(urls, token)
            .presence(false)
            // A lost connection voids the measurement and must not be hidden.
            .rejoin(false)
            .agent(AGENT);
        Ok(match self {
            Self::Quic | Self::WebTransport | Self::Wss | Self::Ws => options,
            Self::QuicSingle => options.streams(Streams::Single),
            Self::WssJson => options.json(),
            Self::OpenTokJs => bail!(
                "this benchmark's clients use the SDK, which does not have the transport opentok-js"
            ),
        })
    }
}
