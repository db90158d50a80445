//! `docs/limits.md` states the bounds that the code has.
//!
//! The last column of each row names a setting (`limits.outbox_bytes`), whose default is looked up in
//! `Config::default()`, or a constant (`rest/body.rs: MAX_BYTES`), whose definition is read from the source, as most
//! constants are private. The value must be in the column `bound`, in one of the usual notations.

use std::{path::PathBuf, time::Duration};

use serde_json::Value;
use signalbox_gateway::Config;

use super::{files, root};

#[test]
fn limits_are_those_of_the_code() {
    let text = std::fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let settings = serde_json::to_value(Config::default()).unwrap();
    let sources = sources();
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in text.lines().filter(|line| line.starts_with('|') && line.contains('`')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [_, bound, _, source] = cells[..] else { panic!("four columns are expected: {line}") };
        let source = source.trim_matches('`');
        let found = match (source.split_once(": "), source.split_once('.')) {
            (Some((file, name)), _) => constant(&sources, file, name),
            (None, Some((section, name))) => setting(&settings, section, name),
            (None, None) => Err("neither a setting nor `file.rs: CONSTANT`".to_owned()),
        };
        match found {
            Ok(value) if value.notations().iter().any(|it| is_in(bound, it)) => {}
            Ok(value) => wrong
                .push(format!("{source} is {:?}, but the page says: {bound}", value.notations())),
            Err(reason) => wrong.push(format!("{source}: {reason}")),
        }
        rows += 1;
    }
    assert!(rows > 60, "only {rows} rows were found: has the format of the page changed?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A bound, in the unit that its type or name says.
#[derive(Debug, Clone, Copy)]
enum Bound {
    Number(u64),
    Time(Duration),
}

impl Bound {
    /// The ways in which the page may write it.
    fn notations(self) -> Vec<String> {
        match self {
            Self::Number(number) => {
                let mut notations = vec![number.to_string(), thousands(number)];
                for (unit, size) in [("KiB", 1 << 10), ("MiB", 1 << 20)] {
                    if number >= size && number % size == 0 {
                        notations.push(format!("{} {unit}", number / size));
                    }
                }
                notations
            }
            Self::Time(time) if time.as_secs() >= 3600 => {
                vec![format!("{} h", time.as_secs() / 3600)]
            }
            Self::Time(time) => vec![format!("{} s", time.as_secs_f64())],
        }
    }
}

/// Whether `text` has `notation` as words of its own: "5 s" is not in "15 s".
fn is_in(text: &str, notation: &str) -> bool {
    text.match_indices(notation).any(|(at, _)| {
        let apart =
            |it: Option<char>| !it.is_some_and(|it| it.is_alphanumeric() || it == ',' || it == '.');
        let after = text[at + notation.len()..].chars().next();
        apart(text[..at].chars().next_back()) && (apart(after) || matches!(after, Some(',' | '.')))
    })
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn setting(settings: &Value, section: &str, name: &str) -> Result<Bound, String> {
    let path = format!("/{section}/{}", name.replace('.', "/"));
    let value = settings
        .pointer(&path)
        .and_then(Value::as_u64)
        .ok_or("there is no such number among the settings")?;
    Ok(if name.ends_with("_ms") {
        Bound::Time(Duration::from_millis(value))
    } else {
        Bound::Number(value)
    })
}

/// Source files of the product, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    ["protocol/src", "protocol/opentok/src", "gateway", "certs/src", "cli/src", "clients/rust/src"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), "rs"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

/// The constant of that name in the file whose path ends with `file`.
fn constant(sources: &[(PathBuf, String)], file: &str, name: &str) -> Result<Bound, String> {
    let found: Vec<_> = sources
        .iter()
        .filter(|(path, _)| path.ends_with(file))
        .filter_map(|(_, text)| definition(text, name))
        .collect();
    match found[..] {
        [(kind, expression)] => evaluate(kind, expression),
        [] => Err("there is no such constant".to_owned()),
        _ => Err(format!("{} files of that name have it: name more of the path", found.len())),
    }
}

/// Type and expression of `const NAME: TYPE = EXPRESSION;`.
fn definition<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let head = format!("const {name}: ");
    let rest = &text[text.find(&head)? + head.len()..];
    let (kind, rest) = rest.split_once(" = ")?;
    let (expression, _) = rest.split_once(';')?;
    Some((kind, expression))
}

/// Products of numbers, alone or in a constructor of [`Duration`].
fn evaluate(kind: &str, expression: &str) -> Result<Bound, String> {
    let cannot = || format!("cannot read `{expression}`");
    let product = |text: &str| {
        text.split('*')
            .map(|factor| factor.trim().replace('_', "").parse::<u64>().ok())
            .try_fold(1, |product, factor| Some(product * factor?))
            .ok_or_else(cannot)
    };
    if kind != "Duration" {
        return product(expression).map(Bound::Number);
    }
    let call = expression
        .strip_prefix("Duration::")
        .and_then(|it| it.strip_suffix(')'))
        .ok_or_else(cannot)?;
    let (unit, value) = call.split_once('(').ok_or_else(cannot)?;
    let value = product(value)?;
    Ok(Bound::Time(match unit {
        "from_secs" => Duration::from_secs(value),
        "from_millis" => Duration::from_millis(value),
        "from_hours" => Duration::from_hours(value),
        _ => return Err(cannot()),
    }))
}
