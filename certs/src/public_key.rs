//! Validation of applications' public keys when they are configured. Otherwise an unusable key
//! would only be noticed when every client is refused.

use x509_parser::{
    pem::Pem,
    prelude::FromDer as _,
    public_key::{PublicKey, RSAPublicKey},
    x509::SubjectPublicKeyInfo,
};

use crate::diagnosis::significant_bits;

/// Allowed sizes of RSA keys for RS256, in bits (minimum of RFC 7518 §3.3; maximum of aws-lc).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The error for a public key that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// It is not PEM.
    #[error(
        "is not PEM: it must begin with -----BEGIN PUBLIC KEY-----; convert a DER file with: \
         openssl pkey -pubin -inform DER -in KEY.der -out KEY.pub.pem"
    )]
    NotPem,
    /// The PEM is truncated or altered.
    #[error("is damaged PEM: copy it again")]
    Damaged,
    /// It is the private key of the pair.
    #[error(
        "is a private key, which is for the project's server alone; extract the public one with: \
         openssl pkey -in KEY.pem -pubout -out KEY.pub.pem"
    )]
    Private,
    /// It is a certificate.
    #[error(
        "is a certificate; extract its public key with: openssl x509 -in CERT.pem -pubkey -noout"
    )]
    Certificate,
    /// Another section of PEM.
    #[error("is a {0}; a PUBLIC KEY is needed")]
    OtherPem(String),
    /// It is a key of another algorithm; RS256 needs RSA.
    #[error(
        "is not an RSA key, and tokens of applications are signed with RS256: make a pair with \
         signalbox project new --application"
    )]
    NotRsa,
    /// Its length is out of range.
    #[error(
        "is an RSA key of {0} bits, and RS256 takes 2048 to 8192: make a pair with signalbox \
         project new --application"
    )]
    Bits(usize),
}

/// Checks that tokens signed with RS256 can be verified with the public key in this PEM.
///
/// # Errors
/// [`PublicKeyError`], whose text follows the name of the key.
pub fn check_public_key(pem: &[u8]) -> Result<(), PublicKeyError> {
    // PEM allows text before its first section, such as a byte order mark.
    let begin = pem.windows(10).position(|it| it == b"-----BEGIN").unwrap_or_default();
    let pem = match Pem::iter_from_buffer(pem.get(begin..).unwrap_or_default()).next() {
        None => return Err(PublicKeyError::NotPem),
        Some(Err(_)) => return Err(PublicKeyError::Damaged),
        Some(Ok(pem)) => pem,
    };
    let bits = match pem.label.as_str() {
        "PUBLIC KEY" => {
            let (_, info) = SubjectPublicKeyInfo::from_der(&pem.contents)
                .map_err(|_| PublicKeyError::Damaged)?;
            match info.parsed() {
                Ok(PublicKey::RSA(key)) => significant_bits(key.modulus),
                Ok(_) => return Err(PublicKeyError::NotRsa),
                Err(_) => return Err(PublicKeyError::Damaged),
            }
        }
        "RSA PUBLIC KEY" => {
            let (_, key) =
                RSAPublicKey::from_der(&pem.contents).map_err(|_| PublicKeyError::Damaged)?;
            significant_bits(key.modulus)
        }
        "CERTIFICATE" => return Err(PublicKeyError::Certificate),
        label if label.ends_with("PRIVATE KEY") => return Err(PublicKeyError::Private),
        label => return Err(PublicKeyError::OtherPem(label.to_owned())),
    };
    if RSA_BITS.contains(&bits) { Ok(()) } else { Err(PublicKeyError::Bits(bits)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rcgen::KeyPair;

    use super::*;
    use crate::ApplicationKey;

    /// Made with: openssl genrsa 1024 | openssl rsa -pubout
    const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDqk6D/gbnJrtb0Tx9+Ga6FEmJ9\n\
cc2q2bAOnDXAYYrkR5zHMGbndOcASRkZVg+UOX64ZQEHpn3qKo56tpB+RmnYddX+\n\
4/Zt+I99EiJ3g+ZBONo6L1RGHL3caW+ysS+rUFUzJOxdZ+yj7cZQkpBNPkevh5AK\n\
ZwbEovUmJxeJNTM2HQIDAQAB\n\
-----END PUBLIC KEY-----\n";

    #[test]
    fn unusable_keys_are_named() {
        let pair = ApplicationKey::generate().unwrap();
        let elliptic = KeyPair::generate().unwrap();
        let certificate = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let check = |pem: &str| check_public_key(pem.as_bytes());
        assert_eq!(check(&pair.public_pem), Ok(()));
        assert_eq!(
            check(&format!("\u{feff}\r\n  {}", pair.public_pem.replace('\n', "\r\n"))),
            Ok(())
        );
        assert_eq!(check(&pair.private_pem), Err(PublicKeyError::Private));
        assert_eq!(check(&elliptic.public_key_pem()), Err(PublicKeyError::NotRsa));
        assert_eq!(check(&certificate.cert.pem()), Err(PublicKeyError::Certificate));
        assert_eq!(check(RSA_1024), Err(PublicKeyError::Bits(1024)));
        assert_eq!(check("somewhere/key.pem"), Err(PublicKeyError::NotPem));
        let (half, _) = pair.public_pem.split_at(pair.public_pem.len() / 2);
        assert_eq!(check(half), Err(PublicKeyError::Damaged));
    }
}
