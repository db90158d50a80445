//! Hints after a failed connection.

use signalbox_client::{ConnectError, UnreachableCause as Cause};

use super::ConnectTarget;

/// Whether the URL is one of QUIC or WebTransport.
fn is_udp(url: &str) -> bool {
    ["quic://", "https://"].iter().any(|scheme| url.starts_with(scheme))
}

/// The next step for the user, if one is known.
pub(crate) fn hint(error: &ConnectError, target: &ConnectTarget) -> Option<String> {
    let of_scheme = |scheme: &str| {
        target.urls().find_map(|url| url.strip_prefix(scheme)).unwrap_or("HOST:PORT").to_owned()
    };
    Some(match error {
        ConnectError::Url(_) => {
            let first = target.urls().next().unwrap_or_default();
            let (_, rest) = first.split_once("://")?;
            first
                .starts_with("http://")
                .then(|| format!("a gateway's WebSocket without TLS is ws://{rest}"))?
        }
        ConnectError::Timeout { .. } if target.urls().all(is_udp) => {
            let (_, host) = target.urls().next()?.split_once("://")?;
            format!(
                "no answer: the gateway is not running there, or UDP, which QUIC needs, is blocked; try \
                 wss://{host}, or add it as a second URL"
            )
        }
        ConnectError::Timeout { .. } => {
            "check the host, the port and firewalls in between".into()
        }
        ConnectError::Unreachable { cause, .. } => match cause {
            Cause::NotListening if target.is_dev() => {
                "the gateway of `signalbox serve --dev` is not running any more: start it again".into()
            }
            Cause::NotListening => "no program listens on that port: check that the gateway is running, and its port".into(),
            Cause::UntrustedAuthority if target.has_ca() => {
                "the gateway's certificate was issued by another authority than that of --ca".into()
            }
            Cause::UntrustedAuthority => "the system does not trust the authority of the gateway's certificate: pass it \
                 with --ca FILE; for `signalbox serve --dev` use --dev or --ca .signalbox/dev/ca.pem"
                .into(),
            Cause::Certificate => {
                "use a host name of the gateway's certificate, and check that the certificate has not expired".into()
            }
            Cause::NotTls => {
                let host = of_scheme("wss://");
                format!("the server there does not speak TLS: try ws://{host}")
            }
            Cause::NotHttp => {
                let host = of_scheme("ws://");
                format!("the server there does not speak plain HTTP: try wss://{host}")
            }
            _ => return None,
        },
        _ => return None,
    })
}
