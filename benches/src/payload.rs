//! What is in a benchmark's signal: when it was meant to be sent, and padding.

/// Bytes of data in every signal.
pub(crate) const BYTES: usize = 128;

/// Data that says that it was meant to be sent at `intended_ns`.
pub(crate) fn encode(intended_ns: u64) -> String {
    // Zeros in front are padding that parsing takes for granted.
    format!("{intended_ns:0>BYTES$}")
}

/// When the signal was meant to be sent; none if it is not one of ours.
pub(crate) fn decode(data: &str) -> Option<u64> {
    data.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for time in [0, 1, 1_234_567_890_123, u64::MAX] {
            let data = encode(time);
            assert_eq!(data.len(), BYTES);
            assert_eq!(decode(&data), Some(time));
        }
        assert_eq!(decode("hello"), None);
    }
}
