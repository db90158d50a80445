//! Columns of a scenario's table: each with its head and its cells.

use crate::{Label, Metric, Round, Row, Table};

type Cell<L, R> = Box<dyn Fn(&Row<L, R>) -> String>;

/// A column.
pub struct Column<L, R> {
    head: String,
    cell: Cell<L, R>,
}

impl<L: Label + 'static, R: Round + 'static> Column<L, R> {
    /// With any text.
    pub fn new(head: impl Into<String>, cell: impl Fn(&Row<L, R>) -> String + 'static) -> Self {
        Self { head: head.into(), cell: Box::new(cell) }
    }

    /// The rows' titles.
    pub fn title(head: &str) -> Self {
        Self::new(head, |row| row.label.title())
    }

    /// Median and uncertainty; empty where no round has the figure.
    pub fn spread(head: impl Into<String>, metric: &'static Metric<R>, digits: usize) -> Self {
        Self::new(head, move |row| {
            metric.spread(&row.rounds).map(|it| it.text(digits)).unwrap_or_default()
        })
    }

    /// The median alone.
    pub fn median(head: &str, metric: &'static Metric<R>, digits: usize) -> Self {
        Self::new(head, move |row| {
            let spread = metric.spread(&row.rounds);
            spread.map(|it| format!("{:.digits$}", it.median)).unwrap_or_default()
        })
    }

    /// The greatest value of all rounds.
    pub fn greatest(head: &str, metric: &'static Metric<R>, digits: usize) -> Self {
        Self::new(head, move |row| format!("{:.digits$}", row.spread(metric).max))
    }

    /// The median of a share, in percent.
    pub fn percent(head: &str, metric: &'static Metric<R>) -> Self {
        Self::new(head, move |row| format!("{:.0} %", row.spread(metric).median * 100.0))
    }
}

impl Table {
    /// A table with a line for each row.
    pub fn of<L, R>(title: &str, columns: &[Column<L, R>], rows: &[Row<L, R>]) -> Self {
        let mut table = Self::new(title, columns.iter().map(|it| it.head.as_str()));
        for row in rows {
            table.row(columns.iter().map(|it| (it.cell)(row)));
        }
        table
    }
}
