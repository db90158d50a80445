//! Addresses of clients behind proxies. Only proxies that the configuration names are believed, because
//! anybody can send these headers.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use crate::config::{ForwardedHeader, ProxyConfig, parse_prefix};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses of a request that are looked at, from the last. More proxies in a row are not plausible.
const MAX_FORWARDED: usize = 16;

/// The proxies that are believed, and how they name their clients.
#[derive(Debug, Clone)]
pub(crate) struct TrustedProxies {
    prefixes: Vec<IpNet>,
    header: ForwardedHeader,
    sends_proxy_header: bool,
}

impl Default for TrustedProxies {
    fn default() -> Self {
        Self::new(&ProxyConfig::default())
    }
}

impl TrustedProxies {
    /// Prefixes that cannot be read are left out; the check of the configuration has reported them.
    pub(crate) fn new(config: &ProxyConfig) -> Self {
        let prefixes = config.trusted.iter().filter_map(|text| parse_prefix(text));
        Self {
            prefixes: prefixes.collect(),
            header: config.header,
            sends_proxy_header: config.protocol,
        }
    }

    /// Whether no proxy is trusted.
    pub(crate) fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Whether this is the address of a trusted proxy.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.prefixes.iter().any(|it| it.contains(&address))
    }

    /// Whether a connection from this address begins with a PROXY protocol header.
    pub(crate) fn sends_proxy_header(&self, address: IpAddr) -> bool {
        self.sends_proxy_header && self.contains(address)
    }

    /// The address of the client of a request that a trusted proxy has sent: the last one in the header
    /// that is not itself a trusted proxy. `None` if there is none. Addresses before it are the
    /// client's own claims.
    pub(crate) fn client(&self, headers: &HeaderMap) -> Option<SocketAddr> {
        let addresses = match self.header {
            ForwardedHeader::XForwardedFor => x_forwarded_for(headers),
            ForwardedHeader::Forwarded => forwarded(headers),
        };
        // Behind one that cannot be read, nothing is believed.
        addresses.map_while(|it| it).find(|it| !self.contains(it.ip()))
    }
}

/// The elements of all headers of this name, from the last.
fn elements(
    headers: &HeaderMap,
    name: impl header::AsHeaderName,
) -> impl Iterator<Item = Option<&str>> {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    let elements = values.into_iter().rev().flat_map(|value| match value.to_str() {
        Ok(text) => text.rsplit(',').map(|it| Some(it.trim())).collect(),
        Err(_) => vec![None],
    });
    elements.take(MAX_FORWARDED)
}

fn x_forwarded_for(headers: &HeaderMap) -> Box<dyn Iterator<Item = Option<SocketAddr>> + '_> {
    Box::new(elements(headers, X_FORWARDED_FOR).map(|it| parse_address(it?)))
}

/// RFC 7239. Commas inside quotes do not occur in addresses.
fn forwarded(headers: &HeaderMap) -> Box<dyn Iterator<Item = Option<SocketAddr>> + '_> {
    let address = |element: Option<&str>| {
        let mut pairs = element?.split(';').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
        parse_address(value.trim().trim_matches('"'))
    };
    Box::new(elements(headers, header::FORWARDED).map(address))
}

/// An address with or without a port; IPv6 with or without brackets.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    address.ok().or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(header: ForwardedHeader) -> TrustedProxies {
        let trusted = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"].map(str::to_owned).to_vec();
        TrustedProxies::new(&ProxyConfig { trusted, header, ..ProxyConfig::default() })
    }

    fn client(header: ForwardedHeader, values: &[&str]) -> Option<String> {
        let name = match header {
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => header::FORWARDED,
        };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        trusted(header).client(&headers).map(|it| it.ip().to_string())
    }

    #[test]
    fn trusted_proxies_are_those_of_the_prefixes() {
        let trusted = trusted(ForwardedHeader::XForwardedFor);
        for (address, is_trusted) in [
            ("10.1.2.3", true),
            ("11.0.0.1", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("::ffff:10.0.0.1", true),
            ("2001:db8::7", true),
            ("2001:db9::7", false),
        ] {
            assert_eq!(trusted.contains(address.parse().unwrap()), is_trusted, "{address}");
        }
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_a_trusted_proxy() {
        let x = |values: &[&str]| client(ForwardedHeader::XForwardedFor, values);
        assert_eq!(x(&["203.0.113.7"]).as_deref(), Some("203.0.113.7"));
        assert_eq!(x(&["198.51.100.9, 203.0.113.7, 10.0.0.2"]).as_deref(), Some("203.0.113.7"));
        assert_eq!(x(&["198.51.100.9", "203.0.113.7"]).as_deref(), Some("203.0.113.7"));
        assert_eq!(x(&["203.0.113.7:4711"]).as_deref(), Some("203.0.113.7"));
        assert_eq!(x(&["[2001:db9::1]:4711"]).as_deref(), Some("2001:db9::1"));
        assert_eq!(x(&["2001:db9::1"]).as_deref(), Some("2001:db9::1"));
        assert_eq!(x(&["198.51.100.9, unknown, 10.0.0.2"]), None, "what precedes is a claim");
        assert_eq!(x(&["10.0.0.1"]), None);
        assert_eq!(x(&[]), None);
        let many = vec!["10.0.0.1"; 1000].join(",");
        assert_eq!(x(&[&format!("203.0.113.7,{many}")]), None);
    }

    #[test]
    fn the_standard_header_is_read_in_its_own_form() {
        let standard = |values: &[&str]| client(ForwardedHeader::Forwarded, values);
        assert_eq!(standard(&["for=203.0.113.7;proto=https"]).as_deref(), Some("203.0.113.7"));
        assert_eq!(
            standard(&["proto=https; For=\"[2001:db9::1]:80\""]).as_deref(),
            Some("2001:db9::1")
        );
        assert_eq!(standard(&["for=198.51.100.9, for=_hidden"]), None);
        assert_eq!(standard(&["proto=https"]), None);
    }
}
