//! Quantities on the command line: `40ms`, `2%`, `10mbit`, `256kb`.

use std::time::Duration;

use bytesize::ByteSize;

/// The longest delay that makes sense.
const MAX_DURATION: Duration = Duration::from_secs(60);

/// `250us`, `40ms`, `1.5s`: a minute at most.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration > MAX_DURATION {
        return Err(format!("{text} is more than a minute"));
    }
    Ok(duration)
}

/// `2%`, as 0.02: 100 % at most.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("{text:?} is not a share from 0% to 100%"))
}

/// `64kbit`, `10mbit`, `1gbit`: bits per second, in powers of 1000.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let bits = lower.strip_suffix("bit").and_then(|number| number.parse::<ByteSize>().ok());
    bits.map(|bits| bits.as_u64())
        .filter(|bits| *bits >= 1000)
        .ok_or_else(|| format!("{text:?} is not a rate of at least 1kbit, such as 10mbit"))
}

/// `1500b`, `256kb`, `1mb`: bytes, in powers of 1000.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>().map(|size| size.as_u64())
}

/// Packets: 1 at least.
pub(crate) fn burst(text: &str) -> Result<f64, String> {
    let length = text.parse::<f64>().ok().filter(|length| (1.0..=1e6).contains(length));
    length.ok_or_else(|| format!("{text:?} is not a number of packets from 1 to a million"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_forms() {
        assert_eq!(duration("40ms"), Ok(Duration::from_millis(40)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(share("2%"), Ok(0.02));
        assert_eq!(share("0.5 %"), Ok(0.005));
        assert_eq!(rate("10mbit"), Ok(10_000_000));
        assert_eq!(rate("64kbit"), Ok(64_000));
        assert_eq!(rate("1Gbit"), Ok(1_000_000_000));
        assert_eq!(size("256kb"), Ok(256_000));
        assert_eq!(size("1500B"), Ok(1500));
        assert_eq!(burst("2.5"), Ok(2.5));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        for (error, part) in [
            (duration("40").unwrap_err(), "unit"),
            (duration("ms").unwrap_err(), "number"),
            (duration("61s").unwrap_err(), "minute"),
            (duration("-1s").unwrap_err(), "number"),
            (share("2").unwrap_err(), "%"),
            (share("101%").unwrap_err(), "100%"),
            (share("-1%").unwrap_err(), "0%"),
            (rate("1bit").unwrap_err(), "10mbit"),
            (rate("0kbit").unwrap_err(), "1kbit"),
            (size("1x").unwrap_err(), "x"),
            (burst("0.5").unwrap_err(), "from 1"),
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
