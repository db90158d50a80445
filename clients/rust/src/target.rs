//! Where a gateway is: what its URL says, and the addresses that it means.

use std::net::SocketAddr;

use signalbox_protocol::DEFAULT_PORT;
use url::Url;

use crate::error::ConnectError;

/// How the gateway is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Quic,
    Wss,
    Ws,
}

impl Scheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Wss => "wss",
            Self::Ws => "ws",
        }
    }
}

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path of the WebSocket endpoint.
    pub(crate) path: String,
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, ConnectError> {
        let bad = |why: &str| ConnectError::Url(format!("{why} in {text:?}"));
        let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        let scheme = match url.scheme() {
            "quic" => Scheme::Quic,
            "wss" => Scheme::Wss,
            "ws" => Scheme::Ws,
            _ => return Err(bad("unknown scheme")),
        };
        // Tokens do not belong in URLs, which end up in logs.
        if url.query().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(bad("neither a query nor a user name is allowed"));
        }
        // The brackets of an IPv6 address are the URL's, not the host's.
        let host = url.host_str().ok_or_else(|| bad("no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = match url.path() {
            "" | "/" => signalbox_protocol::WEBSOCKET_PATH,
            path => path,
        };
        // `Url::port` hides the scheme's default (80, 443), which is not what we default to.
        let explicit = ["ws", "wss"].contains(&url.scheme()).then(|| explicit_port(text)).flatten();
        let port = url.port().or(explicit).unwrap_or(DEFAULT_PORT);
        Ok(Self { scheme, host, port, path: path.to_owned() })
    }

    /// Host and port as one text.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let failed = |source| ConnectError::Resolve { host: self.host.clone(), source };
        let addresses =
            tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(failed)?;
        Ok(addresses.collect())
    }
}

/// The port that a URL's text names, even if it is the default of the scheme.
fn explicit_port(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, scheme: Scheme, address: &str, path: &str) {
        let target = Target::parse(url).unwrap();
        assert_eq!((target.scheme, target.path.as_str()), (scheme, path));
        assert_eq!(target.address(), address);
    }

    #[test]
    fn urls_name_a_gateway() {
        check("quic://a.example", Scheme::Quic, "a.example:4433", "/v1/connect");
        check("wss://a.example/", Scheme::Wss, "a.example:4433", "/v1/connect");
        check("wss://a.example:443", Scheme::Wss, "a.example:443", "/v1/connect");
        check("ws://127.0.0.1:8080/proxied", Scheme::Ws, "127.0.0.1:8080", "/proxied");
        check("quic://[::1]:9", Scheme::Quic, "[::1]:9", "/v1/connect");
    }

    #[test]
    fn what_is_no_gateway_is_refused() {
        for url in ["", "localhost:4433", "http://a", "quic://", "wss://a/?token=x", "wss://u:p@a"]
        {
            assert!(matches!(Target::parse(url), Err(ConnectError::Url(_))), "{url}");
        }
    }
}
