//! Close reasons of links and connections. This is the only file that knows their numbers on QUIC,
//! WebSocket and HTTP.

use crate::error::codes;

codes! {
    /// The reason for the end of a link, or for the rejection of a client.
    ///
    /// Postcard contains its number, and JSON its name. A number that a peer does not know becomes
    /// [`CloseReason::Unknown`], so that reasons can be added.
    CloseReason {
        /// The client said goodbye, or closed its transport cleanly.
        ClientDisconnected = 0, "clientDisconnected",
        /// A moderator or a server ended the connection, or the project's server has refused it.
        ForceDisconnected = 1, "forceDisconnected",
        /// The transport failed or became silent. Never sent on the link that it describes.
        NetworkDisconnected = 2, "networkDisconnected",
        /// The gateway is shutting down or restarting; the client may reconnect.
        ShuttingDown = 3, "shuttingDown",
        /// The client did not read fast enough, and its outbox overflowed.
        SlowConsumer = 4, "slowConsumer",
        /// No hello came in time.
        HelloTimeout = 5, "helloTimeout",
        /// The client sent something that the protocol does not allow.
        ProtocolError = 6, "protocolError",
        /// The client sent a frame over the limit.
        FrameTooLarge = 7, "frameTooLarge",
        /// The token is malformed, wrongly signed, revoked or of an unknown project.
        InvalidToken = 8, "invalidToken",
        /// The token has expired, or is not valid yet.
        TokenExpired = 9, "tokenExpired",
        /// The token is good, but for a session of another project.
        WrongProject = 10, "wrongProject",
        /// The session, the project, the user or the gateway has reached its limit of connections, or the
        /// client's address has presented too many invalid tokens.
        ConnectionLimit = 11, "connectionLimit",
        /// The gateway failed, or a server of the project that it had to ask. This is not the client's
        /// fault.
        InternalError = 12, "internalError",
        /// Another link has taken over the connection, which continues there.
        Superseded = 13, "superseded",
        /// There is no connection for this ticket: it is forged, was used before, or has expired.
        /// The client joins again.
        InvalidTicket = 14, "invalidTicket",
    }
}

codes! {
    /// The reason for the end of a connection that the other members receive: one of the vendor's
    /// three reasons.
    DisconnectReason {
        /// The client said goodbye.
        ClientDisconnected = 0, "clientDisconnected",
        /// A moderator or a server ended the connection.
        ForceDisconnected = 1, "forceDisconnected",
        /// Any other reason: the link was lost or ended by the gateway, and the client did not
        /// resume.
        NetworkDisconnected = 2, "networkDisconnected",
    }
}

/// A client's way to reconnect after the end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComeBack {
    /// With its ticket if it has one, otherwise as a new connection.
    Resume,
    /// As a new connection, after a delay.
    Join,
    /// As a new connection, with another token.
    NewToken,
}

impl ComeBack {
    /// The name, as in `vectors/protocol.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Join => "join",
            Self::NewToken => "newToken",
        }
    }
}

impl CloseReason {
    /// The way in which a client may reconnect. `None`: it does not, because it was disconnected on
    /// purpose, has left, continues on another link, or would meet the same fault again.
    pub fn come_back(self) -> Option<ComeBack> {
        match self {
            Self::ClientDisconnected
            | Self::ForceDisconnected
            | Self::Superseded
            | Self::ProtocolError
            | Self::FrameTooLarge => None,
            Self::NetworkDisconnected | Self::ShuttingDown => Some(ComeBack::Resume),
            Self::InvalidToken | Self::TokenExpired | Self::WrongProject => {
                Some(ComeBack::NewToken)
            }
            Self::SlowConsumer
            | Self::HelloTimeout
            | Self::ConnectionLimit
            | Self::InternalError
            | Self::InvalidTicket
            | Self::Unknown(_) => Some(ComeBack::Join),
        }
    }

    /// First of the WebSocket close codes that Signalbox uses; RFC 6455 §7.4.2 leaves 4000–4999
    /// to applications.
    const WEBSOCKET_BASE: u16 = 4000;

    /// QUIC application error code (RFC 9000 §20.2), for `CONNECTION_CLOSE` and stream resets.
    pub fn quic_code(self) -> u32 {
        u32::from(self.code())
    }

    /// The reason with this QUIC application error code.
    pub fn from_quic_code(code: u64) -> Self {
        u16::try_from(code).map_or(Self::Unknown(u16::MAX), Self::from_code)
    }

    /// WebSocket close code: 1000 for a client's own goodbye, else 4000 + the number.
    pub fn websocket_code(self) -> u16 {
        match self {
            Self::ClientDisconnected => 1000,
            other => Self::WEBSOCKET_BASE.saturating_add(other.code()),
        }
    }

    /// The reason with this WebSocket close code. Browsers send 1001 when they leave a page; any
    /// other code of RFC 6455 means that the transport failed.
    pub fn from_websocket_code(code: u16) -> Self {
        match code {
            1000 | 1001 => Self::ClientDisconnected,
            4000..=4999 => Self::from_code(code - Self::WEBSOCKET_BASE),
            _ => Self::NetworkDisconnected,
        }
    }

    /// HTTP status for the same fault in an HTTP response.
    pub fn http_status(self) -> u16 {
        match self {
            Self::ClientDisconnected => 200,
            Self::NetworkDisconnected | Self::HelloTimeout => 408,
            Self::ProtocolError => 400,
            Self::FrameTooLarge => 413,
            Self::InvalidToken | Self::TokenExpired | Self::InvalidTicket => 401,
            Self::ForceDisconnected | Self::WrongProject => 403,
            Self::Superseded => 409,
            Self::SlowConsumer | Self::ConnectionLimit => 429,
            Self::ShuttingDown => 503,
            Self::InternalError | Self::Unknown(_) => 500,
        }
    }

    /// The reason that other members see when a connection ends for this reason.
    pub fn disconnect_reason(self) -> DisconnectReason {
        match self {
            Self::ClientDisconnected => DisconnectReason::ClientDisconnected,
            Self::ForceDisconnected => DisconnectReason::ForceDisconnected,
            _ => DisconnectReason::NetworkDisconnected,
        }
    }

    /// The next step for the reader of the reason, in one sentence.
    pub fn hint(self) -> &'static str {
        match self {
            Self::ClientDisconnected => "the client said goodbye",
            Self::ForceDisconnected => "a moderator or a server ended the connection",
            Self::NetworkDisconnected => "the network failed or fell silent",
            Self::ShuttingDown => "the gateway is going down; connect again in a moment",
            Self::SlowConsumer => "the client did not read fast enough what was sent to it",
            Self::HelloTimeout => "no hello came in time; send it first and at once",
            Self::ProtocolError => "the client broke the protocol",
            Self::FrameTooLarge => "the client sent a frame that is too large",
            Self::InvalidToken => {
                "the token is malformed, wrongly signed, revoked or of an unknown project"
            }
            Self::TokenExpired => "the token's time is over; get a new one from your server",
            Self::WrongProject => "the session belongs to another project than the token",
            Self::ConnectionLimit => "no more connections are allowed; try again later",
            Self::InternalError => "the gateway failed; its log says why",
            Self::Superseded => "another link has taken over the connection, which goes on there",
            Self::InvalidTicket => "no connection is kept for this ticket; join again with a token",
            Self::Unknown(_) => "a reason that this version does not know",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_every_carrier() {
        for reason in CloseReason::ALL.iter().copied() {
            assert_eq!(CloseReason::from_code(reason.code()), reason);
            assert_eq!(CloseReason::from_quic_code(reason.quic_code().into()), reason);
            assert_eq!(CloseReason::from_websocket_code(reason.websocket_code()), reason);
            assert_eq!(CloseReason::from_name(reason.name()), Some(reason));
        }
    }

    #[test]
    fn foreign_codes_are_not_mistaken_for_ours() {
        assert_eq!(CloseReason::from_websocket_code(1006), CloseReason::NetworkDisconnected);
        assert_eq!(CloseReason::from_websocket_code(4999), CloseReason::Unknown(999));
        assert_eq!(CloseReason::from_quic_code(1 << 40), CloseReason::Unknown(u16::MAX));
    }
}
