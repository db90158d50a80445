//! Errors of connecting and sending, by what the caller can do about them.
//!
//! Texts that came from a peer are displayed so that they cannot act on a terminal; the fields hold
//! them unchanged.

use rustls::CertificateError;
use signalbox_protocol::{CloseReason, ErrorCode, Printable, signal::InvalidSignal};

/// The error for a client that could not join a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL does not name a gateway. The caller must correct it.
    #[error(
        "{0}: use quic://HOST[:PORT], https://HOST[:PORT] (WebTransport), wss://HOST[:PORT] or ws://HOST[:PORT]"
    )]
    Url(String),
    /// The trusted root certificates cannot be used. The caller must correct them.
    #[error("cannot use the trusted certificates: {0}")]
    Roots(String),
    /// The host has no address.
    #[error("cannot find the address of {host}")]
    Resolve {
        /// The host.
        host: String,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// Nothing at the address answers as a gateway.
    #[error("cannot reach the gateway at {address}: {}", Printable(detail))]
    Unreachable {
        /// Host and port.
        address: String,
        /// The cause, where the caller can do something about it.
        cause: UnreachableCause,
        /// A description for people.
        detail: String,
    },
    /// The gateway refused the client. Connecting again with the same token helps only where the
    /// reason says so.
    #[error("the gateway refused the connection ({reason}): {}", Printable(message))]
    Refused {
        /// The close reason.
        reason: CloseReason,
        /// The reason for people.
        message: String,
    },
    /// The peer violates the protocol.
    #[error("the gateway does not speak the protocol: {}", Printable(_0))]
    Protocol(String),
    /// Connecting took too long.
    #[error("the gateway did not answer in time{}", listed(tried))]
    Timeout {
        /// The addresses that were tried, as `quic://127.0.0.1:4433`.
        tried: Vec<String>,
    },
}

fn listed(addresses: &[String]) -> String {
    if addresses.is_empty() { String::new() } else { format!(" (tried {})", addresses.join(", ")) }
}

/// The known cause of a failure to reach a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnreachableCause {
    /// No program listens at the address.
    NotListening,
    /// The certificate was issued by an authority that is not trusted.
    UntrustedAuthority,
    /// The certificate is invalid for another reason: it names another host, or has expired.
    Certificate,
    /// The answer to a TLS handshake is not TLS.
    NotTls,
    /// The answer to an HTTP request without TLS is not HTTP; it may be TLS.
    NotHttp,
    /// Another cause.
    Other,
}

impl UnreachableCause {
    /// The cause of an error of TCP, or of TLS over it.
    pub(crate) fn of_io(error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::ConnectionRefused {
            return Self::NotListening;
        }
        match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
            // Authorities of the same name, such as two development authorities, differ by key.
            Some(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => Self::UntrustedAuthority,
            Some(rustls::Error::InvalidCertificate(_)) => Self::Certificate,
            Some(rustls::Error::InvalidMessage(_)) => Self::NotTls,
            _ => Self::Other,
        }
    }
}

/// The error for a signal that was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The signal is invalid; nothing was sent. The caller must correct it.
    #[error(transparent)]
    Invalid(#[from] InvalidSignal),
    /// The gateway rejected it.
    #[error("the gateway rejected the signal ({code}): {}", Printable(message))]
    Rejected {
        /// The error code.
        code: ErrorCode,
        /// The reason for people.
        message: String,
    },
    /// The link was lost before the gateway confirmed the signal, and it was not to be sent again.
    #[error("the link was lost, and the signal is not sent again")]
    NotSent,
    /// The client is no longer in the session.
    #[error("the client is no longer in the session")]
    Disconnected,
}
