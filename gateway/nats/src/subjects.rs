//! The NATS subjects of a cluster.

use signalbox_cluster::Address;
use signalbox_protocol::GatewayId;

/// The subjects of one namespace, as one gateway uses them.
#[derive(Debug, Clone)]
pub(crate) struct Subjects {
    namespace: String,
    /// Subject of all gateways.
    pub(crate) all: String,
    /// Subject of this gateway.
    pub(crate) own: String,
    /// A subject beside those of the gateways, to which nobody subscribes. Publishing to it shows
    /// whether the account may publish to any gateway.
    pub(crate) nobody: String,
}

impl Subjects {
    pub(crate) fn new(namespace: &str, gateway: &GatewayId) -> Self {
        Self {
            namespace: namespace.to_owned(),
            all: format!("{namespace}.all"),
            own: of_gateway(namespace, gateway),
            // No encoded name ends with "_".
            nobody: format!("{namespace}.gw._"),
        }
    }

    /// The subject of an address.
    pub(crate) fn of(&self, address: &Address) -> String {
        match address {
            Address::All => self.all.clone(),
            Address::Gateway(gateway) => of_gateway(&self.namespace, gateway),
        }
    }
}

fn of_gateway(namespace: &str, gateway: &GatewayId) -> String {
    let mut subject = format!("{namespace}.gw.");
    // `.`, `*`, `>` and spaces have a meaning in subjects. "_" introduces an encoded byte.
    for byte in gateway.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            subject.push(char::from(byte));
        } else {
            subject.push_str(&format!("_{byte:02X}"));
        }
    }
    subject
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn subjects(name: &str) -> Subjects {
        Subjects::new("ns", &name.parse().unwrap())
    }

    #[test]
    fn every_name_has_a_subject_of_its_own_with_three_tokens() {
        let names = ["a", "a.b", "a_b", "a_2Eb", "a-b", "A", ".", "..", "_", "all", "gw", "a.gw.b"];
        let mut seen = HashSet::from([subjects("a").all, subjects("a").nobody]);
        for name in names {
            let own = subjects(name).own;
            assert!(own.starts_with("ns.gw."), "{own}");
            assert_eq!(own.split('.').count(), 3, "{own}");
            assert!(own.split('.').all(|token| !token.is_empty()), "{own}");
            assert!(!own.contains(['*', '>', ' ']), "{own}");
            assert!(seen.insert(own), "{name}");
        }
        assert_eq!(subjects("a.b_c-1").own, "ns.gw.a_2Eb_5Fc-1");
    }

    #[test]
    fn an_address_leads_to_the_subject_that_its_gateway_uses() {
        let (a, b) = (subjects("a"), subjects("b.c"));
        assert_eq!(a.of(&Address::Gateway("b.c".parse().unwrap())), b.own);
        assert_eq!(a.of(&Address::All), b.all);
    }
}
