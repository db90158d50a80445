//! Reasons for which a gateway cannot use NATS.

use std::{io, path::PathBuf, time::Duration};

use signalbox_certs::{LoadError, RootsError};

/// The gateway cannot start to use NATS.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A file cannot be read: the operator's mistake.
    #[error("cannot read the {what} of NATS, {path}: check the path and its permissions")]
    File {
        /// Its purpose.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The file with the trusted authorities is unusable: the operator's mistake.
    #[error(
        "cannot use the CA file of NATS, {path}: set cluster.ca to a PEM file with certificates"
    )]
    Authorities {
        /// Its path.
        path: PathBuf,
        /// The fault.
        #[source]
        source: RootsError,
    },
    /// The client certificate or its key is unusable: the operator's mistake.
    #[error("cannot use the client certificate of NATS")]
    ClientCertificate(#[source] LoadError),
    /// No server could be reached.
    #[error("no NATS server can be reached ({servers}): start it, or correct cluster.servers")]
    Unreachable {
        /// The servers.
        servers: String,
        /// The last error.
        #[source]
        source: async_nats::ConnectError,
    },
    /// No server has answered in time.
    #[error(
        "NATS has not answered within {} s ({servers}): check that it runs and is not overloaded",
        limit.as_secs()
    )]
    TimedOut {
        /// The servers.
        servers: String,
        /// The time that it had.
        limit: Duration,
    },
    /// The server refuses the credentials.
    #[error(
        "NATS refuses the credentials of the gateway ({servers}): correct cluster.user and cluster.password, cluster.token or cluster.credentials_file"
    )]
    Unauthorized {
        /// The servers.
        servers: String,
        /// The error of the server.
        #[source]
        source: async_nats::ConnectError,
    },
    /// The TLS handshake has failed.
    #[error(
        "TLS with NATS has failed ({servers}): check cluster.ca, cluster.certificate, and that the host is in the server's certificate"
    )]
    Tls {
        /// The servers.
        servers: String,
        /// The error of TLS.
        #[source]
        source: async_nats::ConnectError,
    },
    /// The server has ended the connection, or does not speak NATS.
    #[error(
        "NATS has ended the connection during its start ({servers}): see the log of the server"
    )]
    Refused {
        /// The servers.
        servers: String,
        /// The last error.
        #[source]
        source: async_nats::ConnectError,
    },
    /// The account lacks a permission.
    #[error(
        "NATS denies the gateway a subject ({violation}): allow publish and subscribe on '{namespace}.>'"
    )]
    Denied {
        /// The error of the server.
        violation: String,
        /// The prefix of all subjects.
        namespace: String,
    },
    /// A message to the gateway's own subject has not come back.
    #[error(
        "NATS has not delivered a message to '{subject}' within {} s: check the permissions of the account and the health of the server",
        limit.as_secs()
    )]
    NotDelivered {
        /// The subject.
        subject: String,
        /// The time that it had.
        limit: Duration,
    },
    /// The server's limit of a message is too low.
    #[error(
        "max_payload of NATS is {limit} bytes: set it to 1MB, the default; {needed} are needed"
    )]
    PayloadLimit {
        /// The limit of the server.
        limit: usize,
        /// The lowest limit that suffices.
        needed: usize,
    },
    /// Another live gateway has the same name.
    #[error(
        "another gateway named '{name}' is alive in this cluster: set another `name` for one of them"
    )]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The NATS client has ended by itself: our fault.
    #[error("the NATS client has ended unexpectedly: please report it")]
    Ended,
}
