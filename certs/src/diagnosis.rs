//! Diagnosis of files that hold no usable certificate or key: what they contain instead, and how to
//! convert or replace them. The texts follow the name of the file.

use std::path::Path;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::Error as PemError};
use x509_parser::{
    asn1_rs::{FromDer as _, Integer, OctetString, Oid, Sequence},
    certificate::X509Certificate,
    x509::X509Version,
};

use crate::provider;

const COPY_AGAIN: &str = "copy it again from where it was issued";
const NEW_KEY: &str = "make a key of another kind, such as ECDSA P-256, and a certificate for it";

/// Explains the absence of a `CERTIFICATE` section in a file.
pub(crate) fn no_certificate(contents: &[u8], path: &Path) -> String {
    let path = path.display();
    if let Some(why) = no_pem(contents, &path.to_string()) {
        return why;
    }
    let has = |label: &str| labels(contents).any(|it| it == label);
    if labels(contents).any(|label| label.ends_with("PRIVATE KEY")) {
        return "holds a private key and no certificate: name the certificate's file (are the \
                certificate and the key in each other's place?)"
            .into();
    }
    if has("TRUSTED CERTIFICATE") {
        return format!(
            "holds a certificate in a format of OpenSSL only; convert it with: \
             openssl x509 -in {path} -out cert.pem"
        );
    }
    if has("CERTIFICATE REQUEST") || has("NEW CERTIFICATE REQUEST") {
        return "holds a certificate request and no certificate: name the file that the authority \
                sent back for it"
            .into();
    }
    if has("PKCS7") {
        return format!(
            "holds PKCS#7 and no certificate; convert it with: \
             openssl pkcs7 -in {path} -print_certs -out cert.pem"
        );
    }
    if has("CERTIFICATE") {
        return out_of_place(&path.to_string());
    }
    other(contents, "certificate")
}

/// Explains the absence of a usable private key in a file without a private key section.
pub(crate) fn no_key(contents: &[u8], path: &Path) -> String {
    let path = path.display();
    if let Some(why) = no_pem(contents, &path.to_string()) {
        return why;
    }
    let has = |label: &str| labels(contents).any(|it| it == label);
    if is_encrypted(contents) {
        return format!(
            "holds an encrypted private key, whose password a gateway cannot ask for; \
             decrypt it with: openssl pkey -in {path} -out key.pem"
        );
    }
    if has("OPENSSH PRIVATE KEY") {
        return "holds an SSH key in OpenSSH's format: name the key that belongs to the certificate"
            .into();
    }
    if has("PUBLIC KEY") || has("RSA PUBLIC KEY") {
        return "holds a public key: name the file of the private key".into();
    }
    if ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"].into_iter().any(has) {
        return out_of_place(&path.to_string());
    }
    if has("CERTIFICATE") {
        return "holds a certificate and no private key: name the key's file (are the certificate \
                and the key in each other's place?)"
            .into();
    }
    other(contents, "private key (PKCS#8, PKCS#1 or SEC1)")
}

/// Whether a key is encrypted, in PKCS#8 or in the older format.
pub(crate) fn is_encrypted(contents: &[u8]) -> bool {
    labels(contents).any(|label| label == "ENCRYPTED PRIVATE KEY")
        || String::from_utf8_lossy(contents).lines().any(|line| line.contains("4,ENCRYPTED"))
}

/// Describes the fault in a damaged PEM section.
pub(crate) fn damaged(contents: &[u8], path: &Path, error: &PemError) -> String {
    if let Some(why) = no_pem(contents, &path.display().to_string()) {
        return why;
    }
    match error {
        PemError::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            format!("is cut off, as there is no line -----END {label}-----: {COPY_AGAIN}")
        }
        PemError::IllegalSectionStart { line } => {
            let line = String::from_utf8_lossy(line);
            format!("has a damaged line that begins with {:?}: {COPY_AGAIN}", short(&line))
        }
        PemError::Base64Decode(_) => {
            format!(
                "has characters between its BEGIN and END lines that are not base64: {COPY_AGAIN}"
            )
        }
        other => format!("is damaged ({other}): {COPY_AGAIN}"),
    }
}

/// The beginning of a line, as the rest may be secret.
fn short(line: &str) -> &str {
    line.get(..11).unwrap_or(line)
}

/// Explains the rejection of a key in intact PEM for signing.
pub(crate) fn unusable_key(key: &PrivateKeyDer<'_>) -> String {
    match key_kind(key) {
        Some(KeyKind::Rsa(bits)) if bits < 2048 => format!(
            "is an RSA key of {bits} bits, which is too short to be safe: make one of 2048 bits or \
             more, or of ECDSA P-256, and a certificate for it"
        ),
        Some(KeyKind::Rsa(bits)) if bits > 8192 => {
            format!("is an RSA key of {bits} bits, more than the 8192 that TLS takes: {NEW_KEY}")
        }
        Some(KeyKind::Rsa(_)) => format!("is a damaged RSA key: {COPY_AGAIN}"),
        Some(KeyKind::Curve(oid)) if CURVES.contains(&oid.as_str()) => {
            format!("is a damaged EC key: {COPY_AGAIN}")
        }
        Some(KeyKind::Curve(oid)) => format!(
            "is an EC key of a curve that TLS does not support (OID {oid}): make a key of P-256, P-384 \
             or P-521, and a certificate for it"
        ),
        Some(KeyKind::Other(oid)) => format!(
            "is of an algorithm that is not supported (OID {oid}): make an ECDSA, Ed25519 or \
             RSA key, and a certificate for it"
        ),
        None => format!("is damaged: {COPY_AGAIN}"),
    }
}

/// The kind of a private key.
enum KeyKind {
    /// RSA, with the bits of its modulus.
    Rsa(usize),
    /// An elliptic curve, by its object identifier.
    Curve(String),
    /// Another algorithm, by its object identifier.
    Other(String),
}

/// P-256, P-384 and P-521.
const CURVES: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];
const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";

fn key_kind(key: &PrivateKeyDer<'_>) -> Option<KeyKind> {
    match key {
        PrivateKeyDer::Pkcs1(key) => rsa_bits(key.secret_pkcs1_der()).map(KeyKind::Rsa),
        PrivateKeyDer::Sec1(key) => {
            // version, key, [0] parameters, [1] public key (RFC 5915)
            let (_, all) = Sequence::from_der(key.secret_sec1_der()).ok()?;
            let (rest, _) = Integer::from_der(&all.content).ok()?;
            let (rest, _) = OctetString::from_der(rest).ok()?;
            let parameters = rest.strip_prefix(&[0xa0])?.get(1..)?;
            let (_, curve) = Oid::from_der(parameters).ok()?;
            Some(KeyKind::Curve(curve.to_id_string()))
        }
        PrivateKeyDer::Pkcs8(key) => {
            // version, algorithm with parameters, key (RFC 5208)
            let (_, all) = Sequence::from_der(key.secret_pkcs8_der()).ok()?;
            let (rest, _) = Integer::from_der(&all.content).ok()?;
            let (rest, algorithm) = Sequence::from_der(rest).ok()?;
            let (parameters, oid) = Oid::from_der(&algorithm.content).ok()?;
            match oid.to_id_string().as_str() {
                RSA => {
                    let (_, inner) = OctetString::from_der(rest).ok()?;
                    rsa_bits(inner.as_ref()).map(KeyKind::Rsa)
                }
                EC => {
                    let (_, curve) = Oid::from_der(parameters).ok()?;
                    Some(KeyKind::Curve(curve.to_id_string()))
                }
                other => Some(KeyKind::Other(other.to_owned())),
            }
        }
        _ => None,
    }
}

/// Bits of the modulus of a PKCS#1 key (RFC 8017 §A.1.2).
fn rsa_bits(pkcs1: &[u8]) -> Option<usize> {
    let (_, all) = Sequence::from_der(pkcs1).ok()?;
    let (rest, _) = Integer::from_der(&all.content).ok()?;
    let (_, modulus) = Integer::from_der(rest).ok()?;
    Some(significant_bits(modulus.as_ref()))
}

/// Bits of a number without leading zeros.
pub(crate) fn significant_bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let significant = number.get(zeros..).unwrap_or_default();
    let unused = significant.first().map_or(0, |byte| byte.leading_zeros() as usize);
    significant.len() * 8 - unused
}

/// Explains the rejection of a certificate in intact PEM.
pub(crate) fn unusable_certificate(certificate: &CertificateDer<'_>) -> String {
    match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) if parsed.version() != X509Version::V3 => format!(
            "is an X.509 certificate of version {}, and TLS needs version 3: issue it again with \
             extensions (openssl x509 -req … -extfile FILE with subjectAltName = DNS:NAME)",
            parsed.version().0 + 1
        ),
        Ok(_) => "cannot be used in TLS: issue it again".into(),
        Err(_) => format!("is damaged: {COPY_AGAIN}"),
    }
}

/// The labels of all sections, also of those that begin within a line.
fn labels(contents: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(contents).into_owned();
    let labels: Vec<_> = text
        .split("-----BEGIN ")
        .skip(1)
        .filter_map(|rest| rest.split_once("-----").map(|(label, _)| label.to_owned()))
        .collect();
    labels.into_iter()
}

/// Describes the contents of a file without any PEM section.
fn no_pem(contents: &[u8], path: &str) -> Option<String> {
    if contents.iter().all(u8::is_ascii_whitespace) {
        return Some("is empty: put the PEM there".into());
    }
    if contents.starts_with(&[0xff, 0xfe]) || contents.starts_with(&[0xfe, 0xff]) {
        return Some("is UTF-16 text: save it as UTF-8 or ASCII".into());
    }
    if labels(contents).next().is_some() {
        return None;
    }
    // DER begins with a sequence.
    if contents.first() != Some(&0x30) {
        return Some("is not PEM: it must have a line that begins with -----BEGIN".into());
    }
    if X509Certificate::from_der(contents).is_ok() {
        return Some(format!(
            "is a certificate as DER, and PEM is needed; convert it with: \
             openssl x509 -inform DER -in {path} -out cert.pem"
        ));
    }
    // PKCS#12 begins like PKCS#8, with another algorithm.
    let is_key = PrivateKeyDer::try_from(contents).is_ok_and(|key| {
        matches!(key_kind(&key), Some(KeyKind::Rsa(_) | KeyKind::Curve(_)))
            || provider().key_provider.load_private_key(key.clone_key()).is_ok()
    });
    Some(if is_key {
        format!(
            "is a private key as DER, and PEM is needed; convert it with: \
             openssl pkey -inform DER -in {path} -out key.pem"
        )
    } else {
        format!(
            "is binary (DER, probably PKCS#12), and PEM is needed; convert PKCS#12 with: \
             openssl pkcs12 -in {path} -nodes -out both.pem"
        )
    })
}

/// The sections that the file has instead.
fn other(contents: &[u8], wanted: &str) -> String {
    let found: Vec<_> = labels(contents).collect();
    format!("holds no {wanted} but: {}", found.join(", "))
}

/// PEM whose BEGIN line a parser does not recognise.
fn out_of_place(path: &str) -> String {
    format!(
        "has its BEGIN line not at the beginning of a line (is there a space or another invisible \
         character before it?); see: grep -n BEGIN {path} | cat -A"
    )
}

#[cfg(test)]
mod tests;
