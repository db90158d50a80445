//! The data of a benchmark's signal: the time at which it was due, and padding.

/// Bytes of data in every signal.
pub const BYTES: usize = 128;

/// Position of the time.
const TIME: usize = BYTES - 20;

/// Marks the signals of quiet senders among hot ones.
const QUIET: char = 'q';

/// Data of a signal that is due at `due_ns`.
pub fn encode(due_ns: u64) -> String {
    format!("{due_ns:0>BYTES$}")
}

/// The same of a quiet sender.
pub fn encode_quiet(due_ns: u64) -> String {
    format!("{QUIET:0<TIME$}{due_ns:0>20}")
}

/// The due time of the signal; `None` if it is not one of ours.
pub fn decode(data: &str) -> Option<u64> {
    // Only padding comes before the time.
    data.get(TIME..).filter(|time| data.len() == BYTES && !time.starts_with('+'))?.parse().ok()
}

/// Whether its sender is a quiet one.
pub fn is_quiet(data: &str) -> bool {
    data.starts_with(QUIET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_times_are_decoded() {
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
