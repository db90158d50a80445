//! Positions of values on an axis, and its ticks.

/// An axis is logarithmic from this ratio of the greatest to the least value; below it, all values
/// are visible on an axis from zero.
const WIDE: f64 = 20.0;

/// Intervals between the ticks of a linear axis, at most.
const INTERVALS: f64 = 5.0;

/// With more decades, an axis has one tick for each instead of three.
const MANY_DECADES: i32 = 3;

/// Limits of every axis: greater values are drawn at its end.
const LIMITS: (f64, f64) = (1e-6, 1e15);

/// Percentiles that are written on their axis, which begins at the least value.
const NINES: [(f64, &str); 6] = [
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
];

/// Room for the greatest value beyond the last percentile, in nines.
const BEYOND: f64 = 0.4;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Linear,
    Log,
    /// Each nine more has the same width: 90 %, 99 %, 99.9 % …
    Nines,
}

/// An axis' range and ticks.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    kind: Kind,
    /// The range: logarithms, if the axis is logarithmic.
    from: f64,
    to: f64,
    pub(super) ticks: Vec<(f64, String)>,
}

impl Scale {
    /// A scale from zero, or a logarithmic one if the values differ too much for that.
    pub(crate) fn fitting(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (least, greatest) = range(values.clone());
        if least > 0.0 && greatest / least > WIDE {
            Self::log(least, greatest)
        } else {
            Self::linear(values)
        }
    }

    /// A scale from zero to a round number.
    pub(crate) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let (_, greatest) = range(values);
        let step = round_up(greatest / INTERVALS);
        let to = (greatest / step).ceil().max(1.0) * step;
        let count = (to / step).round() as u32;
        let tick = |index| {
            let value = f64::from(index) * step;
            (value, number(value))
        };
        Self { kind: Kind::Linear, from: 0.0, to, ticks: (0..=count).map(tick).collect() }
    }

    /// A scale from zero to exactly the greatest value, for time.
    pub(crate) fn until(end: f64) -> Self {
        let mut scale = Self::linear([end].into_iter());
        let end = if end.is_finite() && end > 0.0 { end } else { scale.to };
        scale.to = end;
        scale.ticks.retain(|(value, _)| *value <= end * 1.001);
        scale
    }

    fn log(least: f64, greatest: f64) -> Self {
        let least = least.max(LIMITS.0);
        let (from, to) = (round_down(least), round_up(greatest.max(least * 10.0)));
        let decades = (from.log10().floor() as i32)..=(to.log10().ceil() as i32);
        let many = decades.end() - decades.start() > MANY_DECADES;
        let factors: &[f64] = if many { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let ticks = decades
            .flat_map(|exponent| factors.iter().map(move |factor| factor * 10f64.powi(exponent)));
        // A little room for rounding, so that the ends are among them.
        let inside = ticks.filter(|it| (from * 0.999..=to * 1.001).contains(it));
        let ticks = inside.map(|it| (it, number(it))).collect();
        Self { kind: Kind::Log, from: from.log10(), to: to.log10(), ticks }
    }

    /// For shares of all, from 0 to 1: as many nines as the shares below 1 have.
    pub(crate) fn nines(shares: impl Iterator<Item = f64>) -> Self {
        let (_, last) = range(shares.filter(|it| *it < 1.0));
        let to = nines(last.min(0.999_999)).max(1.0) + BEYOND;
        let written = NINES.into_iter().filter(|(share, _)| nines(*share) <= to - BEYOND + 1e-9);
        let written = written.chain([(1.0, "max")]);
        let ticks = written.map(|(share, text)| (share, text.to_owned())).collect();
        Self { kind: Kind::Nines, from: 0.0, to, ticks }
    }

    /// Position of a value, from 0 to 1.
    pub(super) fn part(&self, value: f64) -> f64 {
        let on_paper = match self.kind {
            Kind::Linear => value,
            Kind::Log => value.max(LIMITS.0).log10(),
            Kind::Nines if value >= 1.0 => self.to,
            Kind::Nines => nines(value),
        };
        let part = (on_paper - self.from) / (self.to - self.from);
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// The least and the greatest of those that are finite and not negative; zeros if there are none.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let values = values.filter(|it| it.is_finite() && *it >= 0.0).map(|it| it.min(LIMITS.1));
    values
        .fold(None, |range: Option<(f64, f64)>, it| {
            Some(range.map_or((it, it), |(least, greatest)| (least.min(it), greatest.max(it))))
        })
        .unwrap_or_default()
}

/// 0.9 has one, 0.99 has two; a half has a third of one.
fn nines(share: f64) -> f64 {
    -(1.0 - share.clamp(0.0, 0.999_999_9)).log10()
}

/// The next of 1, 2, 5, 10, 20 … that is not less; 1 for zero.
fn round_up(value: f64) -> f64 {
    round(value, |candidate| candidate >= value * 0.999_999)
}

/// The last of them that is not more.
fn round_down(value: f64) -> f64 {
    let up = round_up(value);
    let below = |factor: f64| round(up / factor, |candidate| candidate >= up / factor * 0.999_999);
    if up > value * 1.000_001 { below(2.5).min(below(2.0)) } else { up }
}

fn round(value: f64, is_enough: impl Fn(f64) -> bool) -> f64 {
    if value.is_nan() || value <= LIMITS.0 {
        return if value > 0.0 { LIMITS.0 } else { 1.0 };
    }
    let decade = 10f64.powi(value.log10().floor() as i32);
    [1.0, 2.0, 5.0, 10.0]
        .map(|it| it * decade)
        .into_iter()
        .find(|it| is_enough(*it))
        .unwrap_or(decade * 10.0)
}

/// A value with about three significant digits.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        it if it >= 100.0 || it.fract() == 0.0 => 0,
        it if it >= 10.0 => 1,
        it if it >= 0.1 => 2,
        it if it >= 0.01 => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|it| it.1.as_str()).collect()
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_ends_at_a_round_number() {
        let scale = Scale::fitting([120.0, 940.0].into_iter());
        assert_eq!(written(&scale), ["0", "200", "400", "600", "800", "1000"]);
        assert_eq!([0.0, 500.0, 1000.0, 2000.0].map(|it| scale.part(it)), [0.0, 0.5, 1.0, 1.0]);
        assert_eq!(written(&Scale::linear([0.3].into_iter())), ["0", "0.1", "0.2", "0.3"]);
        assert_eq!(written(&Scale::until(9.5)), ["0", "2", "4", "6", "8"]);
        assert_eq!(Scale::until(9.5).part(9.5), 1.0);
    }

    #[test]
    fn values_that_are_wide_apart_are_logarithms() {
        let scale = Scale::fitting([150.0, 15_000.0].into_iter());
        assert_eq!(
            written(&scale),
            ["100", "200", "500", "1000", "2000", "5000", "10000", "20000"]
        );
        assert_eq!((scale.part(100.0), scale.part(20_000.0)), (0.0, 1.0));
        assert!(scale.part(1000.0) > 0.4 && scale.part(1000.0) < 0.5);
        assert_eq!(written(&Scale::fitting([1.0, 1e6].into_iter())).len(), 7);
    }

    #[test]
    fn each_nine_has_the_same_width() {
        let scale = Scale::nines([0.0, 0.5, 0.9, 0.99, 0.999, 1.0].into_iter());
        assert_eq!(written(&scale), ["50 %", "90 %", "99 %", "99.9 %", "max"]);
        let [one, two, three, all] = [0.9, 0.99, 0.999, 1.0].map(|it| scale.part(it));
        assert!(((two - one) - (three - two)).abs() < 1e-9);
        assert!((two - 2.0 * one).abs() < 1e-9 && three < all);
        assert_eq!(all, 1.0);
    }

    #[test]
    fn round_numbers() {
        for (value, up, down) in
            [(1.0, 1.0, 1.0), (1.1, 2.0, 1.0), (3.0, 5.0, 2.0), (70.0, 100.0, 50.0)]
        {
            assert!((round_up(value) - up).abs() < 1e-9, "{value}");
            assert!((round_down(value) - down).abs() < 1e-9, "{value}: {}", round_down(value));
        }
        assert_eq!(round_up(0.0), 1.0);
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.1, 0.25, 1.0, 12.34, 123.4, 2000.0, 0.012].map(number);
        assert_eq!(texts, ["0", "0.1", "0.25", "1", "12.3", "123", "2000", "0.012"]);
    }
}
