//! A configuration file, with the line of each setting.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use figment::{
    Metadata, Profile, Provider, Source,
    value::{Dict, Map, Value},
};
use serde::Deserialize as _;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::{LocatedProblem, SettingSource};

/// The contents of a configuration file.
pub(super) struct TomlFile {
    path: PathBuf,
    values: Dict,
    /// The line of each setting, by its dotted name.
    lines: BTreeMap<String, usize>,
    /// The lines that are no TOML, and the reasons.
    syntax_errors: Vec<(usize, String)>,
}

impl TomlFile {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        let mut file = Self {
            path: path.to_owned(),
            values: Dict::new(),
            lines: BTreeMap::new(),
            syntax_errors: vec![],
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line =
                    1 + error.as_bytes().iter().take(good).filter(|it| **it == b'\n').count();
                file.syntax_errors.push((line, "is not UTF-8 text".into()));
                return Ok(file);
            }
        };
        let line_at = |at: usize| 1 + text.bytes().take(at).filter(|it| *it == b'\n').count();
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            let line = line_at(error.span().map_or(0, |span| span.start));
            file.syntax_errors.push((line, in_words(error.message())));
        }
        file.syntax_errors.dedup();
        if file.syntax_errors.is_empty() {
            note_lines("", table.get_ref(), &line_at, &mut file.lines);
            let values = toml::Table::deserialize(toml::de::Deserializer::from(table))
                .map_err(|error| error.message().to_owned())
                .and_then(|table| Value::serialize(table).map_err(|error| error.to_string()));
            match values {
                Ok(Value::Dict(_, values)) => file.values = values,
                Ok(_) => {}
                Err(why) => file.syntax_errors.push((1, in_words(&why))),
            }
        }
        Ok(file)
    }

    /// Lines that cannot be parsed.
    pub(super) fn syntax_errors(&self) -> Vec<LocatedProblem> {
        let problem = |(line, message): &(usize, String)| LocatedProblem::Syntax {
            source: SettingSource::File { path: self.path.clone(), line: Some(*line) },
            message: message.clone(),
        };
        self.syntax_errors.iter().map(problem).collect()
    }

    /// The line of a setting, or of its table if the setting is not set.
    pub(super) fn line_of(&self, setting: &str) -> Option<usize> {
        let around = std::iter::successors(Some(setting), |it| Some(it.rsplit_once('.')?.0));
        around.filter_map(|it| self.lines.get(it)).next().copied()
    }
}

impl Provider for &TomlFile {
    fn metadata(&self) -> Metadata {
        Metadata::from("TOML file", Source::File(self.path.clone()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// The message of the parser on one line, without its quotes.
fn in_words(message: &str) -> String {
    format!(
        "is not valid TOML: {}",
        message.lines().collect::<Vec<_>>().join(", ").replace('`', "'")
    )
}

fn note_lines(
    path: &str,
    table: &DeTable<'_>,
    line_at: &impl Fn(usize) -> usize,
    lines: &mut BTreeMap<String, usize>,
) {
    for (key, value) in table {
        let name: &str = key.get_ref();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        lines.insert(path.clone(), line_at(key.span().start));
        note_value(&path, value, line_at, lines);
    }
}

fn note_value(
    path: &str,
    value: &Spanned<DeValue<'_>>,
    line_at: &impl Fn(usize) -> usize,
    lines: &mut BTreeMap<String, usize>,
) {
    match value.get_ref() {
        DeValue::Table(table) => note_lines(path, table, line_at, lines),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}.{index}");
                lines.insert(path.clone(), line_at(item.span().start));
                note_value(&path, item, line_at, lines);
            }
        }
        _ => {}
    }
}
