//! Strips of dots, one dot for each of many values.

use super::{LINE, Scale, Svg, WIDTH, class, empty, number};
use crate::Spread;

/// Room to the right for half of the last number.
const RIGHT: f64 = 16.0;

/// Height of a strip, and the gap below it.
const STRIP: f64 = 34.0;
const GAP: f64 = 8.0;

/// Dots closer to each other than this are stacked.
const DOT: f64 = 5.0;

/// All values of one name.
pub(crate) struct Strip {
    pub(crate) name: String,
    pub(crate) style: usize,
    pub(crate) values: Vec<f64>,
}

/// A chart of strips over one axis.
pub(crate) struct Dots {
    title: String,
    description: String,
    unit: String,
    strips: Vec<Strip>,
}

impl Dots {
    pub(crate) fn new(title: &str, description: &str, unit: &str, strips: Vec<Strip>) -> Self {
        let [title, description, unit] = [title, description, unit].map(str::to_owned);
        Self { title, description, unit, strips }
    }

    pub(crate) fn svg(&self) -> String {
        let values = self.strips.iter().flat_map(|it| it.values.iter().copied());
        let values = values.filter(|it| it.is_finite());
        if values.clone().next().is_none() {
            return empty(&self.title, &self.description);
        }
        let scale = Scale::linear(values);
        let place = |value: f64| 6.0 + scale.part(value) * (WIDTH - 6.0 - RIGHT);
        let (mut body, mut y) = (Svg::new(), 0.0);
        for strip in &self.strips {
            let finite = || strip.values.iter().copied().filter(|it| it.is_finite());
            let Spread { median, max, .. } = Spread::of(finite());
            y += LINE;
            body.text("name", (0.0, y - 4.0), &strip.name);
            let most = format!("half ≤ {}, all ≤ {}", number(median), number(max));
            body.text("value end", (WIDTH, y - 4.0), &most);
            let middle = y + STRIP / 2.0;
            body.line("grid", (place(0.0), middle), (WIDTH - RIGHT, middle));
            for (x, offset) in stacked(finite().map(place)) {
                body.circle(&class("dot", strip.style), (x, middle + offset), DOT / 2.0);
            }
            body.line("whisker", (place(median), y + 1.0), (place(median), y + STRIP - 1.0));
            y += STRIP + GAP;
        }
        // Under the dots.
        let mut svg = Svg::new();
        for (value, text) in &scale.ticks {
            svg.line("grid", (place(*value), LINE), (place(*value), y));
            svg.text("tick middle", (place(*value), y + 13.0), text);
        }
        svg.body.push_str(&body.body);
        svg.text("label middle", (WIDTH / 2.0, y + 30.0), &self.unit);
        svg.finish(&self.title, &self.description, y + 36.0)
    }
}

/// Stacks dots at about the same position; closer together if there are too many.
fn stacked(places: impl Iterator<Item = f64>) -> Vec<(f64, f64)> {
    let mut columns: std::collections::BTreeMap<u64, u32> = std::collections::BTreeMap::new();
    for place in places {
        *columns.entry((place / DOT).round() as u64).or_default() += 1;
    }
    let column = |(column, count): (u64, u32)| {
        let apart = DOT.min((STRIP - DOT) / f64::from(count.saturating_sub(1).max(1)));
        let first = -f64::from(count - 1) * apart / 2.0;
        (0..count).map(move |index| (column as f64 * DOT, first + f64::from(index) * apart))
    };
    columns.into_iter().flat_map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_at_the_same_place_are_stacked_within_the_strip() {
        assert_eq!(stacked([10.0].into_iter()), [(10.0, 0.0)]);
        assert_eq!(stacked([10.0, 10.4].into_iter()), [(10.0, -2.5), (10.0, 2.5)]);
        let many = stacked(std::iter::repeat_n(10.0, 500));
        assert_eq!(many.len(), 500);
        assert!(many.iter().all(|(_, offset)| offset.abs() <= STRIP / 2.0));
    }

    #[test]
    fn each_value_has_its_dot() {
        let strip = Strip { name: "QUIC".into(), style: 0, values: vec![0.0, 2.0, 8.0] };
        let svg = Dots::new("Title", "Words", "% late", vec![strip]).svg();
        assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
        assert!(svg.contains("half ≤ 2, all ≤ 8"), "{svg}");
    }
}
