//! What can be said of a scenario in a line: how much more, or less, than the first row.

use std::fmt::Write as _;

use crate::{
    chart::{escape, number},
    difference::{Difference, Figure},
};

/// A row's figure, by its name.
pub(super) type Named = (String, Figure);

/// One figure of all rows, as multiples of the first row's.
pub(super) struct Verdict {
    what: String,
    first: String,
    others: Vec<(String, f64, Difference)>,
}

impl Verdict {
    /// None if there is nothing to compare.
    pub(super) fn of(what: &str, rows: &[Named]) -> Option<Self> {
        let ((first, base), others) = rows.split_first()?;
        if others.is_empty() || base.spread.median <= 0.0 {
            return None;
        }
        let other = |(name, it): &Named| {
            (name.clone(), it.spread.median / base.spread.median, Difference::of(*base, *it))
        };
        let others = others.iter().map(other).collect();
        Some(Self { what: what.to_owned(), first: first.clone(), others })
    }

    /// Those of one scenario, all of them of the same rows, as a table.
    pub(super) fn html(verdicts: &[Self]) -> String {
        let Some(first) = verdicts.first() else { return String::new() };
        let mut html = format!(
            "<div class=\"table\"><table class=\"short\">\n<thead><tr><th scope=\"col\">as a multiple \
             of: {}</th>",
            escape(&first.first)
        );
        for (name, ..) in &first.others {
            let _ = write!(html, "<th scope=\"col\">{}</th>", escape(name));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for verdict in verdicts {
            let _ = write!(html, "<tr><th scope=\"row\">{}</th>", escape(&verdict.what));
            for (_, ratio, difference) in &verdict.others {
                let ratio = number(*ratio);
                let _ = match difference {
                    Difference::BeyondTheRounds => {
                        write!(html, "<td><strong>{ratio}</strong></td>")
                    }
                    Difference::WithinTheNoise => {
                        write!(html, "<td class=\"noise\">≈ {ratio}</td>")
                    }
                    Difference::NotKnown => write!(html, "<td class=\"noise\">? {ratio}</td>"),
                };
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
        html
    }
}

/// What the signs in the tables mean.
pub(super) const SIGNS: &str = "Ratios of medians within this run. <strong>Bold</strong>: every round \
    of the one was below every round of the other. ≈: within the noise, some rounds were not. ?: there \
    was a single round, so how far rounds are apart is not known.";

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
        let html = Verdict::html(&Verdict::of("p99", &rows).into_iter().collect::<Vec<_>>());
        let cells = "<th scope=\"row\">p99</th><td><strong>2</strong></td>\
                     <td class=\"noise\">≈ 1</td><td class=\"noise\">? 4</td>";
        assert!(html.contains(cells), "{html}");
        assert!(html.contains("&lt;a&gt;"), "{html}");
        assert!(Verdict::of("p99", std::slice::from_ref(&first)).is_none());
        assert!(Verdict::of("p99", &[named("0", &[0.0]), first]).is_none());
    }
}
