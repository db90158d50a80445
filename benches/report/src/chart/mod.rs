//! Charts as SVG, for a page that loads nothing from elsewhere.
//!
//! Drawn here, not by a crate. plotters, the candidate, writes colours and fonts into every shape,
//! so that one drawing could not follow the reader's light or dark mode and the print style; it has
//! no classes, no titles for screen readers and no axis of nines. These charts are a string of SVG
//! to be put into HTML. Their look is the page's stylesheet's: a series has a style, a number, and
//! so a class (`s0`, `s1` …) with a colour and a dash. Marker and dash tell series apart as well as
//! the colour. Values that are not finite are left out, and a chart without any value says so.

mod bars;
mod dots;
mod figure;
mod latency;
mod lines;
mod scale;

use std::fmt::Write as _;

use signalbox_protocol::Printable;

use self::{
    bars::{Bar, Bars, Group},
    dots::{Dots, Strip},
    lines::{Axis, Lines, Series},
    scale::Scale,
};
pub use self::{
    figure::{BarGroup, Chart, Palette},
    latency::NamedRounds,
    scale::number,
};

/// Width of every chart in its own units; text has 12 of them. The page scales it to its column.
const WIDTH: f64 = 420.0;

/// Distance between two lines of text.
const LINE: f64 = 16.0;

/// Colours, each with a marker and a dash of its own. Series beyond these repeat them with thin
/// lines and open markers; beyond that, styles repeat.
const STYLES: usize = 8;

/// Text for SVG. Invisible characters are written as escapes: they may not be valid in XML, or may
/// change the direction of the text after them.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in Printable(text).to_string().chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// A drawing that grows.
struct Svg {
    body: String,
}

impl Svg {
    fn new() -> Self {
        Self { body: String::new() }
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(at);
        let _ =
            write!(self.body, r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#);
    }

    fn rect(&mut self, class: &str, from: (f64, f64), size: (f64, f64)) {
        let [x, y] = [from.0, from.1].map(at);
        let [width, height] = [size.0, size.1].map(|it| at(it.max(0.0)));
        let _ = write!(
            self.body,
            r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}"/>"#
        );
    }

    /// `class` decides where its anchor is, too: `middle`, `end`, or at its start.
    fn text(&mut self, class: &str, at_point: (f64, f64), text: &str) {
        let [x, y] = [at_point.0, at_point.1].map(at);
        let text = escape(text);
        let _ = write!(self.body, r#"<text class="{class}" x="{x}" y="{y}">{text}</text>"#);
    }

    /// Through these points, in their order; closed if it is an area.
    fn path(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>, closed: bool) {
        let mut way = String::new();
        for (x, y) in points {
            let command = if way.is_empty() { 'M' } else { 'L' };
            let _ = write!(way, "{command}{} {}", at(x), at(y));
        }
        if way.is_empty() {
            return;
        }
        let close = if closed { "Z" } else { "" };
        let _ = write!(self.body, r#"<path class="{class}" d="{way}{close}"/>"#);
    }

    /// The sign of a style, about 7 units wide.
    fn marker(&mut self, style: usize, (x, y): (f64, f64)) {
        let shape: &[(f64, f64)] = match style % STYLES {
            1 => &[(-3.0, -3.0), (3.0, -3.0), (3.0, 3.0), (-3.0, 3.0)],
            2 => &[(0.0, -4.0), (4.0, 3.0), (-4.0, 3.0)],
            3 => &[(0.0, -4.2), (4.2, 0.0), (0.0, 4.2), (-4.2, 0.0)],
            4 => &[(0.0, 4.0), (4.0, -3.0), (-4.0, -3.0)],
            5 => &[(-4.0, -1.6), (4.0, -1.6), (4.0, 1.6), (-4.0, 1.6)],
            6 => &[(-1.6, -4.0), (1.6, -4.0), (1.6, 4.0), (-1.6, 4.0)],
            7 => &[(-3.5, -3.5), (0.0, -1.2), (3.5, -3.5), (3.5, 3.5), (0.0, 1.2), (-3.5, 3.5)],
            _ => return self.circle(&class("mark", style), (x, y), 3.2),
        };
        self.path(&class("mark", style), shape.iter().map(|(dx, dy)| (x + dx, y + dy)), true);
    }

    fn circle(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        let [x, y, radius] = [x, y, radius].map(at);
        let _ = write!(self.body, r#"<circle class="{class}" cx="{x}" cy="{y}" r="{radius}"/>"#);
    }

    /// The whole drawing, with a title and a description for screen readers.
    fn finish(self, title: &str, description: &str, height: f64) -> String {
        let (title, description, height) = (escape(title), escape(description), at(height));
        format!(
            r#"<svg role="img" viewBox="0 0 {WIDTH} {height}"><title>{title}</title><desc>{description}</desc>{}</svg>"#,
            self.body
        )
    }
}

/// A chart without any value.
fn empty(title: &str, description: &str) -> String {
    let mut svg = Svg::new();
    svg.text("note middle", (WIDTH / 2.0, 30.0), "nothing was measured");
    svg.finish(title, description, 50.0)
}

fn class(kind: &str, style: usize) -> String {
    let open = if (style / STYLES).is_multiple_of(2) { "" } else { " open" };
    format!("{kind}{open} s{}", style % STYLES)
}

/// A coordinate, to a tenth of a unit. Values that are not finite are left out before; if one got
/// here, the drawing would be wrong in one place instead of broken as a whole.
fn at(coordinate: f64) -> f64 {
    if coordinate.is_finite() { (coordinate * 10.0).round() / 10.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spread;

    /// The rules for every SVG.
    #[track_caller]
    pub(super) fn check(svg: &str) {
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"), "{svg}");
        for wrong in ["NaN", "inf", "\"-0\"", "<script", "Infinity"] {
            assert!(!svg.contains(wrong), "{wrong} in {svg}");
        }
    }

    fn spread(values: &[f64]) -> Spread {
        Spread::of(values.iter().copied())
    }

    #[test]
    fn every_set_of_values_can_be_drawn() {
        let odd = [
            vec![],
            vec![0.0],
            vec![7.0],
            vec![0.0, 0.0],
            vec![f64::NAN, f64::INFINITY],
            vec![-1.0, f64::NEG_INFINITY, 1e300, 1e-300],
            vec![5.0, f64::NAN, 6.0],
        ];
        for values in odd {
            let points: Vec<_> = values.iter().map(|it| (*it, *it)).collect();
            let series = Series::new("a", 0, vec![points.clone()]);
            let all = || values.iter().copied();
            for scale in [Scale::fitting(all()), Scale::linear(all()), Scale::nines(all())] {
                let axis = |label: &str| Axis { label: label.into(), scale: scale.clone() };
                check(&Lines::new("t", "d", axis("x"), axis("y"), vec![series.clone()]).svg());
            }
            let bar = Bar { name: "b".into(), style: 9, value: spread(&values) };
            let group = Group { name: "g".into(), bars: vec![bar] };
            check(&Bars::new("t", "d", "µs", vec![group]).reference(1.0).svg());
            let strip = Strip { name: "s".into(), style: 2, values: values.clone() };
            check(&Dots::new("t", "d", "%", vec![strip]).svg());
        }
        check(&Bars::new("t", "d", "µs", vec![]).svg());
        check(&Dots::new("t", "d", "%", vec![]).svg());
    }

    #[test]
    fn values_that_are_not_finite_are_left_out() {
        assert_eq!([f64::NAN, f64::INFINITY, 1.26].map(at), [0.0, 0.0, 1.3]);
        let points = vec![(1.0, 1.0), (2.0, f64::NAN), (f64::INFINITY, 3.0)];
        let axis = || Axis { label: String::new(), scale: Scale::linear([3.0].into_iter()) };
        let series = Series::new("a", 1, vec![points]);
        let svg = Lines::new("t", "d", axis(), axis(), vec![series]).svg();
        // One in the legend, one on the line.
        assert_eq!(svg.matches("mark s1").count(), 2, "{svg}");
        let bar = |it: f64| Bar { name: "b".into(), style: 0, value: spread(&[it]) };
        let group = Group { name: String::new(), bars: vec![bar(f64::NAN), bar(1.0)] };
        let svg = Bars::new("t", "d", "µs", vec![group]).svg();
        assert_eq!(svg.matches("<rect").count(), 1, "{svg}");
    }

    #[test]
    fn twice_as_many_series_as_colours_can_be_told_apart() {
        let all: std::collections::HashSet<_> =
            (0..2 * STYLES).map(|it| class("line", it)).collect();
        assert_eq!(all.len(), 2 * STYLES);
        assert_eq!(class("mark", STYLES + 1), "mark open s1");
    }

    #[test]
    fn names_cannot_leave_their_place() {
        let bar = Bar { name: "</text><script>".into(), style: 0, value: spread(&[1.0]) };
        let group = Group { name: "<b>".into(), bars: vec![bar] };
        let svg = Bars::new("<i>", "a & \"b\"", "<u>", vec![group]).svg();
        check(&svg);
        assert!(!svg.contains("<i>") && !svg.contains("<b>") && !svg.contains("<u>"), "{svg}");
        assert!(svg.contains("&lt;/text&gt;&lt;script&gt;"), "{svg}");
        assert!(svg.contains("a &amp; &quot;b&quot;"), "{svg}");
    }

    #[test]
    fn a_chart_says_what_it_shows() {
        let svg = empty("Latency", "Nothing came.");
        assert!(svg.contains(r#"role="img""#), "{svg}");
        assert!(svg.contains("<title>Latency</title><desc>Nothing came.</desc>"), "{svg}");
    }
}
