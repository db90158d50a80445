//! The ways to be connected that are set side by side.

use clap::ValueEnum;
use serde::Serialize;
use signalbox_client::{ConnectOptions, Streams};

use crate::gateway::Gateway;

/// A transport and how it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// QUIC with a stream per sender.
    Quic,
    /// QUIC with all senders on one stream.
    QuicSingle,
    /// WebSocket over TLS, binary (postcard).
    Wss,
    /// WebSocket over TLS, JSON.
    WssJson,
}

impl Transport {
    /// For tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Quic => "QUIC, stream per sender",
            Self::QuicSingle => "QUIC, one stream",
            Self::Wss => "WebSocket over TLS, postcard",
            Self::WssJson => "WebSocket over TLS, JSON",
        }
    }

    /// Options for joining the session of `token` in this way, without presence.
    pub(crate) fn options(self, gateway: &Gateway, token: &str) -> ConnectOptions {
        let url = match self {
            Self::Quic | Self::QuicSingle => format!("quic://{}", gateway.quic()),
            Self::Wss | Self::WssJson => format!("wss://{}", gateway.https()),
        };
        let options = ConnectOptions::new(url, token)
            .presence(false)
            // A connection that is lost would make the measurement void, and must not hide it.
            .rejoin(false)
            .agent(concat!("signalbox-bench/", env!("CARGO_PKG_VERSION")));
        match self {
            Self::Quic | Self::Wss => options,
            Self::QuicSingle => options.streams(Streams::Single),
            Self::WssJson => options.json(),
        }
    }
}
