//! Errors of starting a gateway.

use std::{io, net::SocketAddr};

use crate::{config::Problem, secret::SecretError};

/// The error for a gateway that did not start. The operator can fix the cause.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The configuration is invalid. Lists every problem.
    #[error("invalid configuration:\n  {}", lines(.0))]
    Config(Vec<Problem>),
    /// The certificate or its key is not usable.
    #[error("the certificate cannot be used")]
    Certificate(#[source] signalbox_certs::LoadError),
    /// The private key could not be read a second time.
    #[error("cannot read the private key")]
    Key(#[source] io::Error),
    /// The key file of the gateway is not usable.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The TLS configuration does not suit QUIC.
    #[error("the TLS configuration does not suit QUIC")]
    Tls(#[source] quinn::crypto::rustls::NoInitialCipherSuite),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({protocol}): is another program using it?")]
    Listen {
        /// `udp` or `tcp`.
        protocol: &'static str,
        /// The configured address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}
