//! The default configuration file: every setting with its meaning, its bounds and its default.

use std::fmt::{self, Display, Write as _};

use serde_json::Value;

use super::{
    Config,
    setting::{Form, Setting, Table},
};

/// Columns of a comment.
const WIDTH: usize = 100;

const HEADER: &str = "\
Configuration of a Signalbox gateway: every setting with its default. A setting that is left out \
has its default, so keep only those that you change. An environment variable overrides the file: \
SIGNALBOX_, then the section and the setting in capitals with two underscores between them, as in \
SIGNALBOX_TIMEOUTS__IDLE_MS=10000. signalbox config --config FILE checks a file.";

/// A configuration file in TOML with every setting, each with its meaning and its default. Settings
/// without a default, and a project, are commented out.
pub fn default_file() -> String {
    let mut file = String::new();
    comment(&mut file, HEADER);
    file.push('\n');
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    table(&mut file, "", &Config::TABLE, &defaults);
    file
}

/// The settings of a table, then the tables inside. `outer` is its name and a dot.
fn table(file: &mut String, outer: &str, table: &Table, defaults: &Value) {
    let default = |setting: &Setting| defaults.get(setting.name).unwrap_or(&Value::Null);
    for setting in table.settings.iter().filter(|it| !it.form.is_table()) {
        describe(file, setting);
        match default(setting) {
            Value::Null => line(file, format_args!("# {} = {}", setting.name, setting.example)),
            // Numbers, booleans, texts and lists of texts are the same in JSON and in TOML.
            value => line(file, format_args!("{} = {value}", setting.name)),
        }
    }
    for setting in table.settings {
        match &setting.form {
            Form::Table(inner) => {
                file.push('\n');
                comment(file, &paragraph(inner.doc));
                let name = format!("{outer}{}", setting.name);
                line(file, format_args!("[{name}]"));
                self::table(file, &format!("{name}."), inner, default(setting));
            }
            Form::Tables(inner) => {
                file.push('\n');
                let name = format!("{outer}{}", setting.name);
                example(file, &format!("[[{name}]]"), &name, inner);
            }
            _ => {}
        }
    }
}

/// A table that is commented out, and the tables inside.
fn example(file: &mut String, header: &str, name: &str, table: &Table) {
    comment(file, &paragraph(table.doc));
    line(file, format_args!("# {header}"));
    for setting in table.settings.iter().filter(|it| !it.form.is_table()) {
        describe(file, setting);
        line(file, format_args!("# {} = {}", setting.name, setting.example));
    }
    for setting in table.settings {
        if let Form::Table(inner) = &setting.form {
            let name = format!("{name}.{}", setting.name);
            file.push('\n');
            example(file, &format!("[{name}]"), &name, inner);
        }
    }
}

/// Writes the documentation of a setting, and the bounds of a number.
fn describe(file: &mut String, setting: &Setting) {
    comment(file, &paragraph(setting.doc));
    if let Form::Number(number) = &setting.form {
        comment(file, &format!("Must be {number}."));
    }
}

/// Documentation as one paragraph, without the marks of Markdown.
pub(super) fn paragraph(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace('`', "")
}

fn comment(file: &mut String, text: &str) {
    let mut columns = 0;
    for word in text.split(' ') {
        if columns > 0 && columns + 1 + word.chars().count() > WIDTH {
            file.push('\n');
            columns = 0;
        }
        file.push_str(if columns == 0 { "# " } else { " " });
        columns += if columns == 0 { 2 } else { 1 } + word.chars().count();
        file.push_str(word);
    }
    file.push('\n');
}

fn line(file: &mut String, line: impl Display) {
    // Writing to a String cannot fail.
    let _: fmt::Result = writeln!(file, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file without the marks of comments before settings and headers of tables.
    fn with_examples() -> String {
        let is_toml = |line: &str| {
            (line.starts_with('[') && !line.contains('"'))
                || line.split_once(" = ").is_some_and(|it| !it.0.contains(' '))
        };
        let lines = default_file();
        let lines = lines.lines().map(|line| match line.strip_prefix("# ") {
            Some(inner) if is_toml(inner) => inner.to_owned(),
            _ => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The settings of a table and the tables inside.
    fn names(table: &Table) -> Vec<&'static str> {
        let names = table.settings.iter().flat_map(|setting| match &setting.form {
            Form::Table(inner) | Form::Tables(inner) => names(inner),
            _ => vec![setting.name],
        });
        names.collect()
    }

    #[test]
    fn the_file_is_the_default_configuration() {
        assert_eq!(toml::from_str::<Config>(&default_file()).unwrap(), Config::default());
    }

    #[test]
    fn every_setting_is_in_the_file_with_a_value_of_its_type() {
        let file = with_examples();
        let table: toml::Table = toml::from_str(&file).unwrap();
        let config: Config = toml::from_str(&file).unwrap();
        assert_eq!(config.projects.len(), 1);
        let names = names(&Config::TABLE);
        assert!(names.len() > 40, "{names:?}");
        for name in names {
            assert!(file.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name}");
        }
        // Every field of the configuration is declared as a setting.
        let expected: toml::Table = toml::Table::try_from(&config).unwrap();
        assert_eq!(table, expected);
    }

    #[test]
    fn every_line_is_short_and_every_number_has_its_bounds() {
        let file = default_file();
        assert!(file.lines().all(|line| line.chars().count() <= WIDTH), "{file}");
        assert!(
            file.contains("# Must be a whole number of milliseconds from 1000 to 86400000."),
            "{file}"
        );
    }

    #[test]
    fn the_manual_shows_every_setting_with_its_default() {
        let manual = include_str!("../../../docs/settings.md");
        let (_, rest) = manual.split_once("```toml\nname = ").unwrap();
        let (shown, _) = rest.split_once("```").unwrap();
        let shown = format!("name = {shown}");
        let mut config: Config = toml::from_str(&shown).unwrap();
        (config.tls, config.projects) = Default::default();
        assert_eq!(config, Config::default());
        for name in names(&Config::TABLE) {
            let is_shown =
                |line: &str| line.trim_start_matches("# ").starts_with(&format!("{name} = "));
            assert!(shown.lines().any(is_shown), "{name}");
        }
    }
}
