//! What can go wrong, by what one can do about it.
//!
//! What a peer said is shown so that it cannot act on a terminal; the fields have it as it came.

use rustls::CertificateError;
use signalbox_protocol::{CloseReason, ErrorCode, Printable, signal::InvalidSignal};

/// Why a client did not get into a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not one of a gateway. The caller's to mend.
    #[error("{0}: use quic://HOST[:PORT], wss://HOST[:PORT] or ws://HOST[:PORT]")]
    Url(String),
    /// The trusted certificates cannot be used. The caller's to mend.
    #[error("cannot use the trusted certificates: {0}")]
    Roots(String),
    /// The host has no address.
    #[error("cannot find the address of {host}")]
    Resolve {
        /// The host.
        host: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Nobody answers as a gateway would.
    #[error("cannot reach the gateway at {address}: {}", Printable(detail))]
    Unreachable {
        /// Host and port.
        address: String,
        /// What one can do something about.
        cause: UnreachableCause,
        /// What happened.
        detail: String,
    },
    /// The gateway does not let the client in. Connecting again with the same token helps only
    /// where the reason says so.
    #[error("the gateway refused the connection ({reason}): {}", Printable(message))]
    Refused {
        /// Why.
        reason: CloseReason,
        /// The same for people.
        message: String,
    },
    /// Whoever answers does not keep to the protocol.
    #[error("the gateway does not speak the protocol: {}", Printable(_0))]
    Protocol(String),
    /// It took too long.
    #[error("the gateway did not answer in time{}", listed(tried))]
    Timeout {
        /// Which addresses were tried, as `quic://127.0.0.1:4433`.
        tried: Vec<String>,
    },
}

fn listed(addresses: &[String]) -> String {
    if addresses.is_empty() { String::new() } else { format!(" (tried {})", addresses.join(", ")) }
}

/// What a gateway cannot be reached for, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnreachableCause {
    /// No program listens at the address.
    NotListening,
    /// The certificate is of an authority that is not trusted.
    UntrustedAuthority,
    /// The certificate is not good, for another reason: it has another name, or has expired.
    Certificate,
    /// What answers to TLS is not TLS.
    NotTls,
    /// What answers to an HTTP request without TLS is not HTTP; it may be TLS.
    NotHttp,
    /// Something else.
    Other,
}

impl UnreachableCause {
    /// What an error of TCP, or of TLS over it, says.
    pub(crate) fn of_io(error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::ConnectionRefused {
            return Self::NotListening;
        }
        match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
            // Two authorities of one name, as development authorities are, differ by their keys.
            Some(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => Self::UntrustedAuthority,
            Some(rustls::Error::InvalidCertificate(_)) => Self::Certificate,
            Some(rustls::Error::InvalidMessage(_)) => Self::NotTls,
            _ => Self::Other,
        }
    }
}

/// Why a signal was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The signal breaks a rule; nothing was sent. The caller's to mend.
    #[error(transparent)]
    Invalid(#[from] InvalidSignal),
    /// The gateway refused it.
    #[error("the gateway refused the signal ({code}): {}", Printable(message))]
    Refused {
        /// Why.
        code: ErrorCode,
        /// The same for people.
        message: String,
    },
    /// The link was lost before the gateway confirmed the signal, and it was not to be sent
    /// again.
    #[error("the link was lost, and the signal is not sent again")]
    NotSent,
    /// The client is no longer in the session.
    #[error("the client is no longer in the session")]
    Disconnected,
}
