//! A gateway speaks only TLS, so before anyone can try one there must be a certificate, and in
//! production that certificate is replaced every few weeks under running connections. This crate
//! holds both ends of that: a development authority that makes certificates on first use, and
//! certificates from disk that are replaced without a restart, behind the same rustls
//! configurations for QUIC and TCP.
//!
//! * [`DevAuthority`] makes and keeps an authority and a short-lived leaf in one folder.
//! * [`load`] reads a certificate chain and its key from PEM files and checks that they match.
//! * [`Certificates`] is what every listener resolves its certificate from; it reloads in place.
//! * [`ApplicationKey`] makes the key pair with which a project's servers sign tokens.
//! * [`tcp_server`], [`quic_server`] and [`client`] build the rustls configurations, always with
//!   the one [`provider`].
//!
//! Nothing here opens a socket, spawns a task or reads the clock; loading reads and the authority
//! writes files, and both block.

mod application;
mod dev;
mod diagnosis;
mod files;
mod pem;
mod public_key;
mod resolver;
mod tls;

pub use application::ApplicationKey;
pub use dev::{DevAuthority, DevError};
pub use pem::{LoadError, load, problems};
pub use public_key::{PublicKeyError, check_public_key};
pub use resolver::{Certificates, Validity};
pub use tls::{
    RootsError, client, install_provider, provider, quic_server, roots_from_pem, tcp_server,
};
