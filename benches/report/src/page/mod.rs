//! A report as a page: one HTML file that loads nothing from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use pulldown_cmark::Parser;
use signalbox_protocol::Printable;

use crate::{Chart, RelativeFigure, Report, Section, Table, relative::LEGEND, report::WARNINGS};

/// Warnings that are visible at once; a noisy machine causes one in each round.
const VISIBLE_WARNINGS: usize = 5;

const STYLE: &str = include_str!("style.css");

impl Report {
    /// The whole page.
    pub fn page(&self) -> String {
        let names: Vec<_> = self.sections.iter().map(|it| it.title).collect();
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { "Signalbox benchmark: " (names.join(", ")) }
                    style { (PreEscaped(STYLE.trim())) }
                }
                body {
                    (self.header())
                    main {
                        @for it in &self.sections { (section(it)) }
                        section #reading {
                            h2 { "How to read this" }
                            (markdown(self.reading))
                        }
                    }
                }
            }
        };
        page.into_string()
    }

    fn header(&self) -> Markup {
        let run = &self.run;
        let facts = [
            ("gateway", &run.gateway),
            ("machine", &run.machine),
            ("begun", &run.started),
            ("with", &run.benchmark),
        ];
        let summarised = || self.sections.iter().filter(|it| !it.relative.is_empty());
        html! {
            header {
                h1 { "Signalbox benchmark" }
                (self.warning_box())
                dl {
                    @for (name, fact) in facts { dt { (name) } dd { (visible(fact)) } }
                    dt { "command" }
                    dd { code { (visible(&run.full_command())) } }
                }
                @if self.sections.len() > 1 {
                    nav {
                        @for (index, it) in self.sections.iter().enumerate() {
                            @if index > 0 { " · " }
                            a href={ "#" (it.name) } { (it.title) }
                        }
                    }
                }
                @if summarised().next().is_some() {
                    h2 { "In short" }
                    @for it in summarised() {
                        h3 { a href={ "#" (it.name) } { (it.title) } }
                        (RelativeFigure::html(&it.relative))
                    }
                    p { (LEGEND) " " a href="#reading" { "How to read this" } }
                }
            }
        }
    }

    fn warning_box(&self) -> Markup {
        let debug = self.run.debug_build.then(|| {
            "This is a debug build: its figures say nothing (cargo build --release)".to_owned()
        });
        let warnings: Vec<_> = debug.into_iter().chain(self.warnings()).collect();
        let (shown, others) = warnings.split_at(warnings.len().min(VISIBLE_WARNINGS));
        html! {
            @if !warnings.is_empty() {
                div.warning role="note" {
                    h2 { (WARNINGS) }
                    (items(shown))
                    @if !others.is_empty() {
                        details {
                            summary { "and " (others.len()) " more" }
                            (items(others))
                        }
                    }
                }
            }
        }
    }
}

fn section(section: &Section) -> Markup {
    html! {
        section id=(section.name) {
            h2 { (visible(&section.table.title)) }
            (table(&section.table))
            @if !section.reading.is_empty() {
                details.reading {
                    summary { "How to read this" }
                    (markdown(section.reading))
                }
            }
            @if !section.charts.is_empty() {
                div.charts { @for it in &section.charts { (chart(it)) } }
            }
        }
    }
}

fn chart(chart: &Chart) -> Markup {
    html! {
        figure {
            figcaption { (visible(&chart.title)) }
            (PreEscaped(&chart.svg))
            @if let Some(data) = &chart.data {
                details { summary { "The figures" } (table(data)) }
            }
        }
    }
}

/// Scrolls sideways where the screen is narrow.
fn table(table: &Table) -> Markup {
    html! {
        div.table role="region" aria-label=(visible(&table.title)) tabindex="0" {
            table {
                thead { tr { @for cell in &table.head { th scope="col" { (visible(cell)) } } } }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for (column, cell) in row.iter().enumerate() {
                                @if column == 0 {
                                    th scope="row" { (visible(cell)) }
                                } @else {
                                    td { (visible(cell)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn items(items: &[String]) -> Markup {
    html! { ul { @for item in items { li { (visible(item)) } } } }
}

/// Our own texts, which are trusted.
fn markdown(text: &str) -> Markup {
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, Parser::new(text));
    PreEscaped(html)
}

/// Invisible characters as escapes: they may change the direction of the text after them.
fn visible(text: &str) -> String {
    Printable(text).to_string()
}

#[cfg(test)]
mod tests;
