//! Quantities as people write them: `40ms`, `2%`, `10mbit`, `256kb`.

use std::time::Duration;

/// The number in front of the unit, and the unit in lower case.
fn split(text: &str) -> Result<(f64, String), String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number.parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    Ok((number, unit.trim().to_ascii_lowercase()))
}

fn scaled(text: &str, units: &[(&str, f64)]) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    let scale = units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| scale);
    scale.map(|scale| number * scale).ok_or_else(|| {
        let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
        format!("{text:?} needs one of these units: {}", names.join(", "))
    })
}

/// `250us`, `40ms`, `1.5s`; a minute at most.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let seconds = scaled(text, &[("us", 1e-6), ("ms", 1e-3), ("s", 1.0)])?;
    if seconds > 60.0 {
        return Err(format!("{text:?} is more than a minute"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// `2%`, as 0.02; 100 % at most.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share = scaled(text, &[("%", 0.01)])?;
    if share > 1.0 {
        return Err(format!("{text:?} is more than everything"));
    }
    Ok(share)
}

/// `64kbit`, `10mbit`, `1gbit`: bits per second, of a thousand each; no less than 1 kbit.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let bits = scaled(text, &[("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)])?;
    if bits < 1e3 {
        return Err(format!("{text:?} is less than 1kbit"));
    }
    Ok(bits as u64)
}

/// `1500b`, `256kb`, `1mb`: bytes, by the thousand.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    Ok(scaled(text, &[("b", 1.0), ("kb", 1e3), ("mb", 1e6)])? as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        assert_eq!(duration("40ms"), Ok(Duration::from_millis(40)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(share("2%"), Ok(0.02));
        assert_eq!(share("0.5 %"), Ok(0.005));
        assert_eq!(rate("10mbit"), Ok(10_000_000));
        assert_eq!(size("256kb"), Ok(256_000));
        assert_eq!(size("1500B"), Ok(1500));
    }

    #[test]
    fn what_is_refused_is_said() {
        for (error, about) in [
            (duration("40").unwrap_err(), "us, ms, s"),
            (duration("ms").unwrap_err(), "number"),
            (duration("61s").unwrap_err(), "minute"),
            (duration("-1s").unwrap_err(), "number"),
            (share("2").unwrap_err(), "%"),
            (share("101%").unwrap_err(), "everything"),
            (rate("1bit").unwrap_err(), "kbit, mbit"),
            (rate("0kbit").unwrap_err(), "1kbit"),
            (size("1gb").unwrap_err(), "b, kb, mb"),
        ] {
            assert!(error.contains(about), "{error}");
        }
    }
}
