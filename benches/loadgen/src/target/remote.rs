//! A gateway that runs already.

use std::{fs, path::PathBuf, str::FromStr};

use anyhow::Context as _;

use super::Target;
use crate::transport::TransportVariant;

/// A gateway that runs already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteGateway {
    transport: TransportVariant,
    /// With its port.
    host: String,
    token: String,
    ca: Option<PathBuf>,
}

impl RemoteGateway {
    /// The gateway at a URL, and the session of a token there.
    pub fn new(url: &str, token: String, ca: Option<PathBuf>) -> anyhow::Result<Self> {
        let TargetUrl { transport, host } = url.parse()?;
        Ok(Self { transport, host, token, ca })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("{}://{}", self.transport.scheme(), self.host)
    }

    /// A session there: the one of the token.
    pub async fn target(&self) -> anyhow::Result<Target> {
        let Self { transport, host, token, ca } = self;
        let mut addresses = tokio::net::lookup_host(host.as_str())
            .await
            .with_context(|| format!("cannot resolve {host}"))?;
        let address = addresses.next().with_context(|| format!("cannot resolve {host}"))?;
        let roots = match ca {
            Some(ca) => {
                let pem = fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
                signalbox_certs::roots_from_pem(&pem)?
            }
            None => signalbox_certs::native_roots().store,
        };
        Target::signalbox(*transport, address, host, roots, token.clone())
    }
}

/// The parts of a URL.
struct TargetUrl {
    transport: TransportVariant,
    host: String,
}

impl FromStr for TargetUrl {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> anyhow::Result<Self> {
        let wrong = || format!("{url:?} is not quic://, https://, wss:// or ws://HOST:PORT");
        let (scheme, host) = url.split_once("://").with_context(wrong)?;
        let transport = match scheme {
            "quic" => TransportVariant::Quic,
            "https" => TransportVariant::WebTransport,
            "wss" => TransportVariant::Wss,
            "ws" => TransportVariant::Ws,
            _ => return Err(anyhow::anyhow!(wrong())),
        };
        let host = host.trim_end_matches('/').to_owned();
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        port.with_context(wrong)?;
        Ok(Self { transport, host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_transport_a_host_and_a_port() {
        for (url, transport, host) in [
            ("quic://localhost:1/", TransportVariant::Quic, "localhost:1"),
            ("https://localhost:1", TransportVariant::WebTransport, "localhost:1"),
            ("wss://[::1]:8443", TransportVariant::Wss, "[::1]:8443"),
            ("ws://example.com:80", TransportVariant::Ws, "example.com:80"),
        ] {
            let parsed: TargetUrl = url.parse().unwrap();
            assert_eq!((parsed.transport, parsed.host.as_str()), (transport, host));
        }
        for url in ["localhost:1", "http://localhost:1", "quic://localhost", "wss://host:port"] {
            let error = url.parse::<TargetUrl>().err().unwrap().to_string();
            assert!(error.contains("HOST:PORT"), "{error}");
        }
    }
}
