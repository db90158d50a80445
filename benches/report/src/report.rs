//! A run's results: sections of scenarios, as JSON, Markdown or a page.

use std::fmt::Write as _;

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;
use signalbox_protocol::Printable;

use crate::{Chart, Headline, RelativeFigure, Run, Table};

/// The first warning of a run that was ended early.
const INTERRUPTED: &str =
    "the run was interrupted: only the rounds that were finished by then are in it";

/// The heading of all warnings.
pub(crate) const WARNINGS: &str = "Not to be trusted without a second look";

/// Everything a scenario has to show.
#[derive(Debug)]
pub struct Section {
    /// JSON key, anchor and prefix of warnings.
    pub name: &'static str,
    /// For readers.
    pub title: &'static str,
    /// Explanation of the figures, in Markdown.
    pub reading: &'static str,
    /// All rows.
    pub table: Table,
    /// The same and more as charts.
    pub charts: Vec<Chart>,
    /// The summary: figures as multiples of the first row's.
    pub relative: Vec<RelativeFigure>,
    /// Figures by which systems are compared in the summary of the run.
    pub headlines: Vec<Headline>,
    /// Reasons not to trust some figures, and systems that failed.
    pub warnings: Vec<String>,
    /// Parameters, metrics, rows and every measurement.
    pub json: Value,
}

/// The results of a run.
#[derive(Debug)]
pub struct Report {
    /// The run.
    pub run: Run,
    /// Explanation of the figures of any scenario, in Markdown.
    pub reading: &'static str,
    /// Scenarios, in the order in which they were measured.
    pub sections: Vec<Section>,
}

impl Report {
    /// All warnings, each with its scenario.
    pub fn warnings(&self) -> Vec<String> {
        let interrupted = self.run.interrupted.then(|| INTERRUPTED.to_owned());
        let of = |section: &Section| {
            let name = |it: &String| format!("{}: {it}", section.name);
            section.warnings.iter().map(name).collect::<Vec<_>>()
        };
        interrupted.into_iter().chain(self.sections.iter().flat_map(of)).collect()
    }

    /// All tables and warnings, in Markdown, which a terminal shows well enough.
    pub fn tables(&self) -> String {
        let summary = Headline::table(self.sections.iter().flat_map(|it| &it.headlines));
        let tables = summary.iter().chain(self.sections.iter().map(|it| &it.table));
        let tables: Vec<_> = tables.map(Table::markdown).collect();
        let mut text = tables.join("\n");
        list(&mut text, WARNINGS, &self.warnings());
        text
    }

    /// A document: `template` with `{machine}`, `{gateway}`, `{command}`, `{reading}` and
    /// `{tables}` filled in.
    pub fn markdown(&self, template: &str, command: &str) -> String {
        let reading = self.sections.iter().filter(|it| !it.reading.is_empty());
        let reading = reading.map(|it| format!("\n### {}\n\n{}\n", it.title, it.reading.trim()));
        let reading = [format!("{}\n", self.reading.trim())].into_iter().chain(reading);
        template
            .replace("{machine}", &self.run.machine)
            .replace("{gateway}", &self.run.gateway)
            .replace("{command}", command)
            .replace("{reading}", reading.collect::<String>().trim_end())
            .replace("{tables}", self.tables().trim_end())
    }
}

/// Appends a list under a heading, if there is anything to list.
pub(crate) fn list(text: &mut String, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}:\n");
    for item in items {
        let _ = writeln!(text, "- {}", Printable(item));
    }
}

/// The fields of the run, then each scenario under its name.
impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let run = serde_json::to_value(&self.run).map_err(serde::ser::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in run.as_object().into_iter().flatten() {
            map.serialize_entry(key, value)?;
        }
        for section in &self.sections {
            map.serialize_entry(section.name, &section.json)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_template_is_filled() {
        let run = Run { gateway: "signalbox 0".into(), ..Run::default() };
        let report = Report { run, reading: "- all\n", sections: Vec::new() };
        let template = "{gateway}; {machine}: {command}\n{reading}\n{tables}";
        let text = report.markdown(template, "run it");
        assert_eq!(text, "signalbox 0; : run it\n- all\n");
    }
}
