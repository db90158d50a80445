//! A finding of `signalbox doctor`.

use std::fmt;

use serde::Serialize;
use signalbox_protocol::Printable;

/// The weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// Nothing to do.
    Ok,
    /// It works, but not as well as it could, or not under load.
    Warn,
    /// It does not work.
    Fail,
    /// It was not checked.
    Skip,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The name of the check.
    pub(super) check: &'static str,
    pub(super) level: Level,
    pub(super) finding: String,
    /// What to do; none if nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, finding: finding.into(), next: None }
    }

    pub(super) fn warn(
        check: &'static str,
        finding: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { check, level: Level::Warn, finding: finding.into(), next: Some(next.into()) }
    }

    pub(super) fn fail(
        check: &'static str,
        finding: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { level: Level::Fail, ..Self::warn(check, finding, next) }
    }

    pub(super) fn skip(
        check: &'static str,
        finding: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { level: Level::Skip, ..Self::warn(check, finding, next) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
            Level::Skip => "skip",
        };
        write!(f, "{level:4}  {:13}  {}", self.check, Printable(&self.finding))?;
        match &self.next {
            Some(next) => write!(f, "\n{:21}→ {}", "", Printable(next)),
            None => Ok(()),
        }
    }
}
