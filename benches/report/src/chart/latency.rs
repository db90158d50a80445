//! Charts of latency: its distribution, and its course over time.

use super::{Axis, Chart, Lines, Palette, Scale, Series, number};
use crate::{QuantilePoint, Spread, Table, TimeSlice};

/// Longer latencies are shown in milliseconds.
const IN_MS: f64 = 10_000.0;

/// Length of the only slice of a measurement, in seconds: none is shorter.
const SINGLE_SLICE_S: f64 = 0.25;

/// The rounds of one row.
#[derive(Debug)]
pub struct NamedRounds<'a, T> {
    /// The row.
    pub name: String,
    /// Its measurements.
    pub rounds: Vec<&'a [T]>,
}

/// A unit, and how many microseconds it has.
fn unit(us: impl Iterator<Item = f64>) -> (&'static str, f64) {
    if us.fold(0.0, f64::max) >= IN_MS { ("ms", 1000.0) } else { ("µs", 1.0) }
}

impl Chart {
    /// Latency by percentile, a line for each row: the median of its rounds, in a band between the
    /// lowest and the highest. `None` if there is no distribution.
    pub fn percentiles(
        title: &str,
        palette: &Palette,
        rows: &[NamedRounds<'_, QuantilePoint>],
    ) -> Option<Self> {
        percentiles(title, palette, rows)
    }

    /// Median and p99 of each time slice, one round after the other; a chart for each row, all with
    /// the same axis.
    pub fn timelines(title: &str, rows: &[NamedRounds<'_, TimeSlice>]) -> Vec<Self> {
        let slices = || {
            let all = rows.iter().flat_map(|it| it.rounds.iter().copied().flatten());
            all.filter(|it| it.deliveries > 0)
        };
        let (unit, factor) = unit(slices().map(|it| it.p99_us));
        let values = slices().flat_map(|it| [it.p50_us, it.p99_us]).map(|it| it / factor);
        let y = Scale::fitting(values.collect::<Vec<_>>().into_iter());
        let with_any = rows.iter().filter(|it| it.rounds.iter().any(|it| !it.is_empty()));
        with_any.map(|row| timeline(title, row, unit, factor, &y)).collect()
    }
}

fn percentiles(
    title: &str,
    palette: &Palette,
    rows: &[NamedRounds<'_, QuantilePoint>],
) -> Option<Chart> {
    let points = || rows.iter().flat_map(|it| it.rounds.iter().copied().flatten());
    points().next()?;
    let (unit, factor) = unit(points().map(|it| it.us));
    let curves: Vec<_> = rows.iter().map(|row| median_curve(&row.rounds, factor)).collect();
    let values = curves.iter().flatten().flat_map(|(_, it)| [it.min, it.max]);
    let y = Axis { label: format!("latency, {unit}"), scale: Scale::fitting(values) };
    let quantiles = || curves.iter().flatten().map(|(quantile, _)| *quantile);
    let x = Axis {
        label: "share of all signals that took at most so long".into(),
        scale: Scale::nines(quantiles()),
    };
    let series = rows.iter().zip(&curves).map(|(row, curve)| {
        let line = curve.iter().map(|(quantile, it)| (*quantile, it.median)).collect();
        let band = curve.iter().map(|(quantile, it)| (*quantile, it.min, it.max)).collect();
        Series::new(&row.name, palette.style(&row.name), vec![line]).band(band)
    });
    let description = "Latency over the share of all signals that took at most so long, from the \
                       fastest to the slowest; a line for each row of the table, in a band between \
                       its lowest and its highest round.";
    let svg = Lines::new(title, description, x, y, series.collect()).svg();
    let mut all: Vec<_> = quantiles().collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    let names = rows.iter().map(|it| it.name.clone());
    let mut data = Table::new(title, [format!("latency, {unit}")].into_iter().chain(names));
    for quantile in all {
        let cells = curves.iter().map(|curve| {
            let found = curve.iter().find(|it| it.0 == quantile);
            found.map(|(_, it)| it.text(digits(it.median))).unwrap_or_default()
        });
        data.row([share(quantile)].into_iter().chain(cells));
    }
    Some(Chart { title: title.to_owned(), svg, data: Some(data) })
}

fn digits(value: f64) -> usize {
    if value >= 100.0 { 0 } else { 1 }
}

fn share(quantile: f64) -> String {
    match quantile {
        0.0 => "min".into(),
        1.0 => "max".into(),
        _ => format!("{} %", (quantile * 1e7).round() / 1e5),
    }
}

/// The points that all rounds have.
fn median_curve(rounds: &[&[QuantilePoint]], factor: f64) -> Vec<(f64, Spread)> {
    let Some((first, _)) = rounds.split_first() else { return Vec::new() };
    let at = |quantile: f64| -> Option<Vec<f64>> {
        let found = |it: &&[QuantilePoint]| {
            it.iter().find(|it| it.quantile == quantile).map(|it| it.us / factor)
        };
        rounds.iter().map(found).collect()
    };
    let points = first.iter().map(|it| it.quantile);
    points.filter_map(|it| Some((it, Spread::of(at(it)?)))).collect()
}

fn timeline(
    title: &str,
    row: &NamedRounds<'_, TimeSlice>,
    unit: &str,
    factor: f64,
    y: &Scale,
) -> Chart {
    let title = format!("{title}: {}", row.name);
    let latency = |figure: &str| format!("{figure} {unit}");
    let head = ["round, second".into(), "signals received".into()];
    let head = head.into_iter().chain(["p50", "p99", "max"].map(latency));
    let mut data = Table::new(&title, head);
    let (mut p50, mut p99, mut begin_s) = (Vec::new(), Vec::new(), 0.0);
    for (slices, round) in row.rounds.iter().copied().zip(1..) {
        let length_s = match slices {
            [one, next, ..] => next.at_s - one.at_s,
            _ => SINGLE_SLICE_S,
        };
        let any = || slices.iter().filter(|it| it.deliveries > 0);
        let middle = |it: &TimeSlice| begin_s + it.at_s + length_s / 2.0;
        p50.push(any().map(|it| (middle(it), it.p50_us / factor)).collect());
        p99.push(any().map(|it| (middle(it), it.p99_us / factor)).collect());
        for it in any() {
            let latency = |us: f64| number(us / factor);
            data.row([
                format!("{round}, {:.2}", it.at_s),
                it.deliveries.to_string(),
                latency(it.p50_us),
                latency(it.p99_us),
                latency(it.max_us),
            ]);
        }
        // A gap of one slice sets the rounds apart.
        begin_s += (slices.len() + 1) as f64 * length_s;
    }
    let x = Axis {
        label: "seconds of measurement, one round after the other".into(),
        scale: Scale::until(begin_s),
    };
    let y = Axis { label: format!("latency, {unit}"), scale: y.clone() };
    let series = vec![Series::new("p99", 1, p99), Series::new("p50", 0, p50)];
    let description = "Latency over time: half, and 99 %, of the signals that were due in each part \
                       of a round took at most so long. Rounds stand one after the other.";
    let svg = Lines::new(&title, description, x, y, series).low().svg();
    Chart { title, svg, data: Some(data) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn palette() -> Palette {
        Palette::of(["a".to_owned()])
    }

    fn points(us: [f64; 3]) -> Vec<QuantilePoint> {
        let quantiles = [0.0, 0.5, 1.0].into_iter();
        quantiles.zip(us).map(|(quantile, us)| QuantilePoint { quantile, us }).collect()
    }

    #[test]
    fn a_curve_is_the_median_of_its_rounds() {
        let [one, two, mut three] = [[1.0, 2.0, 9.0], [3.0, 4.0, 5.0], [2.0, 9.0, 7.0]].map(points);
        // A point that one round lacks is left out.
        three.remove(1);
        let curve = median_curve(&[&one, &two, &three], 1.0);
        let curve: Vec<_> = curve.iter().map(|(at, it)| (*at, it.min, it.median, it.max)).collect();
        assert_eq!(curve, [(0.0, 1.0, 2.0, 3.0), (1.0, 5.0, 7.0, 9.0)]);
    }

    #[test]
    fn long_latencies_are_shown_in_milliseconds() {
        let slow = points([1e3, 2e4, 3e5]);
        let rows = [NamedRounds { name: "a".into(), rounds: vec![slow.as_slice()] }];
        let chart = Chart::percentiles("Latency", &palette(), &rows).unwrap();
        assert!(chart.svg.contains("latency, ms"), "{}", chart.svg);
        assert!(chart.svg.contains(">50 %<"), "{}", chart.svg);
        let data = chart.data.unwrap();
        assert_eq!(data.head, ["latency, ms", "a"]);
        assert_eq!(data.rows, [["min", "1.0"], ["50 %", "20.0"], ["max", "300"]]);
        let none = [NamedRounds { name: "a".into(), rounds: vec![&[][..]] }];
        assert!(Chart::percentiles("Latency", &palette(), &none).is_none());
    }

    #[test]
    fn rounds_stand_one_after_the_other() {
        let slice = |at_s| TimeSlice { at_s, deliveries: 9, p50_us: 1.0, p99_us: 2.0, max_us: 3.0 };
        let empty = TimeSlice { deliveries: 0, ..slice(1.0) };
        let (one, two) = (vec![slice(0.0), slice(0.5), empty], vec![slice(0.0), slice(0.5)]);
        let rows = [NamedRounds { name: "a".into(), rounds: vec![&one[..], &two[..]] }];
        let charts = Chart::timelines("Over time", &rows);
        assert_eq!(charts.len(), 1);
        assert_eq!(charts[0].svg.matches("<path class=\"line").count(), 4);
        let lines = charts[0].svg.split("<path class=\"line s1\" d=\"M").skip(1);
        let begins: Vec<f64> = lines.filter_map(|it| it.split(' ').next()?.parse().ok()).collect();
        assert!(begins.len() == 2 && begins[0] < begins[1], "{begins:?}");
        assert_eq!(charts[0].data.as_ref().unwrap().rows.len(), 4);
    }
}
