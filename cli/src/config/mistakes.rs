//! What is wrong with a configuration: found all at once, and told with the place.

use std::fmt;

use figment::{
    error::Kind,
    value::{Tag, Value},
};
use serde::Serialize;
use signalbox_gateway::{Config, Problem, accepted};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mistake {
    /// The setting; none if a file cannot be understood.
    pub(super) setting: Option<String>,
    pub(super) problem: String,
    /// A file, an environment variable or a flag; none if nothing sets it.
    pub(super) source: Option<String>,
    pub(super) line: Option<usize>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            f.write_str(source)?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        if let Some(setting) = &self.setting {
            write!(f, "{setting} ")?;
        }
        f.write_str(&self.problem)
    }
}

/// All mistakes of a configuration.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Adds some, but of a setting with a mistake no other.
    pub(super) fn add(&mut self, more: Vec<Mistake>) {
        // If the file is no TOML, its settings are not known, and what is not set in it is no mistake.
        if self.0.iter().any(|it| it.setting.is_none()) {
            return;
        }
        let known: Vec<_> = self.0.iter().filter_map(|it| it.setting.clone()).collect();
        let covers = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.0.extend(more.into_iter().filter(|it| {
            let setting = it.setting.as_deref().unwrap_or_default();
            !known.iter().any(|known| covers(known, setting))
        }));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// # Errors
    /// All of them, if there are any.
    pub(super) fn none(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// On one line, for a log.
    pub(crate) fn on_one_line(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        // In the order of the file, then the others.
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|it| (it.line.is_none(), it.line));
        all.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

/// Mistakes after which the rest is not looked for.
const MOST: usize = 100;

/// Takes values as a configuration. Where one is not of its kind, that is noted, and something that
/// is stands in for it, so that the next mistake shows, too.
pub(super) fn extract(mut value: Value) -> (Config, Vec<Problem>) {
    let mut problems: Vec<Problem> = Vec::new();
    while problems.len() < MOST {
        let error = match value.deserialize::<Config>() {
            Ok(config) => return (config, problems),
            Err(error) => error,
        };
        let mut path = error.path.clone();
        let problem = match &error.kind {
            Kind::UnknownField(name, known) => {
                if path.last() != Some(name) {
                    path.push(name.clone());
                }
                unknown(known)
            }
            Kind::MissingField(name) => {
                path.push(name.to_string());
                let form = accepted(&path.join("."));
                form.map_or("is not set".into(), |form| format!("is not set; it must be {form}"))
            }
            _ => {
                let form = accepted(&path.join("."));
                form.map_or("has a value of the wrong kind".into(), |form| {
                    format!("must be {form}")
                })
            }
        };
        let setting = path.join(".");
        let missing = matches!(error.kind, Kind::MissingField(_));
        let again = problems.iter().any(|known| known.setting == setting);
        if !again {
            problems.push(Problem::new(setting, problem));
        }
        if again || path.is_empty() || !mend(&mut value, &path, missing) {
            // There is nothing to put in its place.
            break;
        }
    }
    (Config::default(), problems)
}

/// What is wrong with a name that is none.
fn unknown(known: &[&str]) -> String {
    format!("is no setting; there are {}", known.join(", "))
}

/// Puts something good in the place of what is not; tells whether it could.
fn mend(value: &mut Value, path: &[String], missing: bool) -> bool {
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
            entries.insert(last.clone(), stand_in(last, around)).is_none()
        }
        // Then it has its default, or is missing, which is not said a second time.
        Value::Dict(_, entries) => {
            entries.remove(last);
            match last.as_str() {
                "key" | "url" | "secret" => {
                    entries.insert(last.clone(), stand_in(last, around));
                }
                "secrets" | "public_keys" => {
                    entries.entry("secrets".into()).or_insert_with(|| vec!["stand-in"].into());
                }
                _ => {}
            }
            true
        }
        Value::Array(_, items) => {
            let item = last.parse().ok().and_then(|it: usize| items.get_mut(it));
            item.map(|item| *item = stand_in(last, around)).is_some()
        }
        _ => false,
    }
}

/// A value that is good enough to go on.
fn stand_in(name: &str, around: &[String]) -> Value {
    match name {
        // A key of its own for each project.
        "key" => format!("stand-in-{}", around.last().map_or("", |it| it)).into(),
        "url" => "https://stand.in".into(),
        "secret" => "whsec_c3RhbmQtaW4tc3RhbmQtaW4tc3RhbmQtaW4=".into(),
        _ if around == ["projects"] => {
            let key = ("key".to_owned(), Value::from(format!("stand-in-{name}")));
            let secrets = ("secrets".to_owned(), Value::from(vec!["stand-in"]));
            Value::Dict(Tag::Default, [key, secrets].into_iter().collect())
        }
        _ if around.last().is_some_and(|it| it == "allowed_origins") => "*".into(),
        _ => "stand-in".into(),
    }
}
