//! Configuration of certificates by ACME.

use std::path::PathBuf;

use super::{
    Problem, ProblemKind,
    check::check_directory,
    setting::{FILE, Form, section},
};

/// Names in one certificate that authorities accept.
const MAX_DOMAINS: usize = 100;

/// Bytes of a name and of a part of it (RFC 1035 §2.3.4).
const MAX_DOMAIN_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

section! {
    /// A certificate from an authority by ACME (RFC 8555), instead of files. The authority validates
    /// each domain over TLS: its port 443 must lead to listen.tcp.
    pub struct AcmeConfig {
        /// Domain names of the certificate; without one there is no ACME. No wildcards.
        domains: Vec<String> = Vec::new(), Form::List {
            list: "a list of domain names in quotes, such as [\"signal.example.com\"]",
            item: "a domain name in quotes, such as \"signal.example.com\"",
        };
        /// URL of the authority's directory.
        directory: String = "https://acme-v02.api.letsencrypt.org/directory".into(),
            Form::Text("a URL in quotes that begins with https://");
        /// Agree to the authority's terms of service. Required.
        terms_of_service_agreed: bool = false, Form::Boolean;
        /// E-mail addresses to which the authority may write.
        contact: Vec<String> = Vec::new(), Form::List {
            list: "a list of e-mail addresses in quotes, such as [\"ops@example.com\"]",
            item: "an e-mail address in quotes, such as \"ops@example.com\"",
        };
        /// Directory for the account and the certificate with its key. Required.
        storage: Option<PathBuf> = None, Form::Text("the path of a directory, in quotes"),
            example "\"/var/lib/signalbox/acme\"";
        /// PEM file with the authorities that the certificate of the directory may be from; without it
        /// those of the system.
        ca: Option<PathBuf> = None, FILE, example "\"/etc/signalbox/acme-ca.pem\"";
    }
}

impl AcmeConfig {
    /// Whether the certificate comes from ACME.
    pub(crate) fn is_enabled(&self) -> bool {
        !self.domains.is_empty()
    }

    /// All faults, if ACME is enabled.
    pub(super) fn check(&self) -> Vec<Problem> {
        if !self.is_enabled() {
            return Vec::new();
        }
        let mut problems = Vec::new();
        if self.domains.len() > MAX_DOMAINS {
            let many = format!("has {} names, more than {MAX_DOMAINS}", self.domains.len());
            problems.push(Problem::invalid("domains", many));
        }
        for (index, domain) in self.domains.iter().enumerate() {
            if let Err(reason) = check_domain(domain) {
                problems.push(Problem::invalid(format!("domains.{index}"), reason));
            }
        }
        for (index, address) in self.contact.iter().enumerate() {
            let parts = address.split_once('@');
            if parts.is_none_or(|(name, host)| name.is_empty() || check_domain(host).is_err()) {
                let reason = "is not an e-mail address, such as ops@example.com";
                problems.push(Problem::invalid(format!("contact.{index}"), reason));
            }
        }
        let host = self.directory.strip_prefix("https://").and_then(|rest| rest.split('/').next());
        if host.is_none_or(str::is_empty) || self.directory.parse::<hyper::Uri>().is_err() {
            let reason = "must be a URL that begins with https:// and names a host";
            problems.push(Problem::invalid("directory", reason));
        }
        if !self.terms_of_service_agreed {
            let reason = "must be true: read the terms of the authority, and agree to them";
            problems.push(Problem::invalid("terms_of_service_agreed", reason));
        }
        match &self.storage {
            None => {
                let hint = "name a directory that only this user can read".into();
                problems.push(Problem::new("storage", ProblemKind::Missing { hint }));
            }
            // It is created if its parent exists.
            Some(storage) => {
                let file =
                    if storage.is_dir() { storage.join("account.json") } else { storage.clone() };
                if let Err(reason) = check_directory(&file) {
                    problems.push(Problem::file("storage", reason));
                }
            }
        }
        if let Some(Err(reason)) = self.ca.as_ref().map(|path| check_roots(path)) {
            problems.push(Problem::file("ca", reason));
        }
        problems
    }
}

fn check_roots(path: &std::path::Path) -> Result<(), String> {
    let pem = std::fs::read(path)
        .map_err(|error| format!("cannot be read: {} ({error})", path.display()))?;
    let roots = signalbox_certs::roots_from_pem(&pem);
    roots.map(|_| ()).map_err(|error| format!("cannot be used: {}: {error}", path.display()))
}

fn check_domain(domain: &str) -> Result<(), &'static str> {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if domain.starts_with("*.") {
        return Err(
            "is a wildcard, for which the authority asks for a change of the DNS: name each domain",
        );
    }
    if domain.parse::<std::net::IpAddr>().is_ok() {
        return Err("is an IP address: name a domain");
    }
    if domain.len() > MAX_DOMAIN_BYTES || !domain.split('.').all(is_label) {
        return Err("is not a domain name in ASCII, such as signal.example.com");
    }
    Ok(())
}
