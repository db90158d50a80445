//! A summary of a scenario: each figure as a multiple of the first row's, with the separation test.

use maud::{Markup, PreEscaped, html};

use crate::{Better, Figure, Separation, chart::number};

/// A figure and the name of its row.
pub type NamedFigure = (String, Figure);

/// One figure of all rows that have it, as multiples of the first row's.
#[derive(Debug)]
pub struct RelativeFigure {
    figure: String,
    better: Better,
    first: String,
    others: Vec<(String, f64, Separation)>,
}

impl RelativeFigure {
    /// `None` if there is nothing to compare.
    pub fn of(figure: impl Into<String>, better: Better, rows: &[NamedFigure]) -> Option<Self> {
        let ((first, base), others) = rows.split_first()?;
        if others.is_empty() || base.spread.median <= 0.0 {
            return None;
        }
        let other = |(name, it): &NamedFigure| {
            (name.clone(), it.spread.median / base.spread.median, Separation::of(*base, *it))
        };
        let others = others.iter().map(other).collect();
        Some(Self { figure: figure.into(), better, first: first.clone(), others })
    }

    /// A table for each row that others are compared with, and a column for each of the others.
    pub(crate) fn html(figures: &[Self]) -> Markup {
        html! {
            @for same in by_first(figures) {
                @let names = names(&same);
                div.table {
                    table.short {
                        thead {
                            tr {
                                th scope="col" {
                                    "as a multiple of: " (same.first().map_or("", |it| &it.first))
                                }
                                @for name in &names { th scope="col" { (name) } }
                            }
                        }
                        tbody {
                            @for it in &same {
                                tr {
                                    th scope="row" { (it.figure) " (" (it.better.words()) ")" }
                                    @for name in &names { (it.cell(name)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn cell(&self, name: &str) -> Markup {
        let Some((_, ratio, separation)) = self.others.iter().find(|it| it.0 == name) else {
            return html! { td.noise { "–" } };
        };
        let ratio = number(*ratio);
        match separation {
            Separation::BeyondTheRounds => html! { td { strong { (ratio) } } },
            Separation::WithinTheNoise => html! { td.noise { "≈ " (ratio) } },
            Separation::NotKnown => html! { td.noise { "? " (ratio) } },
        }
    }
}

/// All rows beside the first, in the order in which they come up.
fn names<'a>(figures: &[&'a RelativeFigure]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, ..) in figures.iter().flat_map(|it| &it.others) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

/// Groups with the same first row, in the order in which they come up.
fn by_first(figures: &[RelativeFigure]) -> Vec<Vec<&RelativeFigure>> {
    let mut groups: Vec<Vec<&RelativeFigure>> = Vec::new();
    for figure in figures {
        let same = |group: &&mut Vec<&RelativeFigure>| {
            group.first().is_some_and(|first| first.first == figure.first)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(figure),
            None => groups.push(vec![figure]),
        }
    }
    groups
}

/// The legend of these tables.
pub(crate) const LEGEND: PreEscaped<&str> = PreEscaped(
    "Ratios of medians within this run. <strong>Bold</strong>: every round of one was below every \
     round of the other. ≈: within the noise, some rounds were not. ?: a single round, so its \
     noise is not known. –: no such figure.",
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spread;

    fn named(name: &str, rounds: &[f64]) -> NamedFigure {
        let spread = Spread::of(rounds.iter().copied());
        (name.to_owned(), Figure { spread, rounds: rounds.len() })
    }

    #[test]
    fn noise_is_marked() {
        let first = named("<a>", &[10.0, 11.0]);
        let rows = [
            first.clone(),
            named("b", &[21.0, 21.0]),
            named("c", &[9.0, 12.0]),
            named("d", &[42.0]),
        ];
        let of = |rows: &[NamedFigure]| RelativeFigure::of("p99", Better::Lower, rows);
        let html = RelativeFigure::html(&[of(&rows).unwrap()]).into_string();
        let cells = "<th scope=\"row\">p99 (lower is better)</th><td><strong>2</strong></td>\
                     <td class=\"noise\">≈ 1</td><td class=\"noise\">? 4</td>";
        assert!(html.contains(cells), "{html}");
        assert!(html.contains("&lt;a&gt;"), "{html}");
        assert!(of(std::slice::from_ref(&first)).is_none());
        assert!(of(&[named("0", &[0.0]), first]).is_none());
    }

    #[test]
    fn each_figure_stands_under_the_name_of_its_row() {
        let rows = |names: &[&str]| -> Vec<NamedFigure> {
            names.iter().zip(1..).map(|(it, us)| named(it, &[f64::from(us); 2])).collect()
        };
        let of = |figure: &str, names: &[&str]| {
            RelativeFigure::of(figure, Better::Higher, &rows(names)).unwrap()
        };
        // The second of them lacks a system, and the third its first.
        let html = RelativeFigure::html(&[
            of("to 10", &["a", "b", "c"]),
            of("to 100", &["a", "c"]),
            of("to 1000", &["b", "c"]),
        ])
        .into_string();
        let row = |figure: &str, cells: &str| {
            let row = format!("<th scope=\"row\">{figure} (higher is better)</th>{cells}</tr>");
            assert!(html.contains(&row), "no {row} in {html}");
        };
        row("to 10", "<td><strong>2</strong></td><td><strong>3</strong></td>");
        row("to 100", "<td class=\"noise\">–</td><td><strong>2</strong></td>");
        row("to 1000", "<td><strong>2</strong></td>");
        assert_eq!(html.matches("as a multiple of: a<").count(), 1);
        assert_eq!(html.matches("as a multiple of: b<").count(), 1);
    }
}
