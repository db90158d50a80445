//! Gateway URLs, and the addresses that they stand for.

use std::net::SocketAddr;

use signalbox_protocol::DEFAULT_PORT;
use url::Url;

use crate::error::ConnectError;

/// The scheme of a gateway's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Quic,
    /// WebTransport.
    Https,
    Wss,
    Ws,
}

impl Scheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Https => "https",
            Self::Wss => "wss",
            Self::Ws => "ws",
        }
    }
}

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewayUrl {
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path of the endpoint; without meaning for QUIC.
    pub(crate) path: String,
}

impl GatewayUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, ConnectError> {
        let bad = |why: &str| ConnectError::Url(format!("{why} in {text:?}"));
        let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        let scheme = match url.scheme() {
            "quic" => Scheme::Quic,
            "https" => Scheme::Https,
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
            "" | "/" => signalbox_protocol::CONNECT_PATH,
            path => path,
        };
        // `Url::port` hides the scheme's default (80, 443), which is not what we default to.
        let explicit =
            ["ws", "wss", "https"].contains(&url.scheme()).then(|| explicit_port(text)).flatten();
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

    /// The addresses of the host, in the order in which to try them.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let failed = |source| ConnectError::Resolve { host: self.host.clone(), source };
        let addresses =
            tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(failed)?;
        Ok(interleave_families(addresses))
    }
}

/// Alternates the address families, beginning with that of the first address (RFC 8305 §4): a host
/// with several addresses of a family that does not work is still reached by the second attempt.
/// Within a family the resolver's order stays.
fn interleave_families(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses = addresses.into_iter().peekable();
    let first_is_v6 = addresses.peek().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) =
        addresses.partition(|address| address.is_ipv6() == first_is_v6);
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    let mut ordered = Vec::with_capacity(preferred.len() + other.len());
    while preferred.len() + other.len() > 0 {
        ordered.extend(preferred.next());
        ordered.extend(other.next());
    }
    ordered
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
        let target = GatewayUrl::parse(url).unwrap();
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
    fn address_families_take_turns() {
        let order = |addresses: &[&str]| {
            let parsed = addresses.iter().map(|it| it.parse::<SocketAddr>().unwrap());
            interleave_families(parsed).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (a, b, c) = ("[::1]:1", "[::2]:1", "[::3]:1");
        let (d, e) = ("1.1.1.1:1", "2.2.2.2:1");
        assert_eq!(order(&[a, b, c, d, e]), [a, d, b, e, c]);
        assert_eq!(order(&[d, a, b, c]), [d, a, b, c]);
        assert_eq!(order(&[d, e]), [d, e]);
        assert_eq!(order(&[a]), [a]);
        assert!(order(&[]).is_empty());
    }

    #[test]
    fn urls_of_other_kinds_are_rejected() {
        for url in ["", "localhost:4433", "http://a", "quic://", "wss://a/?token=x", "wss://u:p@a"]
        {
            assert!(matches!(GatewayUrl::parse(url), Err(ConnectError::Url(_))), "{url}");
        }
    }
}
