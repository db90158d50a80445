//! Charts with a title and, if the scenario's table lacks them, their figures.

use super::{Axis, Bar, Bars, Dots, Group, Lines, Scale, Series, Strip, number};
use crate::{Spread, Table};

/// Points of a line at most, where there is one value for each of thousands of clients.
const POINTS: usize = 200;

/// A drawing and its figures.
#[derive(Debug)]
pub struct Chart {
    pub(crate) title: String,
    pub(crate) svg: String,
    /// `None` if the table of the scenario has all of them.
    pub(crate) data: Option<Table>,
}

/// Assigns a style to each name, the same in all charts of a scenario.
#[derive(Debug)]
pub struct Palette(Vec<String>);

impl Palette {
    /// For names in the order in which they come up; repeated ones count once.
    pub fn of(names: impl IntoIterator<Item = String>) -> Self {
        let mut known = Vec::new();
        for name in names {
            if !known.contains(&name) {
                known.push(name);
            }
        }
        Self(known)
    }

    pub(super) fn style(&self, name: &str) -> usize {
        self.0.iter().position(|it| it == name).unwrap_or_default()
    }
}

/// Named bars under a common name; without a name the group has no heading.
pub type BarGroup = (String, Vec<(String, Spread)>);

impl Chart {
    /// Bars in groups, and a line at a value to compare with.
    pub fn groups(
        title: &str,
        unit: &str,
        palette: &Palette,
        groups: Vec<BarGroup>,
        reference: Option<f64>,
    ) -> Self {
        let description = "Medians of the rounds; whiskers go from the lowest to the highest. The \
                           figures are in the table.";
        let bar =
            |(name, value): (String, Spread)| Bar { style: palette.style(&name), name, value };
        let group =
            |(name, bars): BarGroup| Group { name, bars: bars.into_iter().map(bar).collect() };
        let groups = groups.into_iter().map(group).collect();
        let bars = Bars::new(title, description, unit, groups);
        let bars = if let Some(value) = reference { bars.reference(value) } else { bars };
        Self { title: title.to_owned(), svg: bars.svg(), data: None }
    }

    /// A dot for each value of a row; `description` says what a dot is.
    pub fn dots(
        title: &str,
        description: &str,
        unit: &str,
        palette: &Palette,
        rows: Vec<(String, Vec<f64>)>,
    ) -> Self {
        let mut data = Table::new(title, ["row", "least", "half at most", "most"]);
        for (name, values) in &rows {
            let Spread { min, median, max } = Spread::of(values.iter().copied());
            data.row([name.clone(), number(min), number(median), number(max)]);
        }
        let strip =
            |(name, values): (String, _)| Strip { style: palette.style(&name), name, values };
        let strips = rows.into_iter().map(strip).collect();
        let svg = Dots::new(title, description, unit, strips).svg();
        Self { title: title.to_owned(), svg, data: Some(data) }
    }

    /// The share of the values of each row that is at most a value, in percent.
    pub fn cumulative(
        title: &str,
        description: &str,
        (value, share): (&str, &str),
        palette: &Palette,
        rows: Vec<(String, Vec<f64>)>,
    ) -> Self {
        let head = ["all rounds together", "50 % ms", "90 % ms", "99 % ms", "all ms"];
        let mut data = Table::new(title, head);
        let (mut series, mut all) = (Vec::new(), Vec::new());
        for (name, mut values) in rows {
            values.sort_by(f64::total_cmp);
            let count = values.len();
            let at = |share: f64| {
                let rank = (count as f64 * share).ceil() as usize;
                values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
            };
            let cells = [0.5, 0.9, 0.99, 1.0].map(|it| number(at(it)));
            data.row([name.clone()].into_iter().chain(cells));
            let step = count.div_ceil(POINTS).max(1);
            let point =
                |(index, value): (usize, &f64)| (*value, (index + 1) as f64 * 100.0 / count as f64);
            // The last one is drawn, however many are left out.
            let kept = values.iter().enumerate();
            let kept = kept.filter(|(it, _)| (count - 1 - it).is_multiple_of(step));
            let kept: Vec<_> = kept.map(point).collect();
            all.extend(kept.iter().map(|it| it.0));
            series.push(Series::new(&name, palette.style(&name), vec![kept]));
        }
        let x = Axis { label: value.to_owned(), scale: Scale::fitting(all.into_iter()) };
        let y = Axis { label: share.to_owned(), scale: Scale::until(100.0) };
        let svg = Lines::new(title, description, x, y, series).svg();
        Self { title: title.to_owned(), svg, data: Some(data) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_style() {
        let palette = Palette::of(["a", "b", "a", "c"].map(str::to_owned));
        assert_eq!(["a", "b", "c"].map(|it| palette.style(it)), [0, 1, 2]);
    }
}
