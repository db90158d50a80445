//! The certificate, as clients will see it.

use std::time::{Duration, SystemTime};

use signalbox_certs::{InspectedCertificate, TrustError, Validity};
use signalbox_gateway::Config;

use super::{finding::Finding, network::Roots};

const CHECK: &str = "certificate";

/// Remaining time below which a renewal is due, as for the gateway's own warning.
const SOON: Duration = Duration::from_hours(14 * 24);

/// Key, names, validity and chain. `url` is one with which clients connect.
pub(super) fn check(config: &Config, roots: &Roots, url: Option<&str>) -> Vec<Finding> {
    let domains = &config.tls.acme.domains;
    if !domains.is_empty() {
        let text = format!(
            "the gateway obtains it by ACME for {}; --url shows whether clients accept it",
            domains.join(", ")
        );
        return vec![Finding::ok(CHECK, text)];
    }
    let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) else {
        let next = "set tls.certificate and tls.key";
        return vec![Finding::fail(CHECK, "none is configured", next)];
    };
    let inspected = match InspectedCertificate::read(certificate, key) {
        Ok(inspected) => inspected,
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            return vec![Finding::fail(CHECK, error, "correct tls.certificate and tls.key")];
        }
    };
    let now = SystemTime::now();
    vec![names(&inspected, url), validity(inspected.validity, now), chain(&inspected, roots, now)]
}

fn names(inspected: &InspectedCertificate, url: Option<&str>) -> Finding {
    let names = inspected.names.join(", ");
    if names.is_empty() {
        let next = "issue one with the host names of the gateway as subject alternative names";
        return Finding::fail(CHECK, "it names no host, so clients reject it", next);
    }
    let Some(host) = url.and_then(host) else {
        return Finding::ok(CHECK, format!("it belongs to its key, and is for {names}"));
    };
    // Trust and time are other findings.
    match inspected.check_name(host) {
        true => Finding::ok(CHECK, format!("it belongs to its key, and is for {host}")),
        false => {
            let text = format!("it is for {names}, and clients connect to {host}");
            Finding::fail(CHECK, text, "issue one for this name, or have clients use another")
        }
    }
}

/// The host in a URL.
fn host(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map(|(host, _)| host),
        None => Some(authority.rsplit_once(':').map_or(authority, |(host, _)| host)),
    }
}

fn validity(validity: Option<Validity>, now: SystemTime) -> Finding {
    let Some(Validity { not_before, not_after }) = validity else {
        let next = "issue it again";
        return Finding::fail(CHECK, "its validity cannot be read", next);
    };
    if now < not_before {
        let next = "check the clock of this machine, or wait";
        return Finding::fail(CHECK, "it is not valid yet", next);
    }
    let renew = "renew it; the gateway uses the new files within ten seconds";
    match not_after.duration_since(now) {
        Err(_) => Finding::fail(CHECK, "it has expired, or one of its chain has", renew),
        Ok(left) => {
            let days = left.as_secs() / (24 * 3600);
            let text = format!("it is valid for {days} more days");
            if left < SOON && left < not_after.duration_since(not_before).unwrap_or_default() / 5 {
                return Finding::warn(CHECK, text, renew);
            }
            Finding::ok(CHECK, text)
        }
    }
}

fn chain(inspected: &InspectedCertificate, roots: &Roots, now: SystemTime) -> Finding {
    let host = inspected.names.first().map_or("localhost", String::as_str);
    // A wildcard is no host.
    let host = host.replace('*', "host");
    match inspected.check(roots.store.clone(), &host, now) {
        Ok(()) => Finding::ok(CHECK, format!("its chain leads to {}", roots.names)),
        Err(TrustError::UnknownAuthority) => {
            let text = format!("its chain does not lead to {}", roots.names);
            let next = "put the certificates of the authorities between behind its own in \
                        tls.certificate; with an authority of your own, give that to clients and to --ca";
            Finding::warn(CHECK, text, next)
        }
        Err(error) => {
            let text = format!("its chain was not checked to its end: {error}");
            Finding::warn(CHECK, text, "see the other findings about the certificate")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn the_host_of_a_url_is_found() {
        for (url, expected) in [
            ("quic://signal.example.com", "signal.example.com"),
            ("wss://signal.example.com:4433/x", "signal.example.com"),
            ("quic://[::1]:4433", "::1"),
        ] {
            assert_eq!(host(url), Some(expected));
        }
        assert_eq!(host("signal.example.com"), None);
    }

    #[test]
    fn a_certificate_is_old_before_it_expires() {
        let day = Duration::from_hours(24);
        let start = SystemTime::UNIX_EPOCH + 1000 * day;
        let valid = Some(Validity { not_before: start, not_after: start + 90 * day });
        for (now, level) in [
            (start - day, Level::Fail),
            (start + day, Level::Ok),
            (start + 80 * day, Level::Warn),
            (start + 91 * day, Level::Fail),
        ] {
            assert_eq!(validity(valid, now).level, level);
        }
    }
}
