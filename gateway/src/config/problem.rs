//! Faults of a configuration, for the operator.

use std::fmt;

/// A fault of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting with dots, and with the position of an item in a list: `projects.0.key`.
    pub setting: String,
    /// The fault.
    pub kind: ProblemKind,
}

/// The fault of a setting. Its text follows the name of the setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProblemKind {
    /// There is no setting of this name.
    Unknown {
        /// The names that may stand in its place.
        known: Vec<String>,
    },
    /// The setting is required, and not set.
    Missing {
        /// The values that it accepts, or the next step.
        hint: String,
    },
    /// A source sets it more than once.
    Repeated,
    /// Its value is of another type.
    WrongType {
        /// The values that it accepts.
        must_be: String,
    },
    /// Its value is a number out of bounds.
    OutOfRange {
        /// The number.
        value: u64,
        /// The values that it accepts.
        must_be: String,
    },
    /// Its value is of the right type and in bounds, and cannot be used.
    Invalid {
        /// The reason, and what to write instead.
        reason: String,
    },
    /// The file or directory that it names cannot be used.
    File {
        /// The reason, with the path.
        reason: String,
    },
}

impl ProblemKind {
    /// The name of the kind, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown",
            Self::Missing { .. } => "missing",
            Self::Repeated => "repeated",
            Self::WrongType { .. } => "wrongType",
            Self::OutOfRange { .. } => "outOfRange",
            Self::Invalid { .. } => "invalid",
            Self::File { .. } => "file",
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { known } => {
                write!(f, "is not a setting; the settings here are {}", known.join(", "))
            }
            Self::Missing { hint } => write!(f, "is not set: {hint}"),
            Self::Repeated => f.write_str("is set more than once"),
            Self::WrongType { must_be } => write!(f, "must be {must_be}"),
            Self::OutOfRange { value, must_be } => write!(f, "is {value}, but must be {must_be}"),
            Self::Invalid { reason } | Self::File { reason } => f.write_str(reason),
        }
    }
}

impl Problem {
    /// A fault of this setting.
    pub fn new(setting: impl Into<String>, kind: ProblemKind) -> Self {
        Self { setting: setting.into(), kind }
    }

    /// A value that cannot be used.
    pub(crate) fn invalid(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(setting, ProblemKind::Invalid { reason: reason.into() })
    }

    /// A file that cannot be used.
    pub(crate) fn file(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(setting, ProblemKind::File { reason: reason.into() })
    }

    /// The same fault, of a setting inside another.
    pub(crate) fn within(self, outer: impl fmt::Display) -> Self {
        let setting = match self.setting.as_str() {
            "" => outer.to_string(),
            inner => format!("{outer}.{inner}"),
        };
        Self { setting, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.kind)
    }
}
