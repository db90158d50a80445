//! Faults of a configuration, each with the place where the setting is set.

use std::{fmt, path::PathBuf, process::ExitCode};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use signalbox_gateway::ProblemKind;

/// The exit code for an invalid configuration: `EX_CONFIG` of sysexits.h.
const INVALID: u8 = 78;

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum SettingSource {
    Default,
    File {
        path: PathBuf,
        /// None if the setting is missing in the file.
        line: Option<usize>,
    },
    Variable(String),
    Flag(String),
}

impl fmt::Display for SettingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A fault, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LocatedProblem {
    /// The file cannot be parsed.
    Syntax { source: SettingSource, message: String },
    /// A setting is wrong.
    Setting { setting: String, kind: ProblemKind, source: SettingSource },
}

impl LocatedProblem {
    fn source(&self) -> &SettingSource {
        let (Self::Syntax { source, .. } | Self::Setting { source, .. }) = self;
        source
    }

    /// The setting; none if the file cannot be parsed.
    pub(super) fn setting(&self) -> Option<&str> {
        match self {
            Self::Syntax { .. } => None,
            Self::Setting { setting, .. } => Some(setting),
        }
    }

    fn line(&self) -> Option<usize> {
        match self.source() {
            SettingSource::File { line, .. } => *line,
            _ => None,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Syntax { message, .. } => message.clone(),
            Self::Setting { kind, .. } => kind.to_string(),
        }
    }
}

impl fmt::Display for LocatedProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The default is no place to look at.
        if *self.source() != SettingSource::Default {
            write!(f, "{}: ", self.source())?;
        }
        if let Some(setting) = self.setting() {
            write!(f, "{setting} ")?;
        }
        f.write_str(&self.message())
    }
}

impl Serialize for LocatedProblem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self {
            Self::Syntax { .. } => "syntax",
            Self::Setting { kind, .. } => kind.name(),
        };
        let mut object = serializer.serialize_struct("Problem", 4)?;
        object.serialize_field("setting", &self.setting())?;
        object.serialize_field("kind", kind)?;
        object.serialize_field("source", self.source())?;
        object.serialize_field("message", &self.message())?;
        object.end()
    }
}

/// All faults of a configuration.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct InvalidConfig(Vec<LocatedProblem>);

impl InvalidConfig {
    /// Adds faults, except of settings that have one already.
    pub(super) fn add(&mut self, more: Vec<LocatedProblem>) {
        // If the file cannot be parsed, its settings are unknown, and none of them is missing.
        if self.0.iter().any(|it| it.setting().is_none()) {
            return;
        }
        let known: Vec<_> =
            self.0.iter().filter_map(|it| it.setting().map(str::to_owned)).collect();
        let covers = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.0.extend(more.into_iter().filter(|it| {
            let setting = it.setting().unwrap_or_default();
            !known.iter().any(|known| covers(known, setting))
        }));
    }

    /// The exit code of a command that needs a valid configuration.
    ///
    /// A file that the configuration names may be there at the next start, as on a volume that is
    /// mounted late. All other faults need an operator.
    pub(super) fn exit_code(&self) -> ExitCode {
        let needs_an_operator = |problem: &LocatedProblem| {
            !matches!(problem, LocatedProblem::Setting { kind: ProblemKind::File { .. }, .. })
        };
        if self.0.is_empty() {
            ExitCode::SUCCESS
        } else if self.0.iter().any(needs_an_operator) {
            ExitCode::from(INVALID)
        } else {
            ExitCode::FAILURE
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// # Errors
    /// All faults, if there are any.
    pub(super) fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// On one line, for a log.
    pub(crate) fn on_one_line(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid configuration:")?;
        // In the order of the file, then the others.
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|it| (it.line().is_none(), it.line()));
        all.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for InvalidConfig {}
