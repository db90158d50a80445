//! What is in a benchmark's signal: when it was meant to be sent, and padding.

/// Bytes of data in every signal.
pub(crate) const BYTES: usize = 128;

/// Where the time is.
const TIME: usize = BYTES - 20;

/// The mark of a signal whose sender is quiet among others that are not.
const QUIET: char = 'q';

/// Data that says that it was meant to be sent at `intended_ns`.
pub(crate) fn encode(intended_ns: u64) -> String {
    format!("{intended_ns:0>BYTES$}")
}

/// The same of a quiet sender.
pub(crate) fn encode_quiet(intended_ns: u64) -> String {
    format!("{QUIET:0<TIME$}{intended_ns:0>20}")
}

/// When the signal was meant to be sent; none if it is not one of ours.
pub(crate) fn decode(data: &str) -> Option<u64> {
    // Nothing but padding is in front of the time.
    data.get(TIME..).filter(|time| data.len() == BYTES && !time.starts_with('+'))?.parse().ok()
}

/// Whether its sender is a quiet one.
pub(crate) fn is_quiet(data: &str) -> bool {
    data.starts_with(QUIET)
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
            assert!(!is_quiet(&data));
            let data = encode_quiet(time);
            assert_eq!(data.len(), BYTES);
            assert_eq!(decode(&data), Some(time));
            assert!(is_quiet(&data));
        }
        assert_eq!(decode("hello"), None);
    }
}
