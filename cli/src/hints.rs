//! What to try when a gateway cannot be reached.

use signalbox_client::{ConnectError, UnreachableCause as Cause};

use crate::link::Target;

/// The next step, if one is known.
pub(crate) fn hint(error: &ConnectError, target: &Target) -> Option<String> {
    let of_scheme = |scheme: &str| {
        target.urls().find_map(|url| url.strip_prefix(scheme)).unwrap_or("HOST:PORT").to_owned()
    };
    Some(match error {
        ConnectError::Url(_) => {
            let first = target.urls().next().unwrap_or_default();
            let (_, rest) = first.split_once("://")?;
            let web = [("https://", "wss"), ("http://", "ws")];
            let (_, scheme) = web.into_iter().find(|(scheme, _)| first.starts_with(scheme))?;
            format!("a gateway's WebSocket is {scheme}://{rest}")
        }
        ConnectError::Timeout { .. } if target.urls().all(|url| url.starts_with("quic://")) => {
            let place = of_scheme("quic://");
            format!(
                "either no gateway is there, or UDP, which QUIC needs, is blocked on the way: try \
                 wss://{place}, or add --fallback wss://{place}"
            )
        }
        ConnectError::Timeout { .. } => {
            "check host and port, and that no firewall is in between".into()
        }
        ConnectError::Unreachable { cause, .. } => match cause {
            Cause::NotListening if target.is_dev() => {
                "the gateway of `signalbox serve --dev` has gone: start it again".into()
            }
            Cause::NotListening => "no program listens there: is the gateway running, and is this its port?".into(),
            Cause::UntrustedAuthority if target.has_ca() => {
                "the gateway's certificate is of another authority than --ca names".into()
            }
            Cause::UntrustedAuthority => "the system does not trust the authority of the gateway's certificate: name \
                 its file by --ca FILE; for `signalbox serve --dev` use --dev, or --ca .signalbox/dev/ca.pem"
                .into(),
            Cause::Certificate => {
                "connect by a name that is in the gateway's certificate, and see that it is still good".into()
            }
            Cause::NotTls => {
                let place = of_scheme("wss://");
                format!("what answers there speaks no TLS: is it ws://{place}?")
            }
            Cause::NotHttp => {
                let place = of_scheme("ws://");
                format!("what answers there speaks no plain HTTP: is it wss://{place}?")
            }
            _ => return None,
        },
        _ => return None,
    })
}
