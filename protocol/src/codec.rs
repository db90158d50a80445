//! The encoding of a link's messages, and the WebSocket subprotocol that selects it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{
    CLIENT_FRAME_BYTES, CLIENT_JSON_BYTES, GATEWAY_FRAME_BYTES, GATEWAY_JSON_BYTES,
};

/// Encoding of messages. QUIC always uses postcard; a WebSocket client chooses by subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// [`crate::binary`].
    Postcard,
    /// [`crate::json`].
    Json,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Self; 2] = [Self::Postcard, Self::Json];

    /// The name in logs, settings and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postcard => "postcard",
            Self::Json => "json",
        }
    }

    /// The WebSocket subprotocol (RFC 6455 §1.9) whose messages are in this codec: binary messages
    /// for postcard, text messages for JSON.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Postcard => "signalbox.v1.postcard",
            Self::Json => "signalbox.v1.json",
        }
    }

    /// The codec of a subprotocol; `None` if the subprotocol is not Signalbox's.
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.subprotocol() == name)
    }

    /// Longest message that a client may send, in bytes, without a length prefix.
    pub const fn client_message_bytes(self) -> usize {
        match self {
            Self::Postcard => CLIENT_FRAME_BYTES,
            Self::Json => CLIENT_JSON_BYTES,
        }
    }

    /// Longest message that a gateway sends, in bytes, without a length prefix.
    pub const fn gateway_message_bytes(self) -> usize {
        match self {
            Self::Postcard => GATEWAY_FRAME_BYTES,
            Self::Json => GATEWAY_JSON_BYTES,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Codec;

    #[test]
    fn the_name_is_the_same_in_json_and_in_logs() {
        for codec in Codec::ALL {
            assert_eq!(serde_json::to_value(codec).unwrap(), codec.as_str());
            assert_eq!(codec.to_string(), codec.as_str());
        }
    }

    #[test]
    fn a_subprotocol_names_one_codec() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_subprotocol(codec.subprotocol()), Some(codec));
        }
        assert_eq!(Codec::from_subprotocol("signalbox.v2.json"), None);
    }
}
