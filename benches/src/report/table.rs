//! A table of figures, as Markdown or for a page.

use std::fmt::Write as _;

use signalbox_protocol::Printable;

use crate::stats::Spread;

/// A table under a heading; the first row is its head, the first cell of each says what it is about.
pub(crate) struct Table {
    /// What comes before its colon is the scenario's name.
    pub(crate) title: String,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.cells(cells.map(str::to_owned));
    }

    /// A row of any length.
    pub(crate) fn cells(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The scenario, as people call it.
    pub(crate) fn name(&self) -> &str {
        self.title.split(':').next().unwrap_or_default()
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n", self.title);
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<_> = row.iter().map(|cell| plain(cell)).collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
            if number == 0 {
                let _ = writeln!(text, "|---|{}", "---:|".repeat(row.len().saturating_sub(1)));
            }
        }
        text
    }
}

/// A cell that stays one: what a target or another system calls itself may hold anything.
fn plain(cell: &str) -> String {
    Printable(cell).to_string().replace('|', "\\|")
}

/// The median, and how far the rounds were apart: half the distance of the extremes.
pub(crate) fn with_spread(spread: Spread, digits: usize) -> String {
    let median = format!("{:.digits$}", spread.median);
    if spread.min == spread.max {
        return median;
    }
    format!("{median} ±{:.0} %", spread.uncertainty() * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_comes_with_its_spread() {
        assert_eq!(with_spread(Spread::of([90.0, 100.0, 110.0]), 0), "100 ±10 %");
        assert_eq!(with_spread(Spread::of([1.25]), 1), "1.2");
    }

    #[test]
    fn tables_are_markdown() {
        let mut table = Table::new("T: of two");
        table.row(["a", "b"]);
        table.row(["c", "1"]);
        assert_eq!(table.markdown(), "## T: of two\n\n| a | b |\n|---|---:|\n| c | 1 |\n");
        assert_eq!(table.name(), "T");
        table.row(["a|b\u{1b}[2J\n| forged", "1"]);
        assert!(table.markdown().ends_with("| a\\|b\\u{1b}[2J\\n\\| forged | 1 |\n"));
    }
}
