//! The transport of a link.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The transport of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// QUIC (RFC 9000) over UDP, with streams.
    Quic,
    /// A WebSocket (RFC 6455) over TCP, usually inside TLS.
    WebSocket,
    /// WebTransport (HTTP/3) over UDP, with the same streams as QUIC.
    WebTransport,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Self; 3] = [Self::Quic, Self::WebSocket, Self::WebTransport];

    /// The name in logs, settings and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::WebSocket => "websocket",
            Self::WebTransport => "webtransport",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Transport;

    #[test]
    fn the_name_is_the_same_in_json_and_in_logs() {
        for transport in Transport::ALL {
            assert_eq!(serde_json::to_value(transport).unwrap(), transport.as_str());
            assert_eq!(transport.to_string(), transport.as_str());
        }
    }
}
