//! Horizontal bars, each under its name, with whiskers for the spread of the rounds.

use super::{LINE, Scale, Svg, WIDTH, class, empty, number};
use crate::Spread;

/// Room to the right of the longest bar, for its number.
const NUMBER: f64 = 104.0;

/// Height of a bar, and the gap to the next name.
const BAR: f64 = 11.0;
const GAP: f64 = 7.0;

/// A bar.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) style: usize,
    pub(crate) value: Spread,
}

/// Bars under a common heading.
pub(crate) struct Group {
    /// No heading if it is empty.
    pub(crate) name: String,
    pub(crate) bars: Vec<Bar>,
}

/// A chart of bars.
pub(crate) struct Bars {
    title: String,
    description: String,
    unit: String,
    groups: Vec<Group>,
    reference: Option<f64>,
}

impl Bars {
    pub(crate) fn new(title: &str, description: &str, unit: &str, groups: Vec<Group>) -> Self {
        let [title, description, unit] = [title, description, unit].map(str::to_owned);
        Self { title, description, unit, groups, reference: None }
    }

    /// A value to compare with, as a line through each of them.
    pub(crate) fn reference(mut self, value: f64) -> Self {
        self.reference = Some(value);
        self
    }

    pub(crate) fn svg(&self) -> String {
        let bars = self.groups.iter().flat_map(|it| &it.bars);
        let values = bars.map(|it| it.value).filter(is_finite).flat_map(|it| [it.median, it.max]);
        if values.clone().next().is_none() {
            return empty(&self.title, &self.description);
        }
        let scale = Scale::linear(values.chain(self.reference));
        let place = |value: f64| scale.part(value) * (WIDTH - NUMBER);
        let (mut body, mut y) = (Svg::new(), 4.0);
        for group in &self.groups {
            if !group.name.is_empty() {
                y += if y > GAP { LINE + GAP } else { LINE };
                body.text("group", (0.0, y - 4.0), &group.name);
            }
            for bar in group.bars.iter().filter(|it| is_finite(&it.value)) {
                let Spread { median, min, max } = bar.value;
                y += LINE;
                body.text("name", (0.0, y - 4.0), &bar.name);
                body.rect(&class("bar", bar.style), (0.0, y), (place(median), BAR));
                let middle = y + BAR / 2.0;
                if let Some(reference) = self.reference {
                    let x = place(reference);
                    body.line("reference", (x, y - 2.0), (x, y + BAR + 2.0));
                }
                if min < max {
                    body.line("whisker", (place(min), middle), (place(max), middle));
                    for end in [min, max] {
                        body.line("whisker", (place(end), y + 2.0), (place(end), y + BAR - 2.0));
                    }
                }
                let text = format!("{} {}{}", number(median), self.unit, plus_minus(bar.value));
                body.text("value", (place(max.max(median)) + 6.0, middle + 4.0), &text);
                y += BAR + GAP;
            }
        }
        body.finish(&self.title, &self.description, y + 2.0)
    }
}

fn is_finite(it: &Spread) -> bool {
    [it.median, it.min, it.max].iter().all(|it| it.is_finite())
}

/// As in the tables.
fn plus_minus(value: Spread) -> String {
    if value.min == value.max || value.median == 0.0 {
        return String::new();
    }
    format!(" ±{:.0} %", value.uncertainty() * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[f64]) -> String {
        let value = Spread::of(values.iter().copied());
        let bars = vec![Bar { name: "QUIC".into(), style: 1, value }];
        Bars::new("Title", "Words", "µs", vec![Group { name: String::new(), bars }]).svg()
    }

    #[test]
    fn a_bar_has_a_number_a_unit_and_whiskers() {
        let svg = chart(&[90.0, 100.0, 110.0]);
        assert!(svg.contains("100 µs ±10 %") && svg.contains("QUIC"), "{svg}");
        assert_eq!(svg.matches("whisker").count(), 3, "{svg}");
        assert_eq!(chart(&[100.0]).matches("whisker").count(), 0);
    }

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        // The axis ends at 100 and is 316 wide.
        let svg = chart(&[100.0]);
        assert!(svg.contains(r#"class="bar s1" x="0" y="20" width="316""#), "{svg}");
        assert!(chart(&[0.0]).contains(r#"width="0""#));
    }
}
