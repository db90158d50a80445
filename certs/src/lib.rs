//! TLS for every part of Signalbox: one crypto provider, the rustls configurations of servers and
//! clients, certificates that reload without a restart, and a development authority that issues
//! certificates on first use.
//!
//! * [`client`] builds the configuration of a TLS client; [`roots_from_pem`] and [`native_roots`]
//!   build its trusted roots. These need no feature, so an SDK depends on nothing else.
//! * Feature `server`: [`tcp_server`] and [`quic_server`] build the configurations of listeners,
//!   which take their certificate from [`Certificates`]; it reloads in place. [`load`] reads a
//!   certificate chain and its key from PEM files and checks that they match.
//! * Feature `acme`: a certificate that ACME keeps in a file, and answers to challenges.
//! * Feature `dev`: [`DevAuthority`] keeps an authority and a short-lived leaf in one folder, and
//!   [`ApplicationKey`] generates the key pair with which a project's servers sign tokens.
//!
//! Nothing here opens a socket, spawns a task or reads the clock. Functions that load or write
//! files block.

#[cfg(feature = "dev")]
mod application;
#[cfg(feature = "acme")]
mod challenge;
mod client;
#[cfg(feature = "dev")]
mod dev;
#[cfg(feature = "server")]
mod diagnosis;
#[cfg(feature = "dev")]
mod files;
#[cfg(feature = "server")]
mod inspection;
#[cfg(feature = "server")]
mod pem;
mod provider;
#[cfg(feature = "server")]
mod public_key;
#[cfg(feature = "server")]
mod resolver;
#[cfg(feature = "server")]
mod server;
#[cfg(all(test, feature = "dev"))]
mod tests;
mod unverified;

#[cfg(feature = "dev")]
pub use application::ApplicationKey;
#[cfg(feature = "acme")]
pub use challenge::{ACME_TLS_ALPN, ChallengeAnswer, ChallengeError};
pub use client::{NativeRoots, RootsError, client, native_roots, roots_from_pem};
#[cfg(feature = "dev")]
pub use dev::{DevAuthority, DevError};
#[cfg(feature = "server")]
pub use inspection::{InspectedCertificate, TrustError};
#[cfg(feature = "server")]
pub use pem::{LoadError, load, problems};
pub use provider::{install_provider, provider};
#[cfg(feature = "server")]
pub use public_key::{PublicKeyError, check_public_key};
#[cfg(feature = "server")]
pub use resolver::{Certificates, LoadedCertificate, Validity};
#[cfg(feature = "server")]
pub use server::{quic_server, tcp_server};
pub use unverified::unverified_client;
