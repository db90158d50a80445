//! Line charts: distributions, and figures over time.

use super::{LINE, Scale, Svg, WIDTH, class, empty};

/// Margins for the numbers of the axes.
const LEFT: f64 = 48.0;
const RIGHT: f64 = 18.0;
const BELOW: f64 = 40.0;

/// With more points than that, a line needs no markers to be seen.
const MARKED: usize = 24;

/// Width of a digit on the lower axis, and the least distance of two numbers.
const DIGIT: f64 = 6.2;
const GAP: f64 = 6.0;

/// A name and a scale.
pub(crate) struct Axis {
    /// The quantity and its unit.
    pub(crate) label: String,
    pub(crate) scale: Scale,
}

/// One line, perhaps in several parts, perhaps in a band.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    name: String,
    style: usize,
    parts: Vec<Vec<(f64, f64)>>,
    /// Position, from, to.
    band: Vec<(f64, f64, f64)>,
}

impl Series {
    pub(crate) fn new(name: &str, style: usize, parts: Vec<Vec<(f64, f64)>>) -> Self {
        let finite = |part: Vec<(f64, f64)>| {
            part.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
        };
        let parts = parts.into_iter().map(finite).collect();
        Self { name: name.to_owned(), style, parts, band: Vec::new() }
    }

    /// The band around the line: position, from, to.
    pub(crate) fn band(mut self, band: Vec<(f64, f64, f64)>) -> Self {
        let is_finite = |it: &(f64, f64, f64)| [it.0, it.1, it.2].iter().all(|it| it.is_finite());
        self.band = band.into_iter().filter(is_finite).collect();
        self
    }
}

/// A chart of lines.
pub(crate) struct Lines {
    title: String,
    description: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
    height: f64,
}

impl Lines {
    pub(crate) fn new(
        title: &str,
        description: &str,
        x: Axis,
        y: Axis,
        series: Vec<Series>,
    ) -> Self {
        let (title, description) = (title.to_owned(), description.to_owned());
        Self { title, description, x, y, series, height: 210.0 }
    }

    /// Lower, for one of several charts that belong together.
    pub(crate) fn low(mut self) -> Self {
        self.height = 110.0;
        self
    }

    pub(crate) fn svg(&self) -> String {
        if self.series.iter().all(|it| it.parts.iter().all(Vec::is_empty)) {
            return empty(&self.title, &self.description);
        }
        let mut svg = Svg::new();
        let mut top = self.legend(&mut svg);
        svg.text("label", (0.0, top + 12.0), &self.y.label);
        top += 22.0;
        let place = |x: f64, y: f64| {
            let right = LEFT + self.x.scale.part(x) * (WIDTH - LEFT - RIGHT);
            (right, top + (1.0 - self.y.scale.part(y)) * self.height)
        };
        self.grid(&mut svg, top);
        for series in &self.series {
            let upper = series.band.iter().map(|(x, _, to)| place(*x, *to));
            let lower = series.band.iter().rev().map(|(x, from, _)| place(*x, *from));
            svg.path(&class("band", series.style), upper.chain(lower), true);
        }
        for series in &self.series {
            let marked = series.parts.iter().map(Vec::len).sum::<usize>() <= MARKED;
            for part in &series.parts {
                let points = || part.iter().map(|(x, y)| place(*x, *y));
                svg.path(&class("line", series.style), points(), false);
                if marked || part.len() == 1 {
                    points().for_each(|point| svg.marker(series.style, point));
                }
            }
        }
        svg.finish(&self.title, &self.description, top + self.height + BELOW)
    }

    /// The legend, a line of text for each series. Returns its height.
    fn legend(&self, svg: &mut Svg) -> f64 {
        for (series, row) in self.series.iter().zip(0u32..) {
            let y = f64::from(row) * LINE + 8.0;
            svg.line(&class("line", series.style), (0.0, y), (30.0, y));
            svg.marker(series.style, (15.0, y));
            svg.text("name", (38.0, y + 4.0), &series.name);
        }
        self.series.len() as f64 * LINE + 4.0
    }

    fn grid(&self, svg: &mut Svg, top: f64) {
        let (right, bottom) = (WIDTH - RIGHT, top + self.height);
        // Numbers that would touch are left out; the ticks of a logarithmic axis are the nearest.
        let step = 13.0 / self.height;
        let mut last = f64::NEG_INFINITY;
        for (value, text) in &self.y.scale.ticks {
            let part = self.y.scale.part(*value);
            let y = bottom - part * self.height;
            svg.line("grid", (LEFT, y), (right, y));
            if part - last >= step {
                svg.text("tick end", (LEFT - 6.0, y + 4.0), text);
                last = part;
            }
        }
        let mut free = 0.0;
        for (value, text) in &self.x.scale.ticks {
            let x = LEFT + self.x.scale.part(*value) * (right - LEFT);
            let half = text.chars().count() as f64 * DIGIT / 2.0;
            svg.line("grid", (x, top), (x, bottom + 4.0));
            if x - half >= free {
                svg.text("tick middle", (x, bottom + 17.0), text);
                free = x + half + GAP;
            }
        }
        svg.line("axis", (LEFT, bottom), (right, bottom));
        svg.text("label middle", (f64::midpoint(LEFT, right), bottom + 34.0), &self.x.label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(series: Vec<Series>) -> String {
        let axis =
            |label: &str| Axis { label: label.into(), scale: Scale::linear([10.0].into_iter()) };
        Lines::new("Title", "Words", axis("x axis"), axis("µs"), series).svg()
    }

    #[test]
    fn a_line_has_a_name_a_style_and_a_unit() {
        let svg = chart(vec![Series::new("QUIC", 3, vec![vec![(0.0, 0.0), (10.0, 10.0)]])]);
        for part in ["QUIC", "line s3", "mark s3", "x axis", "µs"] {
            assert!(svg.contains(part), "no {part} in {svg}");
        }
        // From the lower left to the upper right.
        assert!(svg.contains(r#"d="M48 252L402 42""#), "{svg}");
    }

    #[test]
    fn a_line_in_parts_is_not_joined() {
        let points = vec![(0.0, 1.0), (1.0, 2.0)];
        let svg = chart(vec![Series::new("a", 0, vec![points.clone(), points])]);
        assert_eq!(svg.matches(r#"<path class="line"#).count(), 2, "{svg}");
    }

    #[test]
    fn a_band_is_an_area() {
        let series = Series::new("a", 1, vec![vec![(0.0, 5.0)]]);
        let svg = chart(vec![series.band(vec![(0.0, 4.0, 6.0), (10.0, 4.0, f64::NAN)])]);
        assert!(svg.contains("band s1") && svg.contains('Z'), "{svg}");
        assert!(!svg.contains("NaN"), "{svg}");
    }
}
