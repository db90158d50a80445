//! Public keys of applications, as their operators configure them: checked before they are used, as
//! a key that no token can be checked with would only show when every client is refused.

use x509_parser::{
    pem::Pem,
    prelude::FromDer as _,
    public_key::{PublicKey, RSAPublicKey},
    x509::SubjectPublicKeyInfo,
};

use crate::diagnosis::significant_bits;

/// Bits of an RSA key with which RS256 may be checked (RFC 7518 §3.3; aws-lc's own maximum).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a public key cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// There is no PEM.
    #[error(
        "is no PEM: it must begin with -----BEGIN PUBLIC KEY-----; convert a DER file with: \
         openssl pkey -pubin -inform DER -in KEY.der -out KEY.pub.pem"
    )]
    NotPem,
    /// The PEM is cut or changed.
    #[error("is damaged PEM: copy it again")]
    Damaged,
    /// It is the other half of the pair.
    #[error(
        "is a private key, which is for the project's server alone; extract the public one with: \
         openssl pkey -in KEY.pem -pubout -out KEY.pub.pem"
    )]
    Private,
    /// The key is inside it.
    #[error(
        "is a certificate; extract its public key with: openssl x509 -in CERT.pem -pubkey -noout"
    )]
    Certificate,
    /// Another section of PEM.
    #[error("is a {0}; a PUBLIC KEY is needed")]
    OtherPem(String),
    /// RS256 is RSA.
    #[error(
        "is no RSA key, and tokens of applications are signed with RSA (RS256): make a pair with \
         signalbox project new --application"
    )]
    NotRsa,
    /// It is too short, or absurdly long.
    #[error(
        "is an RSA key of {0} bits, and RS256 takes 2048 to 8192: make a pair with signalbox \
         project new --application"
    )]
    Bits(usize),
}

/// Checks that tokens signed with RS256 can be checked with the public key in this PEM.
///
/// # Errors
/// [`PublicKeyError`], whose text follows the name of the key.
pub fn check_public_key(pem: &[u8]) -> Result<(), PublicKeyError> {
    // What is before it (a byte order mark, text for people) is no part of PEM.
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
    fn what_cannot_check_a_token_is_named() {
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
