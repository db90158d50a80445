//! Probes: messages that a gateway sends to itself, to see that NATS delivers.

/// The first byte of a probe. Messages of gateways begin with their version, which is never 0.
const MARK: u8 = 0;

/// A probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Epoch of the sender, which tells two gateways of the same name apart.
    pub(crate) epoch: u64,
    /// Its number, from 0.
    pub(crate) number: u64,
}

impl Probe {
    pub(crate) fn encode(self) -> Vec<u8> {
        [&[MARK][..], &self.epoch.to_be_bytes(), &self.number.to_be_bytes()].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (epoch, number) = bytes.strip_prefix(&[MARK])?.split_first_chunk()?;
        let (epoch, number) = (u64::from_be_bytes(*epoch), number.try_into().ok()?);
        Some(Self { epoch, number: u64::from_be_bytes(number) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_decoded_and_nothing_else() {
        let probe = Probe { epoch: 7, number: u64::MAX };
        let bytes = probe.encode();
        assert_eq!(Probe::decode(&bytes), Some(probe));
        for end in 0..bytes.len() {
            assert_eq!(Probe::decode(&bytes[..end]), None);
        }
        assert_eq!(Probe::decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Probe::decode(&[&[1], &bytes[1..]].concat()), None);
    }
}
