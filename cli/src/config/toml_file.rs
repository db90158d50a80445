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

use super::mistakes::Mistake;

/// A file as it was read.
pub(super) struct TomlFile {
    path: PathBuf,
    values: Dict,
    /// The line of each setting, by its dotted name.
    lines: BTreeMap<String, usize>,
    /// Where it is no TOML, and why.
    wrong: Vec<(usize, String)>,
}

impl TomlFile {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        let mut file = Self {
            path: path.to_owned(),
            values: Dict::new(),
            lines: BTreeMap::new(),
            wrong: vec![],
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line =
                    1 + error.as_bytes().iter().take(good).filter(|it| **it == b'\n').count();
                file.wrong.push((line, "is no UTF-8 text".into()));
                return Ok(file);
            }
        };
        let line_at = |at: usize| 1 + text.bytes().take(at).filter(|it| *it == b'\n').count();
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            let line = line_at(error.span().map_or(0, |span| span.start));
            file.wrong.push((line, in_words(error.message())));
        }
        file.wrong.dedup();
        if file.wrong.is_empty() {
            note_lines("", table.get_ref(), &line_at, &mut file.lines);
            let values = toml::Table::deserialize(toml::de::Deserializer::from(table))
                .map_err(|error| error.message().to_owned())
                .and_then(|table| Value::serialize(table).map_err(|error| error.to_string()));
            match values {
                Ok(Value::Dict(_, values)) => file.values = values,
                Ok(_) => {}
                Err(why) => file.wrong.push((1, in_words(&why))),
            }
        }
        Ok(file)
    }

    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Where it is no TOML.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let mistake = |(line, problem): &(usize, String)| Mistake {
            setting: None,
            problem: problem.clone(),
            source: Some(self.name()),
            line: Some(*line),
        };
        self.wrong.iter().map(mistake).collect()
    }

    /// The line of a setting, or of its table if it is not set.
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

/// What a parser says, on one line and without its quotes.
fn in_words(message: &str) -> String {
    format!("is no TOML: {}", message.lines().collect::<Vec<_>>().join(", ").replace('`', "'"))
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
