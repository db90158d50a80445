//! What a certificate says to clients: names, validity and chain; for people that look for a fault.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _, verify_server_name},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::{LoadError, Validity, load, provider};

/// A certificate chain, looked at as a client does.
#[derive(Debug)]
pub struct InspectedCertificate {
    chain: Vec<CertificateDer<'static>>,
    /// Host names and IP addresses that it is for.
    pub names: Vec<String>,
    /// The period in which every certificate of the chain is valid; none if it cannot be read.
    pub validity: Option<Validity>,
}

/// The fault that a client finds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// No root that the client trusts has signed the chain, or a certificate between is missing.
    #[error(
        "no authority that clients trust has signed the chain, or a certificate of it is missing"
    )]
    UnknownAuthority,
    /// It is for other names.
    #[error("it is not for this name")]
    Name,
    /// It is expired, or not valid yet.
    #[error("it is not valid at this time")]
    Time,
    /// Another fault.
    #[error("clients reject it: {0}")]
    Other(String),
}

impl InspectedCertificate {
    /// Reads a chain and its key, which must belong to it.
    ///
    /// # Errors
    /// As [`load`](crate::load).
    pub fn read(cert: &Path, key: &Path) -> Result<Self, LoadError> {
        let chain = load(cert, key)?.cert;
        let names = chain.first().map(|leaf| names(leaf)).unwrap_or_default();
        Ok(Self { validity: Validity::of_chain(&chain), names, chain })
    }

    /// Whether it is for this host.
    pub fn check_name(&self, host: &str) -> bool {
        let Some(leaf) = self.chain.first() else { return false };
        let name = ServerName::try_from(host);
        let leaf = ParsedCertificate::try_from(leaf);
        matches!((name, leaf), (Ok(name), Ok(leaf)) if verify_server_name(&leaf, &name).is_ok())
    }

    /// Whether a client with these roots accepts it for a host at a time.
    ///
    /// # Errors
    /// [`TrustError`], the first fault that the client finds.
    pub fn check(
        &self,
        roots: RootCertStore,
        host: &str,
        at: SystemTime,
    ) -> Result<(), TrustError> {
        let (leaf, rest) = self.chain.split_first().ok_or(TrustError::UnknownAuthority)?;
        let name = ServerName::try_from(host).map_err(|_| TrustError::Name)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        // Without roots there is nothing to build.
        let verifier = verifier.build().map_err(|_| TrustError::UnknownAuthority)?;
        let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now = UnixTime::since_unix_epoch(since);
        match verifier.verify_server_cert(leaf, rest, &name, &[], now) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InvalidCertificate(error)) => Err(TrustError::of(&error)),
            Err(error) => Err(TrustError::Other(error.to_string())),
        }
    }
}

impl TrustError {
    fn of(error: &rustls::CertificateError) -> Self {
        use rustls::CertificateError as E;
        match error {
            E::UnknownIssuer | E::BadSignature => Self::UnknownAuthority,
            E::NotValidForName | E::NotValidForNameContext { .. } => Self::Name,
            E::Expired
            | E::ExpiredContext { .. }
            | E::NotValidYet
            | E::NotValidYetContext { .. } => Self::Time,
            other => Self::Other(other.to_string()),
        }
    }
}

/// The subject's alternative names.
fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use rcgen::generate_simple_self_signed;

    use super::*;
    use crate::roots_from_pem;

    #[test]
    fn a_client_accepts_it_for_its_names_its_time_and_its_authority() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["a.example".to_owned(), "192.0.2.1".to_owned()];
        let issued = generate_simple_self_signed(names.to_vec()).unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        fs::write(&cert, issued.cert.pem()).unwrap();
        fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
        let inspected = InspectedCertificate::read(&cert, &key).unwrap();
        assert_eq!(inspected.names, names);
        let now = SystemTime::now();
        let roots = || roots_from_pem(issued.cert.pem().as_bytes()).unwrap();
        for name in &names {
            assert_eq!(inspected.check(roots(), name, now), Ok(()));
            assert!(inspected.check_name(name));
        }
        assert_eq!(inspected.check(roots(), "b.example", now), Err(TrustError::Name));
        assert_eq!(inspected.check(roots(), "a.example", UNIX_EPOCH), Err(TrustError::Time));
        assert!(!inspected.check_name("b.example") && !inspected.check_name("192.0.2.2"));
        let other = generate_simple_self_signed(names.to_vec()).unwrap();
        let others = roots_from_pem(other.cert.pem().as_bytes()).unwrap();
        assert_eq!(inspected.check(others, "a.example", now), Err(TrustError::UnknownAuthority));
        assert_eq!(
            inspected.check(RootCertStore::empty(), "a.example", now),
            Err(TrustError::UnknownAuthority)
        );
    }
}
