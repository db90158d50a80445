//! The part of a client's address that limits count: an IPv4 address, or an IPv6 prefix of 64 bits, as
//! one customer of a network has at least that many addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Bytes of an IPv6 address that count: 64 bits.
const PREFIX_BYTES: usize = 8;

/// An IPv4 address, or the first 64 bits of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AddressPrefix {
    V4(Ipv4Addr),
    V6([u8; PREFIX_BYTES]),
}

impl AddressPrefix {
    /// The address of nobody.
    pub(super) const UNSPECIFIED: Self = Self::V4(Ipv4Addr::UNSPECIFIED);
}

impl From<IpAddr> for AddressPrefix {
    fn from(address: IpAddr) -> Self {
        // A listener on `::` sees IPv4 clients by addresses such as ::ffff:192.0.2.1.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl fmt::Display for AddressPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(prefix) => {
                let mut octets = [0; 16];
                for (to, from) in octets.iter_mut().zip(prefix) {
                    *to = *from;
                }
                write!(f, "{}/64", Ipv6Addr::from(octets))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_counts_as_a_whole_and_an_ipv6_address_by_its_prefix() {
        let prefix = |text: &str| AddressPrefix::from(text.parse::<IpAddr>().unwrap());
        assert_ne!(prefix("192.0.2.1"), prefix("192.0.2.2"));
        assert_eq!(prefix("192.0.2.1"), prefix("::ffff:192.0.2.1"));
        assert_eq!(prefix("2001:db8:0:1::1"), prefix("2001:db8:0:1:ffff::2"));
        assert_ne!(prefix("2001:db8:0:1::1"), prefix("2001:db8:0:2::1"));
        assert_eq!(prefix("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(prefix("2001:db8:0:1::1").to_string(), "2001:db8:0:1::/64");
    }
}
