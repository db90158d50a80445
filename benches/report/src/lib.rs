//! Reports of measured figures: tables, charts, pages, and comparisons of two runs.
//!
//! A scenario describes its figures as [`Metric`]s, each with key, unit and direction, and its
//! measurements as [`Row`]s. From these it makes a [`Section`]; a [`Report`] shows sections as
//! JSON, Markdown or a page. [`RunComparison`] compares two reports by the metrics in their JSON.
//! This crate knows no scenario.

mod chart;
mod column;
mod compare;
mod distribution;
mod headline;
mod metric;
mod page;
mod relative;
mod report;
mod row;
mod run;
mod separation;
mod spread;
mod table;

pub use chart::{BarGroup, Chart, NamedRounds, Palette, number};
pub use column::Column;
pub use compare::RunComparison;
pub use distribution::{Percentiles, QuantilePoint, TimeSlice};
pub use headline::Headline;
pub use metric::{Better, Metric};
pub use relative::{NamedFigure, RelativeFigure};
pub use report::{Report, Section};
pub use row::{Contender, Label, Round, Row, describe};
pub use run::Run;
pub use separation::{Figure, Separation};
pub use spread::Spread;
pub use table::Table;
