//! A table of figures, as Markdown or for a page.
//!
//! The Markdown is written here, not by a crate: it takes a dozen lines, and the table crates
//! (comfy-table, tabled) either drop the alignment of columns or pad every cell, so that each run
//! would rewrite every line of a committed document.

use std::fmt::Write as _;

use signalbox_protocol::Printable;

/// A table under a title. The first cell of a row names it.
#[derive(Debug, Clone)]
pub struct Table {
    pub(crate) title: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new<H: Into<String>>(
        title: impl Into<String>,
        head: impl IntoIterator<Item = H>,
    ) -> Self {
        let head = head.into_iter().map(Into::into).collect();
        Self { title: title.into(), head, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// With a heading, readable in a terminal too.
    pub fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n", self.title);
        line(&mut text, &self.head);
        let _ = writeln!(text, "|---|{}", "---:|".repeat(self.head.len().saturating_sub(1)));
        self.rows.iter().for_each(|row| line(&mut text, row));
        text
    }
}

fn line(text: &mut String, cells: &[String]) {
    let cells: Vec<_> = cells.iter().map(|cell| plain(cell)).collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// A cell that stays one cell: the name of a target or of another system may contain anything.
fn plain(cell: &str) -> String {
    Printable(cell).to_string().replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_markdown() {
        let mut table = Table::new("T: of two", ["a", "b"]);
        table.row(["c", "1"].map(str::to_owned));
        assert_eq!(table.markdown(), "## T: of two\n\n| a | b |\n|---|---:|\n| c | 1 |\n");
        table.row(["a|b\u{1b}[2J\n| forged", "1"].map(str::to_owned));
        assert!(table.markdown().ends_with("| a\\|b\\u{1b}[2J\\n\\| forged | 1 |\n"));
    }
}
