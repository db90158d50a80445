//! Configuration of the proxies in front of the TCP port.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    Problem,
    setting::{Form, section},
};

/// The accepted form of a prefix, for errors and the default file.
const PREFIX: &str = "an IP address or a prefix in quotes, such as \"192.0.2.1\" or \"10.0.0.0/8\"";

section! {
    /// Proxies in front of the TCP port. The gateway believes them which client they act for, in logs
    /// and for the limits of addresses, and nobody else.
    pub struct ProxyConfig {
        /// Addresses of the proxies. Requests and connections from others are their own.
        trusted: Vec<String> = Vec::new(), Form::List {
            list: "a list of IP addresses or prefixes in quotes, such as [\"10.0.0.0/8\"]",
            item: PREFIX,
        };
        /// Request header to which each proxy appends the address of its client.
        header: ForwardedHeader = ForwardedHeader::XForwardedFor,
            Form::Text("\"x-forwarded-for\" or \"forwarded\" (RFC 7239)");
        /// Connections from the proxies begin with a header of the PROXY protocol, version 2. The
        /// request header is then not read.
        protocol: bool = false, Form::Boolean;
    }
}

/// A prefix such as `10.0.0.0/8`, or one address.
pub(crate) fn parse_prefix(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// The request header in which proxies name their clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ProxyConfig {
    /// Prefixes that are none.
    pub(super) fn check(&self) -> Vec<Problem> {
        let entries = self.trusted.iter().enumerate();
        let wrong = entries.filter(|(_, text)| parse_prefix(text).is_none());
        let problem = |(index, text): (usize, &String)| {
            let reason = format!("is {text:?}, but must be {PREFIX}");
            Problem::invalid(format!("trusted.{index}"), reason)
        };
        wrong.map(problem).collect()
    }
}
