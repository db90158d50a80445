//! Deserialization of a configuration that reports every fault at once.

use figment::{
    error::Kind,
    value::{Tag, Value},
};
use signalbox_gateway::{Config, Problem, ProblemKind, accepted};

/// Faults after which the rest is not looked for.
const MAX_PROBLEMS: usize = 100;

/// Deserializes a configuration. A value of the wrong type is reported and replaced by a valid one, so
/// that the next fault is found, too.
pub(super) fn extract(mut value: Value) -> (Config, Vec<Problem>) {
    let mut problems: Vec<Problem> = Vec::new();
    while problems.len() < MAX_PROBLEMS {
        let error = match value.deserialize::<Config>() {
            Ok(config) => return (config, problems),
            Err(error) => error,
        };
        let mut path = error.path.clone();
        let kind = match &error.kind {
            Kind::UnknownField(name, known) => {
                if path.last() != Some(name) {
                    path.push(name.clone());
                }
                ProblemKind::Unknown { known: known.iter().map(ToString::to_string).collect() }
            }
            Kind::MissingField(name) => {
                path.push(name.to_string());
                ProblemKind::Missing { hint: format!("it must be {}", must_be(&path)) }
            }
            _ => ProblemKind::WrongType { must_be: must_be(&path) },
        };
        let setting = path.join(".");
        let is_missing = matches!(kind, ProblemKind::Missing { .. });
        let is_repeated = problems.iter().any(|known| known.setting == setting);
        if !is_repeated {
            problems.push(Problem::new(setting, kind));
        }
        if is_repeated || path.is_empty() || !replace(&mut value, &path, is_missing) {
            // There is nothing to put in its place.
            break;
        }
    }
    (Config::default(), problems)
}

/// The values that a setting accepts.
fn must_be(path: &[String]) -> String {
    accepted(&path.join(".")).unwrap_or_else(|| "of another type".into())
}

/// Puts a valid value in the place of an invalid or missing one. False if it cannot.
fn replace(value: &mut Value, path: &[String], missing: bool) -> bool {
    let Some((last, around)) = path.split_last() else { return false };
    let mut at = value;
    for part in around {
        let inner = match at {
            Value::Dict(_, entries) => entries.get_mut(part),
            Value::Array(_, items) => part.parse().ok().and_then(|it: usize| items.get_mut(it)),
            _ => None,
        };
        let Some(inner) = inner else { return false };
        at = inner;
    }
    match at {
        Value::Dict(_, entries) if missing => {
            entries.insert(last.clone(), placeholder(last, around)).is_none()
        }
        // Then it has its default, or is missing, which is not reported a second time.
        Value::Dict(_, entries) => {
            entries.remove(last);
            match last.as_str() {
                "key" | "url" | "secret" => {
                    entries.insert(last.clone(), placeholder(last, around));
                }
                "secrets" | "public_keys" => {
                    entries.entry("secrets".into()).or_insert_with(|| vec!["placeholder"].into());
                }
                _ => {}
            }
            true
        }
        Value::Array(_, items) => {
            let item = last.parse().ok().and_then(|it: usize| items.get_mut(it));
            item.map(|item| *item = placeholder(last, around)).is_some()
        }
        _ => false,
    }
}

/// A valid value, to go on with.
fn placeholder(name: &str, around: &[String]) -> Value {
    match name {
        // A key of its own for each project.
        "key" => format!("placeholder-{}", around.last().map_or("", |it| it)).into(),
        "url" => "https://placeholder.invalid".into(),
        "secret" => "whsec_c3RhbmQtaW4tc3RhbmQtaW4tc3RhbmQtaW4=".into(),
        _ if around == ["projects"] => {
            let key = ("key".to_owned(), Value::from(format!("placeholder-{name}")));
            let secrets = ("secrets".to_owned(), Value::from(vec!["placeholder"]));
            Value::Dict(Tag::Default, [key, secrets].into_iter().collect())
        }
        _ if around.last().is_some_and(|it| it == "allowed_origins") => "*".into(),
        _ => "placeholder".into(),
    }
}
