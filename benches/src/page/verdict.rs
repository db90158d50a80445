//! What can be said of a scenario in a line: how much more, or less, than the first row under the
//! same load.

use std::fmt::Write as _;

use crate::{
    chart::{escape, number},
    difference::{Better, Difference, Figure},
};

/// A row's figure, by its name.
pub(super) type Named = (String, Figure);

/// One figure of all rows that have it, as multiples of the first row's.
pub(super) struct Verdict {
    what: String,
    better: Better,
    first: String,
    others: Vec<(String, f64, Difference)>,
}

impl Verdict {
    /// None if there is nothing to compare.
    pub(super) fn of(what: &str, better: Better, rows: &[Named]) -> Option<Self> {
        let ((first, base), others) = rows.split_first()?;
        if others.is_empty() || base.spread.median <= 0.0 {
            return None;
        }
        let other = |(name, it): &Named| {
            (name.clone(), it.spread.median / base.spread.median, Difference::of(*base, *it))
        };
        let others = others.iter().map(other).collect();
        Some(Self { what: what.to_owned(), better, first: first.clone(), others })
    }

    /// Those of one scenario: a table for each row that others are compared with, and a column for
    /// each of the others.
    pub(super) fn html(verdicts: &[Self]) -> String {
        let mut html = String::new();
        for same in by_first(verdicts) {
            let Some(first) = same.first() else { continue };
            let mut names: Vec<&str> = Vec::new();
            for (name, ..) in same.iter().flat_map(|it| &it.others) {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
            let _ = write!(
                html,
                "<div class=\"table\"><table class=\"short\">\n<thead><tr><th scope=\"col\">as a \
                 multiple of: {}</th>",
                escape(&first.first)
            );
            for name in &names {
                let _ = write!(html, "<th scope=\"col\">{}</th>", escape(name));
            }
            html.push_str("</tr></thead>\n<tbody>\n");
            for verdict in same {
                let better = match verdict.better {
                    Better::Lower => "lower is better",
                    Better::Higher => "higher is better",
                };
                let what = escape(&verdict.what);
                let _ = write!(html, "<tr><th scope=\"row\">{what} ({better})</th>");
                names.iter().for_each(|name| html.push_str(&verdict.cell(name)));
                html.push_str("</tr>\n");
            }
            html.push_str("</tbody></table></div>\n");
        }
        html
    }

    /// What is said of one of the others.
    fn cell(&self, name: &str) -> String {
        let Some((_, ratio, difference)) = self.others.iter().find(|it| it.0 == name) else {
            return "<td class=\"noise\">–</td>".into();
        };
        let ratio = number(*ratio);
        match difference {
            Difference::BeyondTheRounds => format!("<td><strong>{ratio}</strong></td>"),
            Difference::WithinTheNoise => format!("<td class=\"noise\">≈ {ratio}</td>"),
            Difference::NotKnown => format!("<td class=\"noise\">? {ratio}</td>"),
        }
    }
}

/// Groups of verdicts against the same row, in the order in which they come up.
fn by_first(verdicts: &[Verdict]) -> Vec<Vec<&Verdict>> {
    let mut groups: Vec<Vec<&Verdict>> = Vec::new();
    for verdict in verdicts {
        let same = |group: &&mut Vec<&Verdict>| {
            group.first().is_some_and(|first| first.first == verdict.first)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(verdict),
            None => groups.push(vec![verdict]),
        }
    }
    groups
}

/// What the signs in the tables mean.
pub(super) const SIGNS: &str = "Ratios of medians within this run. <strong>Bold</strong>: every round \
    of the one was below every round of the other. ≈: within the noise, some rounds were not. ?: there \
    was a single round, so how far rounds are apart is not known. –: there is no such figure.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Spread;

    fn named(name: &str, rounds: &[f64]) -> Named {
        let spread = Spread::of(rounds.iter().copied());
        (name.to_owned(), Figure { spread, rounds: rounds.len() })
    }

    #[test]
    fn a_verdict_says_what_is_noise() {
        let first = named("<a>", &[10.0, 11.0]);
        let rows = [
            first.clone(),
            named("b", &[21.0, 21.0]),
            named("c", &[9.0, 12.0]),
            named("d", &[42.0]),
        ];
        let html = Verdict::html(
            &Verdict::of("p99", Better::Lower, &rows).into_iter().collect::<Vec<_>>(),
        );
        let cells = "<th scope=\"row\">p99 (lower is better)</th><td><strong>2</strong></td>\
                     <td class=\"noise\">≈ 1</td><td class=\"noise\">? 4</td>";
        assert!(html.contains(cells), "{html}");
        assert!(html.contains("&lt;a&gt;"), "{html}");
        assert!(Verdict::of("p99", Better::Lower, std::slice::from_ref(&first)).is_none());
        assert!(Verdict::of("p99", Better::Lower, &[named("0", &[0.0]), first]).is_none());
    }
    #[test]
    fn each_figure_stands_under_the_name_that_it_is_of() {
        let rows = |names: &[&str]| -> Vec<Named> {
            names.iter().zip(1..).map(|(it, us)| named(it, &[f64::from(us); 2])).collect()
        };
        let of =
            |what: &str, names: &[&str]| Verdict::of(what, Better::Higher, &rows(names)).unwrap();
        // The second of them lacks a system, and the third its first.
        let html = Verdict::html(&[
            of("to 10", &["a", "b", "c"]),
            of("to 100", &["a", "c"]),
            of("to 1000", &["b", "c"]),
        ]);
        let row = |what: &str, cells: &str| {
            let row = format!("<th scope=\"row\">{what} (higher is better)</th>{cells}</tr>");
            assert!(html.contains(&row), "no {row} in {html}");
        };
        row("to 10", "<td><strong>2</strong></td><td><strong>3</strong></td>");
        row("to 100", "<td class=\"noise\">–</td><td><strong>2</strong></td>");
        row("to 1000", "<td><strong>2</strong></td>");
        assert_eq!(html.matches("as a multiple of: a<").count(), 1);
        assert_eq!(html.matches("as a multiple of: b<").count(), 1);
    }
}
