//! Identifies a run: its command, its time, its build.

use std::fmt::Display;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Settings whose names contain one of these are recorded without their values.
const SECRET: [&str; 4] = ["SECRET", "TOKEN", "KEY", "PASSWORD"];

/// A run of the benchmark. A report of another version may lack some of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The gateway, as it names itself.
    pub gateway: String,
    /// The machine, in one line.
    pub machine: String,
    /// The gateway was running already, so its process and its network are not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
    /// The run was ended early: rounds that were not finished are missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// The benchmark's own name and version.
    #[serde(default)]
    pub benchmark: String,
    /// The command line, quoted for a shell.
    #[serde(default)]
    pub command: String,
    /// Settings of the gateways from the environment, quoted for a shell, without secrets.
    #[serde(default)]
    pub settings: Vec<String>,
    /// Start of the run, in UTC (RFC 3339).
    #[serde(default)]
    pub started: String,
    /// The benchmark is a debug build.
    #[serde(default)]
    pub debug_build: bool,
}

impl Run {
    /// The run of this process.
    ///
    /// # Errors
    /// If the clock is out of range.
    pub fn this(benchmark: &str, gateway: String, machine: String) -> anyhow::Result<Self> {
        let arguments = std::env::args_os().map(|it| it.to_string_lossy().into_owned());
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| setting(&name.to_string_lossy(), &value.to_string_lossy()));
        let mut settings: Vec<_> = environment.collect();
        settings.sort();
        Ok(Self {
            gateway,
            machine,
            elsewhere: false,
            interrupted: false,
            benchmark: benchmark.to_owned(),
            command: command(arguments),
            settings,
            started: rfc3339(OffsetDateTime::now_utc())?,
            debug_build: cfg!(debug_assertions),
        })
    }

    /// The command with the settings before it.
    pub(crate) fn full_command(&self) -> String {
        let words: Vec<&str> =
            self.settings.iter().chain([&self.command]).map(String::as_str).collect();
        words.join(" ")
    }
}

/// The arguments in one line, without the token, which opens somebody's session.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut is_token = false;
    let words = arguments.map(|word| {
        let hidden = std::mem::replace(&mut is_token, word == "--token");
        match word.strip_prefix("--token=") {
            Some(_) => "--token=…".to_owned(),
            None if hidden => "…".to_owned(),
            None => quoted(&word),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// An environment variable, if it is a setting of a gateway: those have two underscores.
fn setting(name: &str, value: &str) -> Option<String> {
    let is_setting = name.strip_prefix("SIGNALBOX_").is_some_and(|it| it.contains("__"));
    let is_secret = SECRET.iter().any(|it| name.contains(it));
    let value = if is_secret { "…".to_owned() } else { quoted(value) };
    is_setting.then(|| format!("{name}={value}"))
}

/// A word for a shell. A flag's value is quoted by itself, which keeps `--flag=value` readable.
fn quoted(word: &str) -> String {
    match word.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => {
            format!("{}={}", quoted(flag), quoted(value))
        }
        // Only a NUL byte cannot be quoted, and no argument contains one.
        _ => shlex::try_quote(word).map(|it| it.to_string()).unwrap_or_default(),
    }
}

/// To the second.
fn rfc3339(at: OffsetDateTime) -> anyhow::Result<String> {
    at.replace_nanosecond(0)?.format(&Rfc3339).context("the clock is out of range")
}

impl Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.gateway, self.machine)?;
        for part in [&self.started, &self.command] {
            if !part.is_empty() {
                write!(f, "; {part}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_run_again() {
        assert_eq!(quoted("--rtt=40ms"), "--rtt=40ms");
        assert_eq!(quoted("2 %"), "'2 %'");
        assert_eq!(shlex::split(&quoted("it's")).unwrap(), ["it's"]);
        assert_eq!(quoted(""), "''");
        let words = ["bench", "--target", "wss://a", "--token", "T1", "--token=T1", "--json"];
        let command = command(words.into_iter().map(str::to_owned));
        assert_eq!(command, "bench --target wss://a --token … --token=… --json");
    }

    #[test]
    fn settings_are_recorded_and_secrets_are_not() {
        let idle = setting("SIGNALBOX_TIMEOUTS__IDLE_MS", "60000");
        assert_eq!(idle.as_deref(), Some("SIGNALBOX_TIMEOUTS__IDLE_MS=60000"));
        let secret = setting("SIGNALBOX_WEBHOOKS__SECRET", "hush");
        assert_eq!(secret.as_deref(), Some("SIGNALBOX_WEBHOOKS__SECRET=…"));
        assert_eq!(setting("SIGNALBOX_PROJECTS", "[]"), None);
        assert_eq!(setting("PATH__", "/bin"), None);
    }

    #[test]
    fn times_are_in_one_form() {
        let at = OffsetDateTime::from_unix_timestamp(1_000_000_000).unwrap();
        assert_eq!(rfc3339(at).unwrap(), "2001-09-09T01:46:40Z");
    }
}
