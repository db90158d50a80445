//! Results as a page to look at and to pass on: one file of HTML that needs nothing from elsewhere,
//! with charts, tables, and what they mean.

mod html;
mod pictures;
mod reading;
mod returns;
mod signals;
mod time;
mod verdict;

use std::fmt::Write as _;

use self::{
    pictures::Part,
    verdict::{SIGNS, Verdict},
};
use crate::{
    chart::escape,
    report::{FRAME, Report, Table},
};

/// Warnings that are seen at once; a noisy machine makes one for each round.
const WARNINGS: usize = 5;

const STYLE: &str = include_str!("page/style.css");

impl Report {
    /// The whole page.
    pub fn page(&self) -> String {
        let tables = self.scenarios();
        let names: Vec<_> = tables.iter().map(Table::name).collect();
        let title = format!("Signalbox benchmark: {}", names.join(", "));
        let style = STYLE.trim();
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{}</title>\n<style>\n{style}\n</style>\n</head>\n<body>\n",
            escape(&title)
        );
        let parts: Vec<_> = tables.iter().map(|it| (it, Part::of(self, it.name()))).collect();
        self.head(&mut page, &parts);
        page.push_str("<main>\n");
        for (table, part) in &parts {
            section(&mut page, table, part);
        }
        page.push_str("<section id=\"reading\">\n<h2>How to read this</h2>\n");
        page.push_str(&html::items(&reading::general(FRAME, self.elsewhere)));
        page.push_str("</section>\n</main>\n</body>\n</html>\n");
        page
    }

    fn head(&self, page: &mut String, parts: &[(&Table, Part)]) {
        page.push_str("<header>\n<h1>Signalbox benchmark</h1>\n");
        self.warn(page);
        let facts = [
            ("gateway", self.gateway.clone()),
            ("machine", self.machine.clone()),
            ("begun", self.run.started.clone()),
            ("with", self.run.benchmark.clone()),
        ];
        page.push_str("<dl>\n");
        for (name, fact) in facts {
            let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escape(&fact));
        }
        let command: Vec<_> = self.run.settings.iter().chain([&self.run.command]).collect();
        let command = command.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(" ");
        let _ = writeln!(page, "<dt>command</dt><dd><code>{}</code></dd>\n</dl>", escape(&command));
        if parts.len() > 1 {
            let link = |(table, _): &(&Table, Part)| {
                let (id, name) = (html::id(table.name()), escape(table.name()));
                format!("<a href=\"#{id}\">{name}</a>")
            };
            let links: Vec<_> = parts.iter().map(link).collect();
            let _ = writeln!(page, "<nav>{}</nav>", links.join(" · "));
        }
        let told = || parts.iter().filter(|(_, part)| !part.verdicts.is_empty());
        if told().next().is_some() {
            page.push_str("<h2>In short</h2>\n");
            for (table, part) in told() {
                let (id, name) = (html::id(table.name()), escape(table.name()));
                let _ = writeln!(page, "<h3><a href=\"#{id}\">{name}</a></h3>");
                page.push_str(&Verdict::html(&part.verdicts));
            }
            let _ = writeln!(page, "<p>{SIGNS} <a href=\"#reading\">How to read this</a></p>");
        }
        page.push_str("</header>\n");
    }

    fn warn(&self, page: &mut String) {
        let debug = self.run.debug_build.then(|| {
            "This is a debug build: its figures say nothing (cargo build --release)".to_owned()
        });
        let warnings: Vec<_> = debug.into_iter().chain(self.warnings()).collect();
        if warnings.is_empty() {
            return;
        }
        let _ = writeln!(
            page,
            "<div class=\"warning\" role=\"note\">\n<h2>Not to be trusted without a second look</h2>"
        );
        let items: Vec<_> = warnings.iter().map(|it| escape(it)).collect();
        let (shown, others) = items.split_at(items.len().min(WARNINGS));
        page.push_str(&html::items(shown));
        if !others.is_empty() {
            let count = others.len();
            let _ = writeln!(page, "<details><summary>and {count} more</summary>");
            page.push_str(&html::items(others));
            page.push_str("</details>\n");
        }
        page.push_str("</div>\n");
    }
}

fn section(page: &mut String, table: &Table, part: &Part) {
    let (id, title) = (html::id(table.name()), escape(&table.title));
    let _ = writeln!(page, "<section id=\"{id}\">\n<h2>{title}</h2>");
    page.push_str(&html::table(table));
    if let Some(words) = reading::of(FRAME, table.name()) {
        let _ = writeln!(
            page,
            "<details class=\"reading\"><summary>How to read this</summary><p>{words}</p></details>"
        );
    }
    if !part.pictures.is_empty() {
        page.push_str("<div class=\"pictures\">\n");
        for picture in &part.pictures {
            let _ = writeln!(
                page,
                "<figure>\n<figcaption>{}</figcaption>\n{}",
                escape(&picture.title),
                picture.svg
            );
            if let Some(data) = &picture.data {
                let _ = writeln!(
                    page,
                    "<details><summary>The figures</summary>\n{}</details>",
                    html::table(data)
                );
            }
            page.push_str("</figure>\n");
        }
        page.push_str("</div>\n");
    }
    page.push_str("</section>\n");
}

#[cfg(test)]
mod tests;
